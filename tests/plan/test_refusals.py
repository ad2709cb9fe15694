"""What is refused: at once, or only by `apply`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.plan.states import NOTHING, applied, changed, changes, desired, live, planned, relabelled, stack, steps
from whisperctl.errors import NotOwned, Refused
from whisperctl.plan.refusals import refuse
from whisperctl.spec import Policy
from whisperctl.state.desired import Desired
from whisperctl.state.labels import new
from whisperctl.state.live import Live
from whisperctl.state.resources import deployment_address, service_address, version_address

BEFORE = desired(stack())
DEPLOYMENT = deployment_address("speech")


def test_names_that_nobody_owns_point_to_adopt_all_of_them_at_once() -> None:
    state = replace(NOTHING, foreign={DEPLOYMENT: {"labels": {}}, service_address("door"): {"labels": None}})
    with pytest.raises(NotOwned) as caught:
        planned(BEFORE, state)
    assert str(caught.value).splitlines() == [
        "stack.yaml:1: deployment/speech exists and belongs to nobody that whisperctl knows.",
        "stack.yaml:1: service/door exists and belongs to nobody that whisperctl knows.",
        "  Nothing was changed. Choose other names, or take over what nobody owns with",
        "    whisperctl adopt stack.yaml",
    ]


def test_names_of_another_stack_do_not_point_to_adopt() -> None:
    state = replace(NOTHING, foreign={DEPLOYMENT: {"labels": new(owner="beta")}})
    with pytest.raises(NotOwned, match="belongs to the stack 'beta'") as caught:
        planned(BEFORE, state)
    assert "whisperctl adopt" not in str(caught.value)


def test_what_is_foreign_does_not_keep_a_stack_from_being_destroyed() -> None:
    state = replace(applied(BEFORE), foreign={service_address("side"): {"labels": {}}})
    assert planned(BEFORE, state, destroy=True).refused == ()


@pytest.mark.parametrize(("names", "has"), [(["H100", "L4"], "'H100', 'L4'"), ([], "none")])
def test_a_group_that_does_not_exist_is_told_with_those_that_do(names: list[str], has: str) -> None:
    state = live(applied(BEFORE).owned, group_exists=False, group_names=names)
    with pytest.raises(NotOwned, match=f"there is no instance type group 'T4'.*\n.*It has: {has}"):
        planned(BEFORE, state)


def test_a_deployment_with_versions_of_others_is_not_replaced() -> None:
    by_hand = changed(applied(BEFORE), DEPLOYMENT, input_type="structured")
    state = live(by_hand.owned, unowned_versions={"speech": ["x"]})
    with pytest.raises(NotOwned, match=r"deployment/speech must be replaced .*versions that are not ours: x"):
        planned(BEFORE, state)


@pytest.mark.parametrize(
    ("after", "lost"),
    [
        ({"services": ["other"]}, "service/door"),
        ({"version": "v2"}, "version/speech/v1"),
        ({"input_type": "structured"}, "deployment/speech"),
        (None, "deployment/speech"),
    ],
    ids=["service", "version", "deployment", "destroy"],
)
def test_what_a_protected_stack_would_lose_is_shown_and_refused_by_apply(
    after: dict[str, object] | None, lost: str
) -> None:
    what = desired(stack(protect=True, **(after or {})))  # type: ignore[arg-type]
    plan = planned(what, applied(BEFORE), destroy=after is None)
    [remark] = plan.refused
    assert (remark.source, lost in remark.text) == ("stack.yaml:1", True)
    with pytest.raises(Refused, match="is protected, and this would delete") as caught:
        refuse([plan])
    assert str(caught.value).endswith("\n  Nothing was changed.")


@pytest.mark.parametrize("change", [{"maximum_instances": 9}, {"env": {"A": "1"}}, {"services": ["door", "more"]}])
def test_a_protected_stack_may_change_what_deletes_nothing(change: dict[str, object]) -> None:
    plan = planned(desired(stack(protect=True, **change)), applied(BEFORE))  # type: ignore[arg-type]
    assert plan.refused == ()
    refuse([plan])


def test_what_services_of_others_route_to_is_not_deleted() -> None:
    version = version_address("speech", "v1")
    state = live(applied(BEFORE).owned, used_by={version: ["theirs", "others"]})
    assert planned(BEFORE, state).refused == ()
    [remark] = planned(desired(stack(version="v2")), state).refused
    assert "version/speech/v1 would be deleted, and is used by service/theirs, service/others, not ours." in remark.text


def test_one_refused_stack_hides_no_other() -> None:
    plans = []
    for name in ("a", "b"):
        what = desired(stack(name, deployment=name, services=[name], protect=True))
        plans.append(planned(what, applied(what), destroy=True))
    with pytest.raises(Refused) as caught:
        refuse(plans)
    assert "the stack 'a' is protected" in str(caught.value)
    assert "the stack 'b' is protected" in str(caught.value)


def guarded(state: Live) -> Live:
    """The same, protected on UbiOps."""
    return live({**state.owned, DEPLOYMENT: relabelled(state.owned[DEPLOYMENT], protect=True)})


def test_lifting_the_protection_is_a_change_of_its_own() -> None:
    plan = planned(BEFORE, guarded(applied(BEFORE)))
    assert (changes(plan), plan.refused) == (["update deployment/speech protect"], ())
    assert steps(plan) == ["1 update deployment/speech", "2 seal deployment/speech < 1"]


@pytest.mark.parametrize("more", [{"maximum_instances": 5}, {"description": "Talks"}, {"env": {"A": "1"}}])
def test_lifting_the_protection_with_anything_else_is_refused(more: dict[str, Any]) -> None:
    [remark] = planned(desired(stack(**more)), guarded(applied(BEFORE))).refused
    assert remark.source == "stack.yaml:1"
    assert remark.text.startswith("lifting the protection of 'alpha' must be the only change of an apply.")


@pytest.mark.parametrize("more", [{"services": []}, {"version": "v2"}, {"deployment": "talk"}])
def test_what_is_protected_on_ubiops_is_kept_whatever_the_file_says(more: dict[str, Any]) -> None:
    [remark] = planned(desired(stack(**more)), guarded(applied(BEFORE))).refused
    assert "is protected on UbiOps, whatever the file says now, and this would delete" in remark.text


def test_a_version_of_a_protected_stack_goes_where_another_one_serves() -> None:
    what = desired(stack(version="v2", protect=True))
    left = applied(BEFORE).owned[version_address("speech", "v1")]
    state = live({**applied(what).owned, version_address("speech", "v1"): left})
    assert planned(what, state).refused == ()
    alone = desired(stack(version="v2", protect=True, services=[]))
    [remark] = planned(alone, live({a: raw for a, raw in state.owned.items() if a != service_address("door")})).refused
    assert "version/speech/v1" in remark.text  # nothing tells which of the two serves
    default = {**left, "default": True}
    state = live({**applied(what).owned, version_address("speech", "v1"): default})
    [remark] = planned(what, state).refused
    assert "version/speech/v1" in remark.text


def priced(rate: float | None, of: Desired = BEFORE) -> Live:
    """What is applied, in a group of this many credits an hour."""
    group = {"id": "g1", "name": "T4", "instance_types": [{"id": "t1", "name": "t4-small", "credit_rate": rate}]}
    return replace(applied(of), groups=[group])


def limited(credits_an_hour: float | None) -> Desired:
    """A stack of at most two instances with that policy."""
    return desired(replace(stack(), policy=Policy(max_credits_per_hour=credits_an_hour)))


@pytest.mark.parametrize(
    ("rate", "policy", "flag", "refused"),
    [
        (10.0, None, None, []),
        (10.0, 20.0, 20.0, []),
        (10.0, 19.5, None, [("stack.yaml:1", "the stack would cost up to 20 credits an hour, and 19.5 are allowed.")]),
        (10.0, None, 5.0, [("--max-credits", "the stack would cost up to 20 credits an hour, and 5 are allowed.")]),
        (
            None,
            20.0,
            0.0,
            [
                ("stack.yaml:1", "what the stack costs is not known, and 20 credits an hour are allowed"),
                ("--max-credits", "what the stack costs is not known, and 0 credits an hour are allowed"),
            ],
        ),
    ],
    ids=["no limit", "at the limit", "policy", "flag", "rate unknown"],
)
def test_more_credits_than_the_policy_or_the_flag_allows_are_refused(
    rate: float | None, policy: float | None, flag: float | None, refused: list[tuple[str, str]]
) -> None:
    plan = planned(limited(policy), priced(rate), max_credits=flag)
    assert [(remark.source, remark.text.partition("\n")[0]) for remark in plan.refused] == refused


def test_what_is_destroyed_costs_nothing() -> None:
    assert planned(limited(0.0), priced(10.0), destroy=True).refused == ()


@pytest.mark.parametrize("name", ["l" * 256, "é" * 60], ids=["long", "escaped"])
def test_a_label_that_cannot_be_recorded_is_refused_before_anything_is_written(name: str) -> None:
    def labelled(label: str) -> Desired:
        declared = stack()
        return desired(replace(declared, version=replace(declared.version, labels={label: "x"})))

    [remark] = planned(labelled(name), NOTHING).refused
    assert remark.text == "this label's name is too long to be recorded.\n  Choose a shorter one."
    assert not planned(labelled(name), applied(BEFORE), destroy=True).refused
    assert not planned(labelled(name[:40]), NOTHING).refused
