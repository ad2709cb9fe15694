"""What a rollout would meet, as the project tells: whether what serves answers, and why the gate could not end."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness.answers import Answers, page, project
from tests.plan.states import applied, desired, line, planned, stack
from whisperctl.plan.plan import Plan
from whisperctl.plan.survey import surveyed
from whisperctl.state.labels import new
from whisperctl.state.live import Live

OLD, NEW = "v1-00000001", "v1-00000002"
SERVES = applied(desired(line(OLD)))
TYPE = {"id": "t1", "name": "t4-small", "accelerator": 1, "memory": 12288, "priority": 0}
PERMISSIONS = ["services.delete", "services.list"]


def instance(number: int, status: str = "running") -> dict[str, Any]:
    time = "2026-11-29T00:00:00Z"
    return {"id": f"i{number}", "status": status, "time_updated": time, "instance_type": TYPE}


def plan(state: Live = SERVES, **more: Any) -> Plan:
    group = {"id": "g1", "name": "T4", "instance_types": [TYPE]}
    return planned(desired(line(NEW, **more), code="two"), Live(**{**_fields(state), "groups": [group]}))


def _fields(state: Live) -> dict[str, Any]:
    return {"owned": state.owned, "foreign": {}, "fingerprints": state.fingerprints}


def survey(of: Plan, **answers: Any) -> tuple[Plan, Answers]:
    """The plan in a project that answers so: `running` instances of what serves, `preview`, `quotas`, `may`."""
    running = [instance(number) for number in range(answers.get("running", 1))]
    may = answers.get("may", PERMISSIONS)
    api, asked = project(
        {
            f"deployments/speech/versions/{OLD}/instances": page(*running, instance(9, "stopping")),
            "instances": page(*running),
            "instance-types": page(TYPE),
            "quotas": answers.get("quotas", []),
            "/user": {"id": "u1"},
            "/permissions": [{"name": name} for name in PERMISSIONS],
            "role-assignments": 403 if may is None else [{"role": "r1", "resource_type": "project"}],
            "roles/r1": {"permissions": may},
            **({"services/speech-preview": answers["preview"]} if "preview" in answers else {}),
        }
    )
    return surveyed(of, api), asked


def refusals(of: Plan) -> list[str]:
    return [remark.text.partition("\n")[0] for remark in of.refused]


def test_nothing_is_asked_where_nothing_is_gated() -> None:
    for unchanged in (planned(desired(stack()), applied(desired(stack()))), planned(desired(line(OLD)), SERVES)):
        after, asked = survey(unchanged)
        assert (after, asked.asked) == (unchanged, [])


@pytest.mark.parametrize(("running", "compared"), [(0, False), (1, True)])
def test_the_gate_compares_with_what_runs(running: int, compared: bool) -> None:
    after, _ = survey(plan(), running=running)
    assert after.rollout is not None
    assert (after.rollout.compared, after.refused) == (compared, ())


@pytest.mark.parametrize("labels", [None, {}, new(owner="beta")])
def test_a_preview_of_somebody_else_is_refused_before_anything_is_built(labels: dict[str, str] | None) -> None:
    theirs = {"id": "s9", "name": "speech-preview", "deployment": "other", "labels": labels}
    assert refusals(survey(plan(), preview=theirs)[0]) == [
        "service/speech-preview is not this stack's, and the gate needs that name."
    ]


def test_a_preview_that_a_killed_apply_left_is_no_reason() -> None:
    ours = {"id": "s9", "name": "speech-preview", "deployment": "speech", "labels": new(owner="alpha", id="s9")}
    assert refusals(survey(plan(), preview=ours)[0]) == []


@pytest.mark.parametrize(
    ("may", "refused"),
    [
        (PERMISSIONS, []),
        (["services.list"], ["the gate deletes its temporary service, and the token lacks services.delete."]),
        ([], []),  # a token without a role on the project: nothing is known
        (None, []),  # one that may not read its own roles
    ],
    ids=["all", "no deletion", "none", "unreadable"],
)
def test_a_token_that_may_not_delete_services_is_refused(may: list[str] | None, refused: list[str]) -> None:
    assert refusals(survey(plan(), may=may)[0]) == refused


def test_a_stack_without_services_needs_neither_the_name_nor_the_permission() -> None:
    theirs = {"id": "s9", "name": "speech-preview", "deployment": "other", "labels": {}}
    after, asked = survey(plan(services=[]), preview=theirs, may=["services.list"])
    assert refusals(after) == []
    assert not [line for line in asked.asked if "preview" in line or "role" in line]


@pytest.mark.parametrize(
    ("quota", "running", "maximum", "surge", "needed"),
    [
        ({"resource": "instances", "quota": 2}, 1, 2, "fits", ""),
        ({"resource": "instances", "quota": 1}, 1, 2, "does not fit", "1 more instance beside"),
        ({"resource": "gpus", "quota": 3}, 2, 2, "does not fit", "2 more instances beside"),
        ({"resource": "memory", "quota": 3 * 12288}, 2, 1, "fits", ""),  # no more than its own maximum
        ({"resource": "t4-small", "quota": 0}, 0, 2, "does not fit", "1 more instance beside"),
        ({"resource": "requests", "quota": 1}, 1, 2, "unknown", ""),
        ({"resource": "instances", "quota": None}, 1, 2, "unknown", ""),
    ],
)
def test_a_rollout_without_room_is_refused_and_names_in_place(
    quota: dict[str, Any], running: int, maximum: int, surge: str, needed: str
) -> None:
    after, _ = survey(plan(maximum_instances=maximum), quotas=[quota], running=running)
    assert after.cost is not None
    assert (after.cost.surge, len(after.refused)) == (surge, bool(needed))
    for remark in after.refused:
        assert remark.text.startswith(f"the rollout needs {needed} {OLD}, and the quota has no room for")
        assert "set rollout.strategy: in_place" in remark.text
