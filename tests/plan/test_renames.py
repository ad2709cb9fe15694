"""What has an earlier name is renamed before anything else is written, the deployment first."""

from __future__ import annotations

from tests.plan.states import applied, changes, desired, planned, stack, steps
from whisperctl.plan.plan import Plan
from whisperctl.spec import Moved, Stack
from whisperctl.state.live import Live
from whisperctl.state.renames import renamed
from whisperctl.state.resources import deployment_address, service_address, version_address

MOVED = Moved(stack=("before",), deployment=("zero",), version=("v0",), services={"door": ("gate",)})
NOW = stack(moved=MOVED)
BEFORE = applied(desired(stack("before", deployment="zero", version="v0", services=["gate"])))
PAIRS = [
    (service_address("gate"), service_address("door")),
    (deployment_address("zero"), deployment_address("speech")),
    (version_address("speech", "v0"), version_address("speech", "v1")),
]


def moved(what: Stack = NOW, state: Live = BEFORE, **more: str) -> Plan:
    """The plan of a stack that is called otherwise on UbiOps in all that can be renamed."""
    wants = desired(what, **more)
    for old, new in PAIRS:
        state = renamed(wants, state, old, new)
    return planned(wants, state)


def test_the_deployment_is_renamed_before_the_versions_below_it_and_the_rest() -> None:
    plan = moved()
    assert changes(plan) == [
        "update deployment/speech name stack",
        "update version/speech/v1 version stack",
        "update service/door name stack",
    ]
    assert steps(plan) == [
        "1 rename deployment/speech",
        "2 rename version/speech/v1 < 1",
        "3 rename service/door < 2",
        "4 probe version/speech/v1 < 3",
        "5 seal deployment/speech < 3 4",
    ]


def test_all_renames_come_before_the_first_write() -> None:
    plan = moved(stack(moved=MOVED, maximum_instances=5, services=["door", "more"]), code="two", tag="vllm-2")
    assert [line.partition(" < ")[0] for line in steps(plan)][:3] == [
        "1 rename deployment/speech",
        "2 rename version/speech/v1",
        "3 rename service/door",
    ]
    assert steps(plan)[3:] == [
        "4 build environment_tag/whisperctl/vllm-2 < 3",
        "5 update version/speech/v1 < 3 4",
        "6 upload package/speech/v1 < 3 4 5",
        "7 create service/more < 5 6",
        "8 probe version/speech/v1 < 3 4 5 6 7",
        "9 seal deployment/speech < 3 4 5 6 7 8",
    ]


def test_a_renamed_stack_alone_gets_its_labels_with_the_deployment() -> None:
    what = desired(stack(moved=Moved(stack=("before",))))
    plan = planned(what, applied(desired(stack("before"))))
    assert changes(plan) == ["update deployment/speech stack", "update version/speech/v1 stack",
                             "update service/door stack"]  # fmt: skip
    assert steps(plan)[0] == "1 rename deployment/speech"
    assert all("1" in line.partition(" < ")[2].split() for line in steps(plan)[1:])


def test_a_deployment_that_is_made_again_is_renamed_first_too() -> None:
    plan = moved(stack(moved=MOVED, input_type="structured"))
    assert [line.partition(" < ")[0] for line in steps(plan)][:6] == [
        "1 rename deployment/speech",
        "2 rename version/speech/v1",
        "3 rename service/door",
        "4 delete service/door",
        "5 delete version/speech/v1",
        "6 delete deployment/speech",
    ]
