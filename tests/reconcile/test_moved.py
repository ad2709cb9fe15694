"""moved: renamed in place, by one apply, from wherever it was cut off; refused where both names exist."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.harness.project import Project, actions, report
from tests.harness.sweeps import EXHAUSTIVE
from tests.reconcile.test_crashes import attempt, bury, dying, is_write
from whisperctl.state.labels import Labels

BEFORE: dict[str, Any] = {
    "env": {"A": "1", "HUB": {"value": "canary", "secret": True}},
    "service": [{"name": "alpha", "port": 8080}, {"name": "second", "port": 8080}],
}
AFTER: dict[str, Any] = BEFORE | {
    "stack": "beta",
    "deployment": {"name": "beta"},
    "version": {"name": "main"},
    "service": [{"name": "door", "port": 8080}, {"name": "second", "port": 8080}],
    "moved": {"stack": "alpha", "deployment": ["gone", "alpha"], "version": "v1", "service": {"door": "alpha"}},
}


def identity(project: Project, deployment: str, version: str, service: str) -> dict[str, Any]:
    """What a renaming leaves as it is: ids, the revision, and the URL."""
    api = project.api()
    parent, child = api.deployment(deployment) or {}, api.version(deployment, version) or {}
    door = api.find_service(service) or {}
    return {
        "deployment": parent.get("id"),
        "version": (child.get("id"), child.get("active_revision")),
        "service": (door.get("id"), door.get("endpoint"), door.get("version")),
        "env": sorted(item["id"] for item in api.env_vars(deployment, version)),
    }


def test_everything_is_renamed_at_once_and_in_place(project: Project) -> None:
    project.apply(**BEFORE)
    before = identity(project, "alpha", "v1", "alpha")
    plan = project.plan_one(**AFTER)
    assert set(actions(plan).values()) == {"update"}
    text = project.cli("plan", str(project.folder / "stack.yaml")).out
    assert re.search(r'name +: "alpha" -> "beta"', text)
    assert "request paths with the old name stop working" in text
    project.apply(**AFTER)
    after = identity(project, "beta", "main", "door")
    assert after == before | {"service": (*before["service"][:2], "main")}
    assert project.api().deployment("alpha") is None
    assert {"beta"} == {
        raw["owner"] for raw in project.books().values() if isinstance(raw, dict) and raw.get("owner")
    } - {"shared"}
    done = project.plan_one(**AFTER)
    assert not done.changes
    assert "the lines can leave" in done.warnings[0].text
    rest = {name: value for name, value in AFTER.items() if name != "moved"}
    assert not project.plan_one(**rest).is_pending
    project.destroy(**rest)
    assert project.names() <= {"environment"}


def test_a_stack_is_renamed_whose_deployment_is_replaced(project: Project) -> None:
    project.apply(**BEFORE)
    outcome = project.apply(**BEFORE | {"stack": "beta", "moved": {"stack": "alpha"}, "deployment": {"name": "beta"}})
    assert ("rename", "deployment/beta") in [(o.kind, str(o.address)) for o in outcome.plan.operations]
    assert [raw["name"] for raw in project.api().deployments()] == ["beta"]


def test_each_deployment_of_a_renamed_stack_keeps_its_own_labels(project: Project) -> None:
    project.apply(**BEFORE)
    project.fault("build-fail", count=1)
    assert not project.perform(project.write("beta.yaml", **BEFORE | {"deployment": {"name": "beta"}}))[0].succeeded
    project.fault("error", method="DELETE", path="/deployments/beta", status=400)
    file = project.write("new.yaml", **BEFORE | {"stack": "gamma", "moved": {"stack": "alpha"}})
    assert not project.perform(file)[0].succeeded
    for name in ("alpha", "beta"):
        raw = project.api().deployment(name) or {}
        labels = Labels.of(raw)
        assert (labels.id, labels.owner, labels.lease) == (raw["id"], "gamma", None)


def test_both_names_are_refused_and_nothing_is_deleted(project: Project) -> None:
    project.apply(**BEFORE)
    project.api().create_deployment(
        {"name": "beta", "input_type": "plain", "output_type": "plain", "labels": {"whisperctl-stack": "alpha"}}
    )
    plan = project.plan_one(**(BEFORE | {"deployment": {"name": "beta"}, "moved": {"deployment": "alpha"}}))
    assert "deployment/alpha and deployment/beta both exist" in plan.refused[0].text
    ran = project.cli("apply", "--yes", str(project.folder / "stack.yaml"))
    assert ran.code == 1
    assert project.api().deployment("alpha") is not None


def test_a_stack_that_is_declared_or_protected_keeps_its_name(project: Project) -> None:
    project.apply(**BEFORE, protect=True)
    renamed = BEFORE | {"stack": "beta", "moved": {"stack": "alpha"}}
    plan = project.plan_one(**renamed)
    assert "is protected on UbiOps: it is not renamed" in plan.refused[-1].text
    old = project.write("old.yaml", stack="alpha", deployment={"name": "other"}, service={"name": "other"})
    new = project.write("new.yaml", **renamed)
    plans = {plan.stack: plan for plan in project.plan(new, old)}
    assert any("is declared by a file of its own" in remark.text for remark in plans["beta"].refused)


def test_absent_names_do_nothing(project: Project) -> None:
    given = BEFORE | {"moved": {"stack": "nobody", "deployment": "nothing", "version": "v0"}}
    project.apply(**given)
    assert not project.plan_one(**given).is_pending


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_cut_off_anywhere_the_next_apply_finishes_it(project: Project, after: bool) -> None:
    project.apply(**BEFORE)
    project.write(**AFTER)
    project.control("POST", "snapshot", {"name": "made"})
    before = identity(project, "alpha", "v1", "alpha")
    world, session = dying(project, 0, after, is_write)
    assert attempt(world, project, False)
    for point in range(2 if after else 1, session.count + 1, 1 if EXHAUSTIVE else 4):
        project.control("POST", "restore", {"name": "made"})
        world, _ = dying(project, point, after, is_write)
        attempt(world, project, False)
        bury(project)
        [outcome] = project.perform()
        assert outcome.succeeded, f"killed at {point} of {session.count}: {report(outcome)}"
        ids = identity(project, "beta", "main", "door")
        assert ids == before | {"service": (*before["service"][:2], "main")}, point
