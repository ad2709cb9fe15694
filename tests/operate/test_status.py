"""status: what is there, who waits for what, and what it costs; it wakes nobody and fails for nothing."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path

import httpx
import pytest

from tests.harness import leases
from tests.harness.operator import Operator
from tests.operate.conftest import SECOND
from ubiops_emulator import testing
from ubiops_emulator.testing import Emulator
from whisperctl.cli.main import COMMANDS
from whisperctl.control.api import Api


def up(api: Api) -> None:
    deadline = time.monotonic() + 20
    while [item["status"] for item in api.instances("speech", "v1")] != ["running"]:
        assert time.monotonic() < deadline, f"{api.instances('speech', 'v1')}"
        time.sleep(0.05)


def test_a_running_stack_on_one_page(operator: Operator, api: Api) -> None:
    up(api)
    [instance] = api.instances("speech", "v1")
    version = api.version("speech", "v1") or {}
    url = api.service("speech-door")["endpoint"]
    ran = operator.good("status")
    assert ran.err == ""
    lines = [line.split(None, 1)[1] if line.startswith("    ") and " " in line.strip() else line.strip()
             for line in ran.out.splitlines()]  # fmt: skip
    assert ran.out.startswith("speech in project demo\n  Resources\n")
    assert f"revision {version['active_revision']} is active" in lines
    assert "available" in lines
    assert "Instances (1 to 2)" in lines
    assert any(instance["id"] in line and "running  since" in line for line in ran.out.splitlines())
    assert f"    speech-door  {url}  healthy" in ran.out.splitlines()
    assert "Credits: 30 per hour for the instances that run now" in lines
    assert lines[-1] == "Whether this is what the file says: whisperctl plan stack.yaml"
    assert "\x1b" not in ran.out


def test_json_has_the_same(operator: Operator, api: Api) -> None:
    up(api)
    [document] = json.loads(operator.good("status", "--format", "json").out)["stacks"]
    version = api.version("speech", "v1") or {}
    assert (document["stack"], document["project"], document["deployed"]) == ("speech", "demo", True)
    assert document["revision"] == {
        "active": version["active_revision"],
        "latest": version["latest_revision"],
        "latest_status": "success",
    }
    assert all(resource["good"] for resource in document["resources"])
    assert [service["healthy"] for service in document["services"]] == [True]
    assert document["credits_per_hour"] == 30.0
    assert document["paused"] is False
    assert document["applying"] is None


def test_nothing_deployed_is_no_failure(newcomer: Operator) -> None:
    newcomer.write(SECOND)
    ran = newcomer.good("status")
    assert "Not deployed: `whisperctl apply stack.yaml` makes it." in ran.out
    [document] = json.loads(newcomer.good("status", "--format", "json").out)["stacks"]
    assert document["deployed"] is False
    assert document["instances"] == []


def test_a_sleeping_endpoint_is_not_asked(operator: Operator, api: Api, control: httpx.Client) -> None:
    operator.good("pause")
    deadline = time.monotonic() + 20
    while api.instances("speech", "v1"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    ran = operator.good("status")
    assert "not asked: no instance runs" in ran.out
    assert "paused: minimum 0 until `whisperctl resume` puts 1 back" in ran.out
    assert "Credits: 0 per hour" in ran.out
    assert "unavailable: no instance runs" in ran.out
    [document] = json.loads(operator.good("status", "--format", "json").out)["stacks"]
    assert (document["paused"], document["minimum_instances_after_resume"]) == (True, 1)
    assert document["services"][0]["healthy"] is None


def test_env_vars_that_may_not_be_read_cost_a_warning_only(operator: Operator, control: httpx.Client) -> None:
    control.post("/faults", json={"kind": "error", "status": 403, "method": "GET", "path": "environment-variables"})
    assert "speech-door" in operator.good("status").out
    control.delete("/faults")


def test_an_endpoint_at_its_limit_of_requests_is_not_called_unhealthy(operator: Operator, api: Api) -> None:
    api.update_service("speech-door", {"rate_limit": 1})
    # Of two looks one after the other the second is refused, or else a new minute has begun between them.
    texts = [operator.good("status").out for _ in range(3)]
    assert any("not known: the service's limit of requests is used up" in text for text in texts)
    stacks = [json.loads(operator.good("status", "--format", "json").out)["stacks"][0] for _ in range(3)]
    assert None in [stack["services"][0]["healthy"] for stack in stacks]


def test_a_failed_build_and_what_still_serves(operator: Operator, api: Api, control: httpx.Client) -> None:
    before = (api.version("speech", "v1") or {})["active_revision"]
    control.post("/faults", json={"kind": "build-fail", "count": 1, "text": "no wheel for that"})
    operator.write(SECOND.replace("448", "300"))
    assert operator.run("apply", "--yes").code == 1
    ran = operator.good("status")
    assert f"failed: no wheel for that, {before} is active" in ran.out


def test_what_another_stack_owns_is_told(operator: Operator) -> None:
    operator.write(SECOND.replace("stack: speech", "stack: other"), "other.yaml")
    ran = operator.good("status", "other.yaml")
    assert ran.out.startswith("other in project demo\n")
    assert "of the stack 'speech'" in ran.out


def test_an_apply_at_work_is_told(operator: Operator, api: Api) -> None:
    labels = (api.deployment("speech") or {})["labels"]
    api.update_deployment("speech", {"labels": {**labels, **leases.ELSEWHERE}})
    assert "An apply is at work on it: process 4242 of another machine" in operator.good("status").out


def seen(operator: Operator, *texts: str) -> str:
    """The status as soon as it tells all of this."""
    deadline = time.monotonic() + 20
    while not all(text in (ran := operator.good("status")).out for text in texts):
        assert time.monotonic() < deadline, ran.out
        time.sleep(0.05)
    return ran.out


def test_a_first_environment_that_builds_is_seen_and_who_builds_it(
    newcomer: Operator, control: httpx.Client, api: Api
) -> None:
    newcomer.write(SECOND)
    control.post("/faults", json={"kind": "build-endless", "count": 1}).raise_for_status()
    process = newcomer.start("apply", "--yes")
    try:
        out = seen(newcomer, "An apply is at work on it: process", "  building\n")
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert "  Not deployed yet\n  Resources\n" in out
    [tag] = [line.split() for line in out.splitlines() if "environment_tag/whisperctl/vllm-0.32.0-" in line]
    assert tag[1:] == ["building"]
    api.cancel_tag(*tag[0].split("/")[1:])
    out = seen(newcomer, "  cancelled\n", "Not deployed: `whisperctl apply stack.yaml` makes it.")
    assert "An apply is at work" not in out
    [document] = json.loads(newcomer.good("status", "--format", "json").out)["stacks"]
    assert {"address": tag[0], "state": "cancelled", "good": False} in document["resources"]


def test_an_environment_that_failed_tells_why(newcomer: Operator, control: httpx.Client) -> None:
    newcomer.write(SECOND)
    control.post("/faults", json={"kind": "build-fail", "count": 1, "text": "no wheel\nfor that"}).raise_for_status()
    assert newcomer.run("apply", "--yes").code == 1
    out = newcomer.good("status").out
    assert "  Not deployed: " in out
    assert "  failed: no wheel\n" in out


def test_the_next_environment_shows_beside_the_one_in_use(operator: Operator, control: httpx.Client) -> None:
    operator.write(SECOND.replace("anyio", "orjson"))
    control.post("/faults", json={"kind": "build-fail", "count": 1, "text": "no wheel"}).raise_for_status()
    assert operator.run("apply", "--yes").code == 1
    states = [line.split(None, 1)[1] for line in operator.good("status").out.splitlines() if "environment_tag" in line]
    assert sorted(states) == ["available", "failed: no wheel"]


def test_several_stacks(operator: Operator) -> None:
    operator.write(SECOND.replace(" speech", " other"), "other.yaml")
    ran = operator.good("status", "stack.yaml", "other.yaml")
    assert "speech in project demo" in ran.out
    assert "Not deployed" in ran.out.split("other in project demo")[1]
    document = json.loads(operator.good("status", "stack.yaml", "other.yaml", "--format", "json").out)
    assert [(entry["stack"], entry["deployed"]) for entry in document["stacks"]] == [("speech", True), ("other", False)]


def test_why_an_instance_waits(operator: Operator, emulator: Emulator, tmp_path: Path) -> None:
    """At UbiOps' own pace an instance is pending for 20 seconds."""
    operator.good("pause")
    shutil.copytree(emulator.token_file.parent, tmp_path / "slow")
    slow = testing.start("--speed", "1", "--runtime", "none", data=tmp_path / "slow")
    try:
        there = Operator(operator.folder, slow)
        there.good("resume")
        deadline = time.monotonic() + 10
        while "pending" not in (ran := there.good("status")).out:
            assert time.monotonic() < deadline, ran.out
        assert "Instance is created" in ran.out
        [document] = json.loads(there.good("status", "--format", "json").out)["stacks"]
        assert document["instances"][0]["waits_for"] == "Instance is created"
        assert document["credits_per_hour"] == 0.0
    finally:
        slow.stop()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_tells_its_help_in_the_words_of_the_table(operator: Operator, name: str) -> None:
    ran = operator.good(name, "--help")
    assert ran.out.startswith(f"Usage: whisperctl {name}")
    assert len(ran.out.splitlines()) > 4


@pytest.mark.parametrize(
    "command",
    [
        *("status", "logs", "history", "pause", "resume", "scale --min 0", "rollback --yes"),
        *("smoke", "curl", "proxy --port 0", "plan", "drift", "adopt stack.yaml", "destroy --yes"),
    ],
)
def test_a_project_that_is_not_there_is_called_so(operator: Operator, command: str) -> None:
    ran = operator.run(*command.split(), UBIOPS_PROJECT="nope")
    assert ran.code == 1
    assert "error: There is no project 'nope' that this token can see.\n  Check --project" in ran.err
    assert "404" not in ran.err
    assert "apply" not in ran.err
