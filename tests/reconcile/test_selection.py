"""`--only` and `--exclude` from the command line to UbiOps: what is asked for is made and proven, the rest is left."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness.project import Project
from tests.reconcile.test_documents import check
from whisperctl.state.labels import Labels

CHANGED: dict[str, Any] = {
    "deployment": {"description": "Talks"},
    "version": {"maximum_instances": 4},
    "env": {"A": "2", "S": {"value": "second-secret", "secret": True}},
    "service": {"rate_limit": 9},
}


def deployed(project: Project) -> Labels:
    return Labels.of(project.api().deployment("alpha"))


@pytest.fixture
def file(project: Project) -> str:
    """A stack that was applied, and whose file has moved on since."""
    project.apply(env={"A": "1", "S": {"value": "first-secret", "secret": True}, "OLD": "x"})
    return str(project.write(**CHANGED))


def test_a_part_is_applied_proven_and_found_unchanged_and_the_rest_stays_pending(project: Project, file: str) -> None:
    digest = deployed(project).digest
    ran = project.cli("apply", "--yes", "--only", "service/*", "--only", "env_var/*/A", file)
    assert ran.code == 0, ran
    assert "4 changes left out (--only service/* --only env_var/*/A): deployment/alpha, " in ran.out
    assert "Nothing that was asked for differs any more" in ran.out
    assert (project.api().find_service("alpha") or {})["rate_limit"] == 9
    assert (project.api().version("alpha", "v1") or {})["maximum_instances"] != 4
    assert deployed(project).digest == digest  # the deployment's still tells what was applied as a whole
    drift = project.cli("drift", file)
    assert (drift.code, "No drift: the project is as it was last applied" in drift.out) == (0, True), drift
    assert {change.address.names[-1] for change in project.plan(file)[0].changes} == {"alpha", "v1", "S", "OLD"}
    again = project.cli("apply", "--yes", "--only", "service/*", file)
    assert (again.code, "No changes in what is asked for." in again.out) == (0, True), again
    assert project.cli("apply", "--yes", file).code == 0
    assert project.plan(file)[0].is_empty


def test_secrets_and_names_that_are_left_out_are_not_forgotten(project: Project, file: str) -> None:
    assert project.cli("apply", "--yes", "--only", "*/A", file).code == 0
    assert project.cli("apply", "--yes", "--exclude", "*/S", "--exclude", "*/OLD", file).code == 0
    [plan] = project.plan(file)
    assert [f"{change.action} {change.address}" for change in plan.changes] == [
        "delete env_var/alpha/v1/OLD",
        "update env_var/alpha/v1/S",
    ]
    assert project.cli("apply", "--yes", "--only", "*/S", file).code == 0
    assert [str(change.address) for change in project.plan(file)[0].changes] == ["env_var/alpha/v1/OLD"]


def test_a_new_stack_is_made_in_parts(project: Project) -> None:
    file = str(project.write(env={"A": "1"}))
    ran = project.cli("apply", "--yes", "--only", "env_var/*", file)
    assert ran.code == 0, ran
    assert "Comes along, since the rest needs it: " in ran.out
    assert project.names() == {
        "deployment/alpha", "version/alpha/v1", "env_var/alpha/v1/A", "environment",
        next(name for name in project.names() if name.startswith("tag/")),
    }  # fmt: skip
    assert project.cli("apply", "--yes", "--only", "package/*", file).code == 0
    assert deployed(project).digest is None
    assert project.cli("apply", "--yes", file).code == 0
    assert project.plan(file)[0].is_empty


def test_a_saved_plan_keeps_its_part(project: Project, file: str) -> None:
    saved = str(project.folder / "saved")
    assert project.cli("plan", "--exclude", "*v1*", "-o", saved, file).code == 0
    shown = project.cli("show", saved)
    assert "4 changes left out (--exclude *v1*): version/alpha/v1, " in shown.out
    [stack] = check("plan", project.cli("show", "--format", "json", saved).json)
    assert stack["selection"]["exclude"] == ["*v1*"]
    assert (stack["summary"]["left_out"], len(stack["selection"]["left_out"])) == (4, 4)
    assert "> 4 changes left out" in project.cli("show", "--format", "markdown", saved).out
    assert project.cli("apply", "--plan", saved, "--only", "*").code == 64
    ran = project.cli("apply", "--plan", saved)
    assert ran.code == 0, ran
    assert {str(change.address) for change in project.plan(file)[0].changes} == set(stack["selection"]["left_out"])
    stale = project.cli("apply", "--plan", saved)
    assert (stale.code, "'--exclude=*v1*'" in stale.err) == (1, True), stale.err


@pytest.mark.parametrize("command", [["plan"], ["apply", "--yes"], ["drift"]])
def test_a_glob_that_matches_nothing_is_wrong_usage(project: Project, file: str, command: list[str]) -> None:
    before = project.books()
    ran = project.cli(*command, "--only", "service/*", "--exclude", "doors/alpha", file)
    assert ran.code == 64
    assert "No address matches 'doors/alpha'. There are deployment/alpha, env_var/alpha/v1/A, " in ran.err
    assert project.books() == before


def test_drift_is_told_of_what_is_asked_for(project: Project) -> None:
    project.apply()
    project.api().update_service("alpha", {"rate_limit": 7})
    project.api().update_version("alpha", "v1", {"maximum_instances": 7})
    file = str(project.write(service={"rate_limit": 9}))
    project.apply(service={"rate_limit": 9})
    project.api().update_service("alpha", {"rate_limit": 7})
    project.api().update_version("alpha", "v1", {"maximum_instances": 7})
    [stack] = check("drift", project.cli("drift", "--only", "service/*", "--format", "json", file).json)
    assert [change["address"] for change in stack["changes"]] == ["service/alpha"]
    assert stack["summary"]["left_out"] == 1
    ran = project.cli("drift", "--only", "deployment/*", file)
    assert (ran.code, "No drift in what was asked for" in ran.out) == (0, True)


def test_a_version_that_was_left_out_is_found_again_and_deleted(project: Project) -> None:
    project.apply()
    file = str(project.write(version={"name": "v2"}))
    assert project.cli("apply", "--yes", "--exclude", "version/alpha/v1", file).code == 0
    assert "delete version/alpha/v1" in [f"{one.action} {one.address}" for one in project.plan(file)[0].changes]
    assert project.cli("apply", "--yes", file).code == 0
    assert [item["version"] for item in project.api().versions("alpha")] == ["v2"]


def test_an_env_var_that_was_left_out_stays_nobodys(project: Project) -> None:
    project.apply()
    file = str(project.write(env={"NEW": "mine", "OTHER": "x"}))
    assert project.cli("apply", "--yes", "--exclude", "*/NEW", file).code == 0
    assert "NEW" not in Labels.of(project.api().version("alpha", "v1")).env_names
    project.api().create_env_var("alpha", "v1", {"name": "NEW", "value": "somebody's", "secret": False})
    refused = project.cli("plan", file)
    assert (refused.code, "exists and belongs to nobody" in refused.all) == (1, True), refused
    assert not project.plan(str(project.write(env={"OTHER": "x"})))[0].changes


def test_a_service_that_is_left_out_proves_nothing_for_another_version(project: Project) -> None:
    project.apply()
    file = str(project.write(version={"name": "v2"}))
    ran = project.cli("apply", "--yes", "--exclude", "service/*", "--exclude", "*/v1*", file)
    assert ran.code == 0, ran
    assert (project.api().find_service("alpha") or {})["version"] == "v1"
    assert "alpha: serves" not in ran.all
