"""What is refused: at once, or only by `apply`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.plan.states import NOTHING, applied, changed, live, planned, stack, wanted
from whisperctl.errors import NotOwned, Refused
from whisperctl.plan.refusals import refuse
from whisperctl.state.labels import new
from whisperctl.state.resources import deployment_address, service_address, version_address

BEFORE = wanted(stack())
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
    what = wanted(stack(protect=True, **(after or {})))  # type: ignore[arg-type]
    plan = planned(what, applied(BEFORE), destroy=after is None)
    [remark] = plan.refused
    assert (remark.source, lost in remark.text) == ("stack.yaml:1", True)
    with pytest.raises(Refused, match="is protected, and this would delete") as caught:
        refuse([plan])
    assert str(caught.value).endswith("\n  Nothing was changed.")


@pytest.mark.parametrize("change", [{"maximum_instances": 9}, {"env": {"A": "1"}}, {"services": ["door", "more"]}])
def test_a_protected_stack_may_change_what_deletes_nothing(change: dict[str, object]) -> None:
    plan = planned(wanted(stack(protect=True, **change)), applied(BEFORE))  # type: ignore[arg-type]
    assert plan.refused == ()
    refuse([plan])


def test_what_services_of_others_route_to_is_not_deleted() -> None:
    version = version_address("speech", "v1")
    state = live(applied(BEFORE).owned, used_by={version: ["theirs", "others"]})
    assert planned(BEFORE, state).refused == ()
    [remark] = planned(wanted(stack(version="v2")), state).refused
    assert "version/speech/v1 would be deleted, and is used by service/theirs, service/others, not ours." in remark.text


def test_one_refused_stack_hides_no_other() -> None:
    plans = []
    for name in ("a", "b"):
        what = wanted(stack(name, deployment=name, services=[name], protect=True))
        plans.append(planned(what, applied(what), destroy=True))
    with pytest.raises(Refused) as caught:
        refuse(plans)
    assert "the stack 'a' is protected" in str(caught.value)
    assert "the stack 'b' is protected" in str(caught.value)
