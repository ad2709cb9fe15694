"""What differs, why, and what it does to the endpoint: every sort of change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.plan.states import NOTHING, applied, changed, changes, desired, live, planned, relabelled, stack, without
from whisperctl.errors import Mark
from whisperctl.plan.expected import explained_operations
from whisperctl.plan.proposal import new_changes
from whisperctl.state.labels import Labels
from whisperctl.state.resources import (
    Address,
    Masked,
    deployment_address,
    env_var_address,
    environment_address,
    group_address,
    service_address,
    version_address,
)

REPLACED = "instances are replaced"
ROOM = "maximum_instances leaves room for one more"
BEFORE = desired(stack())
DEPLOYMENT = deployment_address("speech")
VERSION = version_address("speech", "v1")
DOOR = service_address("door")


def test_what_is_as_wanted_is_no_change_and_counted() -> None:
    plan = planned(BEFORE, applied(BEFORE))
    assert (changes(plan), plan.unchanged, plan.is_pending, plan.is_empty) == ([], 6, False, True)


@pytest.mark.parametrize(
    ("address", "fields", "line"),
    [
        (VERSION, {"maximum_instances": 9}, "update version/speech/v1 maximum_instances"),
        (DOOR, {"port": 9, "version": None}, "update service/door port version"),
        (DEPLOYMENT, {"description": "by hand"}, "update deployment/speech description"),
        (DEPLOYMENT, {"output_type": "structured"}, "replace deployment/speech output_type"),
    ],
)
def test_what_somebody_changed_is_put_back(address: Address, fields: dict[str, object], line: str) -> None:
    assert line in changes(planned(BEFORE, changed(applied(BEFORE), address, **fields)))


PLACES: list[tuple[str | int, ...]] = [
    (),
    ("version",),
    ("version", "name"),
    ("version", "maximum_instances"),
    ("service",),
]
MARKS = {path: Mark(file="stack.yaml", line=line, column=1) for line, path in enumerate(PLACES, 1)}


@pytest.mark.parametrize(
    ("address", "fields", "reason"),
    [
        (VERSION, {"maximum_instances": 9}, "maximum_instances differs from stack.yaml:4"),
        (
            VERSION,
            {"minimum_instances": 9},
            "minimum_instances differs from its default: stack.yaml:2 does not name it",
        ),
        (DOOR, {"version": "v0"}, "version differs from stack.yaml:3"),
    ],
)
def test_a_line_is_blamed_only_where_it_names_the_field(address: Address, fields: dict[str, Any], reason: str) -> None:
    written = desired(replace(stack(), marks=MARKS))
    [change] = planned(written, changed(applied(written), address, **fields)).changes
    assert change.reason == reason
    assert change.source in reason


def test_what_the_file_does_not_name_is_left_alone() -> None:
    state = changed(applied(BEFORE), VERSION, scaling_strategy="moderate", deprecated=True, ports=[1])
    theirs = {**state.owned[DOOR]["labels"], "team": "speech"}
    assert changes(planned(BEFORE, changed(state, DOOR, labels=theirs, rate_limit=3))) == []


def test_objects_that_left_the_file_are_deleted_with_the_reason() -> None:
    old = desired(stack(env={"A": "1"}, services=["door", "side"]))
    plan = planned(BEFORE, applied(old))
    assert changes(plan) == ["delete env_var/speech/v1/A", "delete service/side"]
    assert [(change.reason, change.effect) for change in plan.changes] == [
        (
            "no longer in stack.yaml",
            "running instances are replaced one after the other: maximum_instances leaves room for one more",
        ),
        ("no longer in stack.yaml", "the endpoint is gone"),
    ]


def test_a_group_that_is_no_longer_managed_and_still_wanted_is_let_go_of() -> None:
    old = desired(stack(group=["t4-small"]))
    named = desired(stack())
    state = applied(old)
    group = group_address("speech-group")
    with_group = live({**state.owned, group_address("T4"): state.owned[group]})
    assert [line for line in changes(planned(named, with_group)) if "instance_type_group" in line.split()[1]] == [
        "delete instance_type_group/speech-group"
    ]


def test_an_instance_type_that_left_a_group_is_a_difference() -> None:
    plan = planned(desired(stack(group=["a"])), applied(desired(stack(group=["a", "b"]))))
    [change] = plan.changes
    assert [(f.path, f.before, f.after) for f in change.fields] == [("instance_types.b", {"priority": 1}, None)]


def test_a_replaced_deployment_takes_everything_on_it_along() -> None:
    old = desired(stack(env={"A": "1"}))
    plan = planned(desired(stack(env={"A": "1"}, input_type="structured")), applied(old))
    assert {(change.action, change.reason) for change in plan.changes[1:]} == {
        ("replace", "its deployment is replaced")
    }
    assert plan.changes[0].reason == "input_type cannot be changed in place"
    assert "the service gets a new URL" in plan.changes[0].effect


@pytest.mark.parametrize(
    ("before", "after", "fields"),
    [
        ({}, {"secrets": {"S": "hunter2-hunter2"}}, [("secret", None, True), ("value", None, Masked.SECRET)]),
        ({"secrets": {"S": "hunter2-hunter2"}}, {"secrets": {"S": "hunter3-hunter3"}},
         [("value", Masked.SECRET, Masked.SECRET_CHANGED)]),
        ({"env": {"S": "open"}}, {"secrets": {"S": "open-no-more"}},
         [("secret", False, True), ("value", Masked.SECRET, Masked.SECRET_CHANGED)]),
    ],
    ids=["new", "changed", "made one"],
)  # fmt: skip
def test_no_change_holds_the_value_of_a_secret(
    before: dict[str, dict[str, str]], after: dict[str, dict[str, str]], fields: list[tuple[str, object, object]]
) -> None:
    plan = planned(desired(stack(**after)), applied(desired(stack(**before))))  # type: ignore[arg-type]
    [change] = plan.changes
    assert [(f.path, f.before, f.after) for f in change.fields] == fields


def test_a_value_that_reads_like_a_masked_one_is_a_value() -> None:
    state = applied(desired(stack(env={"S": "(secret)"})))
    assert changes(planned(desired(stack(env={"S": "(secret)"})), state)) == []
    assert changes(planned(desired(stack(secrets={"S": "hunter2-hunter2"})), state)) == [
        "update env_var/speech/v1/S secret value"
    ]


@pytest.mark.parametrize(
    ("fields", "effect"),
    [
        ({"maximum_instances": 9}, "in place"),
        ({"instance_processes": 2}, f"{REPLACED} one after the other: {ROOM}"),
        ({"instance_processes": 2, "maximum_instances": 9}, f"{REPLACED} one after the other: {ROOM}"),
        (
            {"instance_processes": 2, "minimum_instances": 2},
            f"{REPLACED}: nothing answers until the new one is up; no start was measured yet",
        ),
    ],
)
def test_the_effect_on_running_instances_is_told(fields: dict[str, Any], effect: str) -> None:
    plan = planned(desired(stack(**fields)), applied(BEFORE))
    assert [change.effect for change in plan.changes] == [effect]


@pytest.mark.parametrize(("seconds", "message"), [(75, "about 75 s"), (600, "about 10 min")])
def test_without_room_for_one_more_nothing_answers_for_a_start(seconds: int, message: str) -> None:
    before = desired(stack(maximum_instances=1))
    state = applied(before)
    state.owned[DEPLOYMENT]["labels"] |= Labels({}).written(start_seconds=seconds)
    plan = planned(desired(stack(maximum_instances=1), code="two"), state)
    [change] = plan.changes
    assert change.effect == f"new revision: {REPLACED}: nothing answers for {message}, as long as the last start took"
    [probe] = [operation for operation in explained_operations(plan).operations if operation.kind == "probe"]
    assert probe.seconds == seconds


def test_a_build_is_expected_to_take_as_long_as_the_last_one() -> None:
    state = applied(BEFORE)
    for address, seconds in ((environment_address("whisperctl"), 700), (DEPLOYMENT, 40)):
        state.owned[address]["labels"] |= Labels({}).written(build_seconds=seconds)
    plan = explained_operations(planned(desired(stack(), code="two", tag="vllm-2"), state))
    assert {step.kind: step.seconds for step in plan.operations if step.kind in ("build", "upload")} == {
        "build": 700,
        "upload": 40,
    }
    [tag] = [change for change in plan.changes if change.action == "create"]
    assert tag.effect == "environment build, about 12 min, as long as the last one took"


@pytest.mark.parametrize(
    ("minimum", "effect"),
    [
        (0, "an instance starts on the first request"),
        (1, "an instance starts at once"),
        (3, "3 instances start at once"),
    ],
)
def test_a_first_package_says_when_instances_start(minimum: int, effect: str) -> None:
    plan = planned(desired(stack(minimum_instances=minimum)), NOTHING)
    assert f"first revision: {effect}" in [change.effect for change in plan.changes]


def test_a_package_of_which_no_digest_is_known_names_the_revision_that_is_active() -> None:
    state = changed(applied(BEFORE), Address(VERSION.kind.PACKAGE, VERSION.names), digest="revision 0f0f0f0f")
    [change] = planned(BEFORE, state).changes
    assert change.reason == "revision 0f0f0f0f is active"


def test_a_tag_whose_build_failed_is_made_again_saying_so() -> None:
    state = applied(BEFORE)
    tag = next(address for address in state.owned if address.kind.name == "ENVIRONMENT_TAG")
    failed = live(without(state, tag).owned, tag_status="failed")
    [change] = planned(BEFORE, failed).changes
    assert (change.action, change.reason) == ("create", "the tag exists, but its build is failed")


def test_a_deployment_with_versions_of_others_is_kept_and_that_is_warned_of() -> None:
    state = live(applied(BEFORE).owned, unowned_versions={"speech": ["theirs"]})
    plan = planned(BEFORE, state, destroy=True)
    assert "delete deployment/speech" not in changes(plan)
    assert [(w.source, w.text) for w in plan.warnings] == [
        ("deployment/speech", "deployment/speech also holds theirs, not ours: it is never deleted")
    ]


def test_a_pause_is_no_change_and_what_it_holds_back_is_not_put_back() -> None:
    state = applied(BEFORE)
    paused = relabelled({**state.owned[VERSION], "minimum_instances": 0}, paused_minimum=1)
    assert changes(planned(BEFORE, live({**state.owned, VERSION: paused}))) == []
    by_hand = changed(state, VERSION, minimum_instances=0)
    assert changes(planned(BEFORE, by_hand)) == ["update version/speech/v1 minimum_instances"]


def test_a_plan_that_is_made_again_is_compared_by_what_it_does() -> None:
    first = planned(desired(stack(maximum_instances=5)), applied(BEFORE))
    assert new_changes(first, planned(desired(stack(maximum_instances=5)), applied(BEFORE))) == []
    other = planned(desired(stack(maximum_instances=6)), applied(BEFORE))
    assert [str(change.address) for change in new_changes(first, other)] == ["version/speech/v1"]
    more = planned(desired(stack(maximum_instances=5, env={"A": "1"})), applied(BEFORE))
    assert [change.address for change in new_changes(first, more)] == [env_var_address("speech", "v1", "A")]


def test_an_env_var_of_a_version_that_is_made_replaces_nothing() -> None:
    what = desired(stack(env={"A": "1"}))
    for plan in (planned(what, NOTHING), planned(what, changed(applied(what), DEPLOYMENT, input_type="structured"))):
        [effect] = [change.effect for change in plan.changes if change.address == env_var_address("speech", "v1", "A")]
        assert effect == "the instances of the new version start with it"
    later = planned(what, changed(applied(what), env_var_address("speech", "v1", "A"), value="2"))
    assert "running ones are replaced" in later.changes[0].effect
