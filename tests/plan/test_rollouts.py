"""The order of a rollout: made beside what serves, gated, switched to, baked; what gives way goes last."""

from __future__ import annotations

import pytest

from tests.plan.states import (
    NOTHING,
    applied,
    changed,
    changes,
    desired,
    line,
    live,
    planned,
    relabelled,
    stack,
    steps,
    with_version,
)
from whisperctl.state.live import Live
from whisperctl.state.resources import service_address, version_address

OLD, NEW = "v1-00000001", "v1-00000002"
DOOR = service_address("door")
SERVES = applied(desired(line(OLD)))
WANTED = desired(line(NEW), code="two")


def led_on(state: Live) -> Live:
    """The same, its service leading to the new version."""
    return changed(state, DOOR, version=NEW)


def test_a_new_version_is_gated_switched_to_and_baked_and_the_earlier_one_falls_asleep_last() -> None:
    plan = planned(WANTED, SERVES)
    assert changes(plan) == [
        f"update version/speech/{OLD} minimum_instances",
        "update service/door version",
        f"create version/speech/{NEW}",
        f"create package/speech/{NEW}",
    ]
    assert steps(plan) == [
        f"1 create version/speech/{NEW}",
        f"2 upload package/speech/{NEW} < 1",
        f"3 gate version/speech/{NEW} < 1 2",
        "4 switch deployment/speech < 3",
        f"5 bake version/speech/{NEW} < 1 2 4",
        f"6 retire version/speech/{NEW} < 1 2 4 5",
        "7 seal deployment/speech < 1 2 4 5 6",
    ]


def test_the_first_version_is_gated_before_a_service_is_made_that_leads_to_it() -> None:
    assert steps(planned(WANTED, NOTHING))[3:] == [
        f"4 create version/speech/{NEW} < 1 2 3",
        f"5 upload package/speech/{NEW} < 1 2 3 4",
        f"6 gate version/speech/{NEW} < 1 2 3 4 5",
        "7 switch deployment/speech < 6",
        "8 create service/door < 7",
        f"9 probe version/speech/{NEW} < 1 2 3 4 5 7 8",
        f"10 retire version/speech/{NEW} < 1 2 3 4 5 7 8 9",
        "11 seal deployment/speech < 1 2 3 4 5 7 8 9 10",
    ]


def test_a_further_service_is_made_between_the_switch_and_the_bake() -> None:
    plan = planned(desired(line(NEW, services=["door", "more"]), code="two"), SERVES)
    assert steps(plan)[3:6] == [
        "4 switch deployment/speech < 3",
        "5 create service/more < 4",
        f"6 bake version/speech/{NEW} < 1 2 4 5",
    ]


def test_versions_beyond_those_that_are_kept_go_once_the_new_one_serves_well() -> None:
    state = with_version(SERVES, "v1-0000000a", "served", at="2026-01-01T00:00:00Z")
    state = with_version(state, "v1-0000000b", "failed", stage="gate")
    assert steps(planned(WANTED, state))[5:] == [
        f"6 retire version/speech/{NEW} < 1 2 4 5",
        "7 delete version/speech/v1-0000000a < 1 2 4 5 6",
        "8 delete version/speech/v1-0000000b < 1 2 4 5 6",
        "9 seal deployment/speech < 1 2 4 5 6 7 8",
    ]
    assert "delete version/speech/v1-0000000a" not in changes(planned(desired(line(NEW, keep=2), code="two"), state))


@pytest.mark.parametrize(
    ("is_now", "led", "kinds"),
    [
        ("begun", False, ["gate", "switch", "bake", "retire", "seal"]),
        ("passed", False, ["gate", "switch", "bake", "retire", "seal"]),  # what it passed, it passed beside others
        ("passed", True, ["switch", "bake", "retire", "seal"]),
        ("failed", True, ["gate", "switch", "probe", "retire", "seal"]),  # somebody led it there: none gives way
        ("served", True, ["retire", "seal"]),  # the earlier one is awake
    ],
)
def test_a_rollout_that_was_cut_off_goes_on_where_it_was(is_now: str, led: bool, kinds: list[str]) -> None:
    state = with_version(SERVES, NEW, is_now)  # type: ignore[arg-type]
    plan = planned(desired(line(NEW, minimum_instances=0)), led_on(state) if led else state)
    assert [operation.kind for operation in plan.operations] == kinds


def test_a_switch_that_was_cut_off_is_gated_again_before_the_rest_follows() -> None:
    two = applied(desired(line(OLD, services=["door", "more"])))
    state = led_on(with_version(two, NEW, "passed"))
    plan = planned(desired(line(NEW, minimum_instances=0, services=["door", "more"])), state)
    assert plan.rollout is not None
    assert (plan.rollout.serving, plan.rollout.replaces) == (OLD, OLD)
    assert [operation.kind for operation in plan.operations] == ["gate", "switch", "bake", "retire", "seal"]


def test_a_version_that_waits_for_its_gate_is_woken_as_it_is() -> None:
    state = with_version(SERVES, NEW, "begun")
    plan = planned(desired(line(NEW, maximum_instances=5)), state)
    assert f"update version/speech/{NEW} maximum_instances minimum_instances" in changes(plan)
    assert [operation.kind for operation in plan.operations] == ["gate", "switch", "bake", "retire", "seal"]


def test_a_paused_stack_gates_and_switches_and_sleeps_on() -> None:
    paused = relabelled({**SERVES.owned[version_address("speech", OLD)], "minimum_instances": 0}, paused_minimum=1)
    plan = planned(WANTED, live({**SERVES.owned, version_address("speech", OLD): paused}))
    kinds = [operation.kind for operation in plan.operations]
    assert kinds == ["create", "upload", "gate", "switch", "retire", "seal"]


def test_without_a_service_the_default_version_moves_and_is_probed() -> None:
    plan = planned(desired(line(NEW, services=[]), code="two"), applied(desired(line(OLD, services=[]))))
    kinds = [operation.kind for operation in plan.operations]
    assert kinds == ["create", "upload", "gate", "switch", "probe", "retire", "seal"]


def test_what_someone_else_uses_is_kept_and_what_an_apply_could_not_delete_stays() -> None:
    old = [f"v1-0000000{letter}" for letter in "abc"]
    state = SERVES
    for number, name in enumerate(old):
        state = with_version(state, name, "kept" if name == old[2] else "served", at=f"2026-01-0{number + 1}T00:00:00Z")
    used = live(state.owned, used_by={version_address("speech", old[0]): ["theirs"]})
    assert [line for line in changes(planned(WANTED, used)) if line.startswith("delete")] == [
        f"delete version/speech/{old[1]}"
    ]


def test_a_deployment_that_is_made_again_takes_the_whole_line_with_it() -> None:
    state = with_version(SERVES, "v1-0000000a", "served", at="2026-01-01T00:00:00Z")
    plan = planned(desired(line(NEW, input_type="structured"), code="two"), state)
    first = [f"{operation.kind} {operation.address}" for operation in plan.operations[:5]]
    assert first == [
        "delete service/door",
        f"delete version/speech/{OLD}",
        "delete version/speech/v1-0000000a",
        "delete deployment/speech",
        "create deployment/speech",
    ]
    assert plan.rollout is None


def test_back_in_place_the_versions_of_the_line_go_once_their_successor_is_proven() -> None:
    state = with_version(SERVES, "v1-0000000a", "served", at="2026-01-01T00:00:00Z")
    assert steps(planned(desired(stack(), code="two"), state))[2:] == [
        "3 update service/door < 1 2",
        "4 probe version/speech/v1 < 1 2 3",
        f"5 delete version/speech/{OLD} < 1 2 3 4",
        "6 delete version/speech/v1-0000000a < 1 2 3 4",
        "7 seal deployment/speech < 1 2 3 4 5 6",
    ]


def test_an_earlier_version_that_sleeps_is_left_as_it_is() -> None:
    state = with_version(SERVES, "v1-0000000a", "served", at="2026-01-01T00:00:00Z")
    plan = planned(desired(line(OLD)), state)
    assert (changes(plan), steps(plan)) == ([], [])
