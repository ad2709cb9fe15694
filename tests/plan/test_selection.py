"""`--only` and `--exclude`: what a part of a plan takes along, what it leaves, and what it does not record."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.plan.states import (
    NOTHING,
    applied,
    changed,
    changes,
    desired,
    line,
    planned,
    stack,
    steps,
    with_rollout,
    without,
)
from whisperctl.plan.plan import Plan
from whisperctl.state.resources import deployment_address, service_address, tag_address

NEW = stack(group=["t4-small"], env={"A": "1"})
BEFORE = desired(stack(env={"A": "1"}))
AFTER = desired(stack(env={"A": "2"}, maximum_instances=5, description="Talks"), code="two", tag="vllm-2")
OLD_TAG = tag_address("whisperctl", "vllm-1")


def along(plan: Plan) -> list[str]:
    return list(map(str, plan.along))


def left_out(plan: Plan) -> list[str]:
    return list(map(str, plan.left_out))


@pytest.mark.parametrize(
    ("only", "kinds", "needed"),
    [
        ("deployment/*", ["create deployment"], []),
        ("environment_tag/*", ["create deployment", "create environment", "build environment_tag"], [3, 2]),
        ("service/door", ["create version", "create service"], [1, 2, 3, 4, 5, 6, 7]),
        ("env_var/*/A", ["create version", "create env_var"], [1, 2, 3, 4, 5]),
        ("package/*", ["create version", "upload package", "probe version"], [1, 2, 3, 4, 5]),
    ],
)
def test_what_does_not_exist_and_is_needed_comes_along(only: str, kinds: list[str], needed: list[int]) -> None:
    plan = planned(desired(NEW), NOTHING, only=[only])
    done = [f"{step.kind} {step.address.kind.name.lower()}" for step in plan.operations]
    assert done[-1] == "seal deployment"
    assert [step for step in done if step in kinds] == kinds
    assert ("create service" in done) == ("create service" in kinds)
    assert len(plan.along) == len(needed)
    assert len(plan.changes) + len(plan.left_out) == 8


def test_a_pending_change_of_what_exists_does_not_come_along() -> None:
    plan = planned(AFTER, applied(BEFORE), only=["env_var/*"], retired=[OLD_TAG])
    assert changes(plan) == ["update env_var/speech/v1/A value"]
    assert steps(plan) == [
        "1 update env_var/speech/v1/A",
        "2 restart version/speech/v1 < 1",
        "3 probe version/speech/v1 < 1 2",
        "4 seal deployment/speech < 1 2 3",
    ]
    assert left_out(plan) == [
        "environment_tag/whisperctl/vllm-1",
        "environment_tag/whisperctl/vllm-2",
        "deployment/speech",
        "version/speech/v1",
        "package/speech/v1",
    ]
    assert plan.cost is not None
    assert plan.cost.maximum.before == plan.cost.maximum.after


def test_a_star_matches_slashes_and_what_is_excluded_is_left_out() -> None:
    plan = planned(AFTER, applied(BEFORE), exclude=["*speech/v1*", "environment*"])
    assert changes(plan) == ["update deployment/speech description"]
    plan = planned(AFTER, applied(BEFORE), only=["*v1", "env*"], exclude=["package/*"])
    assert changes(plan) == [
        "update version/speech/v1 environment_tag maximum_instances",
        "update env_var/speech/v1/A value",
        "create environment_tag/whisperctl/vllm-2",
    ]


def test_another_environment_is_built_for_the_version_that_needs_it_and_the_old_one_stays_with_its_package() -> None:
    plan = planned(AFTER, applied(BEFORE), only=["version/*"], retired=[OLD_TAG])
    assert along(plan) == ["environment_tag/whisperctl/vllm-2"]
    assert str(OLD_TAG) in left_out(plan)
    whole = planned(AFTER, applied(BEFORE), only=["version/*", "package/*", "environment_tag/*"], retired=[OLD_TAG])
    assert f"delete {OLD_TAG}" in changes(whole)


def test_nothing_is_deleted_that_what_is_left_out_still_uses() -> None:
    renamed = desired(stack(version="v2", env={"A": "1"}))
    plan = planned(renamed, applied(BEFORE), only=["version/*"])
    assert changes(plan) == ["create version/speech/v2"]
    plan = planned(renamed, applied(BEFORE), only=["version/*", "service/*"])
    assert along(plan) == ["env_var/speech/v2/A", "package/speech/v2"]
    assert [change.split()[:2] for change in changes(plan)] == [
        ["delete", "version/speech/v1"],
        ["delete", "env_var/speech/v1/A"],
        ["delete", "package/speech/v1"],
        ["update", "service/door"],
        ["create", "version/speech/v2"],
        ["create", "env_var/speech/v2/A"],
        ["create", "package/speech/v2"],
    ]


def test_a_service_that_is_led_on_takes_all_that_answers_it_along() -> None:
    plan = planned(desired(stack(version="v2", env={"A": "1"})), applied(BEFORE), only=["service/*"])
    assert along(plan) == ["version/speech/v2", "env_var/speech/v2/A", "package/speech/v2"]
    assert "version/speech/v1" in left_out(plan)


def test_a_deployment_goes_only_with_everything_below_it() -> None:
    plan = planned(BEFORE, applied(BEFORE), destroy=True, only=["deployment/*"])
    assert (changes(plan), steps(plan)) == ([], [])
    [warning] = plan.warnings
    assert warning.text.startswith("deployment/speech is asked for and not deleted: what is left out still uses it")
    plan = planned(BEFORE, applied(BEFORE), destroy=True, only=["service/*"])
    assert steps(plan) == ["1 delete service/door"]
    plan = planned(BEFORE, applied(BEFORE), destroy=True, exclude=["service/*"])
    assert changes(plan) == []
    plan = planned(BEFORE, applied(BEFORE), destroy=True, only=["version/*", "service/*"])
    assert steps(plan) == ["1 delete service/door", "2 delete version/speech/v1 < 1"]


def test_what_is_made_again_or_renamed_is_taken_whole_or_refused() -> None:
    other = desired(stack(input_type="structured", env={"A": "1"}))
    [remark] = planned(other, applied(BEFORE), only=["deployment/*"]).refused
    assert "the selection leaves out version/speech/v1" in remark.text
    assert "its deployment is replaced" in remark.text
    assert planned(other, applied(BEFORE), exclude=["*"]).refused == ()
    assert planned(other, applied(BEFORE), only=["*"]).refused == ()


SERVES = applied(desired(line()))
ROLLED = desired(line("v1-00000002"), code="two")
STEPS = ["gate", "switch", "bake", "retire"]


@pytest.mark.parametrize("globs", [["package/*"], ["version/speech/v1-00000002"]])
def test_a_line_rolls_out_as_a_whole(globs: list[str]) -> None:
    state = changed(SERVES, service_address("door"), rate_limit=7)
    wants = desired(line("v1-00000002"), code="two")
    door = wants.state[service_address("door")]
    limited = {**wants.state, door.address: replace(door, fields={**door.fields, "rate_limit": 9})}
    plan = planned(replace(wants, state=limited, declared=limited), state, only=globs)
    assert [step.kind for step in plan.operations if step.kind in STEPS] == STEPS
    assert "update service/door version" in changes(plan)  # and its rate limit is left as it is
    assert plan.rollout is not None
    assert plan.rollout.only_pointed == ("door",)


def test_a_service_of_a_line_goes_on_leading_where_it_leads_while_the_line_is_left_out() -> None:
    state = changed(SERVES, service_address("door"), port=9090)
    for only, exclude in ((["service/*"], []), ([], ["package/*"])):
        plan = planned(ROLLED, state, only=only, exclude=exclude)
        assert (changes(plan), steps(plan)) == ([], [])
        assert "service/door" in left_out(plan)
        assert "service/door stays as it is, and leads where it leads: the new version is left out" in [
            warning.text for warning in plan.warnings
        ]
    state = changed(SERVES, service_address("door"), authentication_required=False)
    plan = planned(ROLLED, state, only=["service/*"])
    assert changes(plan) == ["update service/door authentication_required"]
    assert steps(plan) == ["1 update service/door", "2 seal deployment/speech < 1"]
    assert "version" not in plan.desired.state[service_address("door")].fields


def test_a_line_gets_its_first_service_with_its_first_version() -> None:
    plan = planned(desired(line()), NOTHING, only=["version/*"])
    assert "service/door" in along(plan)


def test_no_new_service_leads_to_a_version_that_did_not_pass_its_gate() -> None:
    what = desired(line())
    state = without(applied(what), service_address("door"))
    plan = planned(what, with_rollout(state, "v1-00000001", "failed", stage="gate"), only=["service/*"])
    kinds = [step.kind for step in plan.operations]
    assert kinds.index("gate") < kinds.index("create")


def test_globs_that_match_nothing_are_known() -> None:
    plan = planned(AFTER, applied(BEFORE), only=["service/*", "nothing/*"], exclude=["also-nothing"])
    assert plan.selection.unmatched(plan.addresses) == ["nothing/*", "also-nothing"]
    assert deployment_address("speech") in plan.addresses
