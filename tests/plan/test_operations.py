"""The order of everything: what is done for a change, and after what."""

from __future__ import annotations

from itertools import count

import pytest

from tests.plan.states import NOTHING, applied, changes, desired, live, planned, relabelled, stack, steps, without
from whisperctl.plan.operations import after_other_stacks
from whisperctl.state.resources import (
    deployment_address,
    env_var_address,
    environment_address,
    package_address,
    service_address,
    tag_address,
    version_address,
)

BEFORE = desired(stack())
VERSION = version_address("speech", "v1")
OLD_TAG = tag_address("whisperctl", "vllm-1")


def test_a_new_stack_is_made_from_the_ground_up_proven_and_sealed() -> None:
    what = desired(stack(group=["t4-small"], env={"A": "1"}, secrets={"S": "hunter2-hunter2"}))
    assert steps(planned(what, NOTHING)) == [
        "1 create deployment/speech",
        "2 create instance_type_group/speech-group < 1",
        "3 create environment/whisperctl < 1",
        "4 build environment_tag/whisperctl/vllm-1 < 3",
        "5 create version/speech/v1 < 1 2 3 4",
        "6 create env_var/speech/v1/A < 5",
        "7 create env_var/speech/v1/S < 5",
        "8 record version/speech/v1 < 6 7",
        "9 upload package/speech/v1 < 1 2 3 4 5 6 7 8",
        "10 create service/door < 5 6 7 8 9",
        "11 probe version/speech/v1 < 1 2 3 4 5 6 7 8 9 10",
        "12 seal deployment/speech < 1 2 3 4 5 6 7 8 9 10 11",
    ]


@pytest.mark.parametrize(
    ("proven", "sealed", "operations"),
    [
        (True, True, []),
        (False, True, ["1 probe version/speech/v1", "2 seal deployment/speech < 1"]),
        (True, False, ["1 seal deployment/speech"]),
    ],
    ids=["finished", "not proven", "the file has moved on"],
)
def test_what_is_as_wanted_needs_only_what_an_apply_left_out(proven: bool, sealed: bool, operations: list[str]) -> None:
    plan = planned(BEFORE, applied(BEFORE, proven=proven, sealed=sealed))
    assert (changes(plan), steps(plan)) == ([], operations)
    assert plan.is_pending is not proven


def test_scaling_is_one_write_and_its_proof() -> None:
    plan = planned(desired(stack(maximum_instances=5)), applied(BEFORE))
    assert changes(plan) == ["update version/speech/v1 maximum_instances"]
    assert steps(plan) == [
        "1 update version/speech/v1",
        "2 probe version/speech/v1 < 1",
        "3 seal deployment/speech < 1 2",
    ]


def test_a_description_is_written_without_a_proof() -> None:
    plan = planned(desired(stack(description="Talks")), applied(BEFORE))
    assert steps(plan) == ["1 update deployment/speech", "2 seal deployment/speech < 1"]


def test_another_environment_is_built_before_the_version_is_moved_and_the_old_one_goes_last() -> None:
    plan = planned(desired(stack(), code="two", tag="vllm-2"), applied(BEFORE), retired=[OLD_TAG])
    assert steps(plan) == [
        "1 build environment_tag/whisperctl/vllm-2",
        "2 update version/speech/v1 < 1",
        "3 upload package/speech/v1 < 1 2",
        "4 probe version/speech/v1 < 1 2 3",
        "5 delete environment_tag/whisperctl/vllm-1 < 1 2 3 4",
        "6 seal deployment/speech < 1 2 3 4 5",
    ]


def test_a_renamed_version_is_made_and_proven_before_the_old_one_goes() -> None:
    plan = planned(desired(stack(version="v2")), applied(BEFORE))
    assert changes(plan) == [
        "delete version/speech/v1",
        "delete package/speech/v1",
        "update service/door version",
        "create version/speech/v2",
        "create package/speech/v2",
    ]
    assert steps(plan) == [
        "1 create version/speech/v2",
        "2 upload package/speech/v2 < 1",
        "3 update service/door < 1 2",
        "4 probe version/speech/v2 < 1 2 3",
        "5 delete version/speech/v1 < 1 2 3 4",
        "6 seal deployment/speech < 1 2 3 4 5",
    ]


def test_a_renamed_deployment_leaves_the_old_one_until_the_end() -> None:
    plan = planned(desired(stack(deployment="talk")), applied(BEFORE))
    assert [line.split(" < ")[0] for line in steps(plan)] == [
        "1 create deployment/talk",
        "2 create version/talk/v1",
        "3 upload package/talk/v1",
        "4 update service/door",
        "5 probe version/talk/v1",
        "6 delete version/speech/v1",
        "7 delete deployment/speech",
        "8 seal deployment/talk",
    ]


def test_a_replaced_deployment_takes_everything_below_it_down_first() -> None:
    old = desired(stack(group=["t4-small"], env={"A": "1"}, services=["door", "side"]))
    plan = planned(desired(stack(group=["t4-small"], env={"A": "1"}, input_type="structured")), applied(old))
    assert steps(plan) == [
        "1 delete service/door",
        "2 delete service/side",
        "3 delete version/speech/v1 < 1 2",
        "4 delete instance_type_group/speech-group < 3",
        "5 delete deployment/speech < 4",
        "6 create deployment/speech < 5",
        "7 create instance_type_group/speech-group < 6",
        "8 create version/speech/v1 < 6 7",
        "9 create env_var/speech/v1/A < 8",
        "10 record version/speech/v1 < 9",
        "11 upload package/speech/v1 < 6 7 8 9 10",
        "12 create service/door < 8 9 10 11",
        "13 probe version/speech/v1 < 6 7 8 9 10 11 12",
        "14 seal deployment/speech < 6 7 8 9 10 11 12 13",
    ]


def test_another_stack_may_use_a_tag_of_a_replaced_deployment_until_the_end_so_that_it_is_tried_twice() -> None:
    plan = planned(desired(stack(input_type="structured"), tag="vllm-2"), applied(BEFORE), retired=[OLD_TAG])
    tries = [line for line in steps(plan) if "delete environment_tag" in line]
    assert [line.partition(" < ")[0] for line in tries] == [f"{n} delete {OLD_TAG}" for n in (3, 11)]


def test_a_service_is_made_before_the_one_that_it_replaces_goes() -> None:
    plan = planned(desired(stack(services=["other"])), applied(BEFORE))
    assert steps(plan)[:3] == [
        "1 create service/other",
        "2 probe version/speech/v1 < 1",
        "3 delete service/door < 1 2",
    ]


def test_destroying_goes_from_the_service_to_the_deployment_and_proves_nothing() -> None:
    old = desired(stack(group=["t4-small"], env={"A": "1"}))
    retired = [OLD_TAG, environment_address("whisperctl")]
    plan = planned(old, applied(old), destroy=True, retired=retired)
    assert steps(plan) == [
        "1 delete service/door",
        "2 delete version/speech/v1 < 1",
        "3 delete instance_type_group/speech-group < 1 2",
        "4 delete environment_tag/whisperctl/vllm-1 < 1 2 3",
        "5 delete environment/whisperctl < 1 2 3 4",
        "6 delete deployment/speech < 1 2 3 4 5",
    ]


@pytest.mark.parametrize(
    ("before", "after", "operations"),
    [
        ({}, {"env": {"A": "1"}}, ["claim version/speech/v1", "create env_var/speech/v1/A"]),
        ({"env": {"A": "1"}}, {"env": {"A": "2"}}, ["update env_var/speech/v1/A"]),
        ({"env": {"A": "1"}}, {}, ["delete env_var/speech/v1/A", "record version/speech/v1"]),
        (
            {"secrets": {"S": "first-secret"}},
            {"secrets": {"S": "second-secret"}},
            ["claim version/speech/v1", "update env_var/speech/v1/S", "record version/speech/v1"],
        ),
        (
            {"secrets": {"S": "first-secret"}},
            {"env": {"S": "open"}},
            ["delete env_var/speech/v1/S", "create env_var/speech/v1/S", "record version/speech/v1"],
        ),
    ],
    ids=["new", "changed", "gone", "secret changed", "no secret any more"],
)
def test_names_are_claimed_before_and_recorded_after_env_vars_are_set(
    before: dict[str, dict[str, str]], after: dict[str, dict[str, str]], operations: list[str]
) -> None:
    plan = planned(desired(stack(**before)), applied(desired(stack(**before))))  # type: ignore[arg-type]
    assert changes(plan) == []
    plan = planned(desired(stack(**after)), applied(desired(stack(**before))))  # type: ignore[arg-type]
    done = [f"{o.kind} {o.address}" for o in plan.operations]
    # What a deletion changes shows when instances start.
    proof = ["restart version/speech/v1", *(["probe version/speech/v1"] if after else [])]
    assert done == [*operations, *proof, "seal deployment/speech"]
    first, *others = plan.operations[: len(operations)]
    assert all(first.id in operation.needs or operation.id - 1 in operation.needs for operation in others)


def test_a_new_name_needs_no_claim_where_the_version_is_written_anyway() -> None:
    plan = planned(desired(stack(env={"A": "1"}, maximum_instances=5)), applied(BEFORE))
    assert [line.split(" < ")[0] for line in steps(plan)][:2] == [
        "1 update version/speech/v1",
        "2 create env_var/speech/v1/A",
    ]


def test_a_paused_stack_is_left_asleep() -> None:
    state = applied(BEFORE)
    paused = relabelled({**state.owned[VERSION], "minimum_instances": 0}, paused_minimum=1)
    plan = planned(desired(stack(), code="two"), live({**state.owned, VERSION: paused}))
    assert steps(plan) == ["1 upload package/speech/v1", "2 seal deployment/speech < 1"]
    assert [warning.source for warning in plan.warnings] == ["version/speech/v1"]


def test_ids_of_plans_that_are_made_together_are_never_given_twice() -> None:
    ids = count(1)
    plans = [planned(desired(stack(name, deployment=name, services=[name])), NOTHING, ids=ids) for name in ("a", "b")]
    numbers = [operation.id for plan in plans for operation in plan.operations]
    assert numbers == list(range(1, len(numbers) + 1))


def test_what_stacks_share_is_deleted_only_once_all_have_let_go_of_it() -> None:
    ids = count(1)
    staying, leaving = (desired(stack(name, deployment=name, services=[name])) for name in ("a", "b"))
    retired = [OLD_TAG, environment_address("whisperctl")]
    moved = planned(desired(staying.stack, tag="vllm-2"), applied(staying), ids=ids)
    gone = planned(leaving, applied(leaving), destroy=True, retired=retired, ids=ids)
    ordered = after_other_stacks([moved.operations, gone.operations])
    assert ordered[0] == moved.operations
    assert steps(ordered[1]) == [
        "5 delete service/b",
        "6 delete version/b/v1 < 5",
        "7 delete environment_tag/whisperctl/vllm-1 < 5 6 2",
        "8 delete environment/whisperctl < 5 6 7 2",
        "9 delete deployment/b < 5 6 7 8",
    ]
    assert after_other_stacks(ordered) == ordered


@pytest.mark.parametrize(
    ("missing", "first"),
    [
        (service_address("door"), "create service/door"),
        (package_address("speech", "v1"), "upload package/speech/v1"),
        (OLD_TAG, f"build {OLD_TAG}"),
        (env_var_address("speech", "v1", "A"), "create env_var/speech/v1/A"),
    ],
    ids=str,
)
def test_what_is_missing_is_made_again(missing: object, first: str) -> None:
    what = desired(stack(env={"A": "1"}))
    plan = planned(what, without(applied(what), missing))  # type: ignore[arg-type]
    assert changes(plan) == [f"create {missing}"]
    assert first in [f"{o.kind} {o.address}" for o in plan.operations]
    assert [o.kind for o in plan.operations][-2:] == ["probe", "seal"] if missing != OLD_TAG else True


def test_the_digest_is_the_last_thing_that_is_written() -> None:
    for what in (BEFORE, desired(stack(version="v2")), desired(stack(input_type="structured"))):
        plan = planned(what, applied(BEFORE, sealed=False))
        assert (plan.operations[-1].kind, plan.operations[-1].address) == ("seal", deployment_address("speech"))
