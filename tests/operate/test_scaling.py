"""scale, pause, resume: what they write, what they say, whom they refuse, and how plans see it."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from tests.harness import leases
from tests.harness.operator import Operator
from tests.operate.conftest import FIRST, SECOND, writes
from whisperctl.control.api import Api

VERSION = "PATCH /v2/projects/demo/deployments/speech/versions/v1"


def version(api: Api) -> dict[str, Any]:
    raw = api.version("speech", "v1")
    assert raw is not None
    return raw


def running(api: Api, version: str) -> list[str]:
    return [item["id"] for item in api.instances("speech", version) if item["status"] == "running"]


def until_running(api: Api, count: int, version: str = "v1") -> list[str]:
    deadline = time.monotonic() + 20
    while len(ids := running(api, version)) != count:
        assert time.monotonic() < deadline, f"{api.instances('speech', version)}"
        time.sleep(0.05)
    return ids


def test_scale_sets_both_bounds_and_tells_what_the_file_says(operator: Operator, api: Api) -> None:
    ran = operator.good("scale", "--min", "0", "--max", "3")
    assert ran.out == (
        "version/speech/v1: minimum_instances 1 -> 0, maximum_instances 2 -> 3\n"
        "The stack file says minimum_instances 1 (stack.yaml:12), maximum_instances 2 (stack.yaml:13): the next plan "
        "will set that back. Change the file to keep this.\n"
    )
    assert ran.err == ""
    assert (version(api)["minimum_instances"], version(api)["maximum_instances"]) == (0, 3)
    planned = operator.run("plan", "--detailed-exitcode")
    assert planned.code == 2
    assert "minimum_instances : 0 -> 1" in planned.out
    assert "maximum_instances : 3 -> 2" in planned.out


def test_scale_to_what_it_is_writes_nothing_to_the_version(operator: Operator, control: httpx.Client) -> None:
    ran = operator.good("scale", "--min", "1")
    assert ran.out == "version/speech/v1 has minimum_instances 1, maximum_instances 2 already.\n"
    assert VERSION not in writes(control)


@pytest.mark.parametrize(
    ("flags", "message"),
    [((), "Pass --min N, --max N, or both."), (("--min", "3", "--max", "2"), "--min 3 is more than --max 2.")],
)
def test_scale_refuses_flags_that_say_nothing_right(operator: Operator, flags: tuple[str, ...], message: str) -> None:
    ran = operator.run("scale", *flags)
    assert ran.code == 64
    assert message in ran.err


def test_scale_holds_one_bound_against_the_other_one_that_is_live(operator: Operator, api: Api) -> None:
    ran = operator.run("scale", "--min", "3")
    assert ran.code == 1
    assert "version/speech/v1: the minimum is 3, more than a maximum of 2." in ran.err
    assert version(api)["minimum_instances"] == 1


def test_pause_is_one_patch_that_keeps_labels_and_stops_instances(
    operator: Operator, api: Api, control: httpx.Client
) -> None:
    labels = dict(version(api)["labels"])
    [before] = until_running(api, 1)
    ran = operator.good("pause")
    assert ran.out.startswith("version/speech/v1 is paused: minimum_instances is 0.\n1 instance is stopping.\n")
    raw = version(api)
    assert raw["minimum_instances"] == 0
    assert raw["labels"] == {**labels, "whisperctl-paused": "1"}
    asked = writes(control)
    assert asked.count(VERSION) == 1
    stop = f"PATCH /v2/projects/demo/deployments/speech/versions/v1/instances/{before}"
    assert asked.index(VERSION) < asked.index(stop)
    until_running(api, 0)


def test_a_paused_stack_plans_as_unchanged_and_resumes_as_it_was(operator: Operator, api: Api) -> None:
    labels = version(api)["labels"]
    operator.good("pause")
    planned = operator.run("plan", "--detailed-exitcode")
    assert planned.code == 0
    assert "No changes" in planned.out
    assert "the stack is paused: minimum_instances stays 0 until `whisperctl resume`" in planned.out
    assert operator.run("apply", "--yes").code == 0
    assert version(api)["minimum_instances"] == 0
    ran = operator.good("resume")
    assert ran.out.startswith("version/speech/v1 is resumed: minimum_instances is 1.\n")
    assert "stack file" not in ran.out
    assert version(api)["minimum_instances"] == 1
    assert version(api)["labels"] == labels
    until_running(api, 1)
    assert operator.run("plan", "--detailed-exitcode").code == 0


def test_a_pause_goes_on_to_a_renamed_version(operator: Operator, api: Api) -> None:
    operator.good("pause")
    operator.write(SECOND.replace("name: v1", "name: v2"))
    planned = operator.run("plan", "--detailed-exitcode")
    assert planned.code == 2
    assert "the stack is paused: minimum_instances stays 0 until `whisperctl resume`" in planned.out
    assert "minimum_instances        = 0\n" in planned.out
    applied = operator.good("apply", "--yes")
    assert "healthy" not in applied.err
    raw = api.version("speech", "v2")
    assert raw is not None
    assert (raw["minimum_instances"], raw["labels"]["whisperctl-paused"]) == (0, "1")
    assert api.instances("speech", "v2") == []
    assert "paused: minimum 0 until `whisperctl resume` puts 1 back" in operator.good("status").out
    assert operator.run("plan", "--detailed-exitcode").code == 0
    assert operator.run("drift").code == 0
    assert "possible" not in operator.good("history").out
    operator.write(FIRST.replace("name: v1", "name: v2"))
    operator.good("apply", "--yes")
    assert "stays asleep" in operator.good("rollback", "--yes").out
    operator.write(SECOND.replace("name: v1", "name: v2"))
    operator.good("apply", "--yes")
    raw = api.version("speech", "v2")
    assert raw is not None
    assert (raw["minimum_instances"], raw["labels"]["whisperctl-paused"]) == (0, "1")
    assert operator.good("resume").out.startswith("version/speech/v2 is resumed: minimum_instances is 1.\n")
    assert operator.run("plan", "--detailed-exitcode").code == 0
    until_running(api, 1, "v2")


def test_a_pause_between_plan_and_apply_makes_the_plan_stale(operator: Operator, api: Api) -> None:
    asleep = FIRST.replace("minimum_instances: 1", "minimum_instances: 0")
    assert asleep != FIRST
    operator.write(asleep)
    operator.good("apply", "--yes")
    operator.write(asleep.replace("maximum_instances: 2", "maximum_instances: 3"))
    operator.run("plan", "-o", "plan.json")
    operator.good("pause")
    assert "plan.json is stale" in operator.run("apply", "--plan", "plan.json", "--yes").err
    assert "whisperctl-paused" in version(api)["labels"]


def test_pausing_twice_still_resumes_to_the_first_minimum(operator: Operator, api: Api) -> None:
    operator.good("scale", "--min", "2")
    operator.good("pause")
    assert "was paused already" in operator.good("pause").out
    ran = operator.good("resume")
    assert version(api)["minimum_instances"] == 2
    assert "The stack file says minimum_instances 1 (stack.yaml:12)" in ran.out
    assert operator.good("resume").out == "version/speech/v1 is not paused: nothing to resume.\n"


def test_scale_leaves_the_minimum_of_a_paused_stack_alone(operator: Operator, api: Api) -> None:
    operator.good("pause")
    ran = operator.run("scale", "--min", "1")
    assert ran.code == 1
    assert "is paused: its minimum stays 0." in ran.err
    assert "the minimum that resume puts back is 1" in operator.run("scale", "--max", "0").err
    operator.good("scale", "--max", "5")
    assert (version(api)["minimum_instances"], version(api)["maximum_instances"]) == (0, 5)


@pytest.mark.parametrize("args", [("pause",), ("resume",), ("scale", "--max", "3"), ("rollback", "--yes")])
def test_what_another_stack_owns_is_refused(operator: Operator, control: httpx.Client, args: tuple[str, ...]) -> None:
    operator.write((operator.folder / "stack.yaml").read_text().replace("stack: speech", "stack: other"))
    ran = operator.run(*args)
    assert ran.code == 1
    assert "deployment/speech belongs to the stack 'speech', not to 'other'." in ran.err
    assert "whisperctl adopt stack.yaml" in ran.err
    assert writes(control) == []


@pytest.mark.parametrize("args", [("pause",), ("resume",), ("scale", "--max", "3"), ("rollback", "--yes")])
def test_what_nobody_owns_is_refused(
    operator: Operator, api: Api, control: httpx.Client, args: tuple[str, ...]
) -> None:
    api.update_version("speech", "v1", {"labels": {"team": "audio"}})
    control.delete("/journal")
    ran = operator.run(*args)
    assert ran.code == 1
    assert "version/speech/v1 belongs to nobody that whisperctl knows" in ran.err
    assert writes(control) == []


def test_what_is_not_there_says_so(newcomer: Operator) -> None:
    newcomer.write(SECOND)
    for args in (("pause",), ("history",), ("rollback", "--yes")):
        ran = newcomer.run(*args)
        assert ran.code == 1
        assert "version/speech/v1 does not exist in project demo." in ran.err
        assert "whisperctl apply stack.yaml" in ran.err


def test_pause_waits_for_an_apply_and_says_so(operator: Operator, api: Api) -> None:
    labels = (api.deployment("speech") or {})["labels"]
    api.update_deployment("speech", {"labels": {**labels, **leases.ELSEWHERE}})
    process = operator.start("pause")
    assert process.stderr is not None
    said = process.stderr.readline()
    assert said == "waiting for another apply of deployment/speech (process 4242 of another machine)\n"
    assert version(api)["minimum_instances"] == 1
    api.update_deployment("speech", {"labels": labels})
    _, rest = process.communicate(timeout=30)
    assert (process.returncode, rest) == (0, "")
    assert version(api)["minimum_instances"] == 0
    assert (api.deployment("speech") or {})["labels"] == labels


def test_whoever_only_runs_the_endpoint_needs_no_secrets(operator: Operator, api: Api) -> None:
    operator.write(FIRST.replace("hunter2-hf-secret", '"${HF_TOKEN}"'))
    problem = "env.HF_TOKEN.value: the environment variable HF_TOKEN is not set"
    for command in (["plan"], ["drift"], ["apply", "--yes"]):
        ran = operator.run(*command)
        assert ran.code == 1
        assert problem in ran.err
    for command in (["status"], ["logs"], ["history"], ["curl"], ["pause"], ["resume"], ["scale", "--max", "1"]):
        operator.good(*command)
    assert operator.good("destroy", "--yes").out.endswith("deleted.\n")
    assert api.deployments() == []
