"""adopt: shows before it writes, writes labels and nothing else, refuses what is somebody's, ends with the plan."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.harness.operator import Operator
from tests.operate.conftest import SECOND, writes
from whisperctl.control.api import Api, Json

GROUPED = SECOND.replace(
    "instance_type_group: {name: 12288 MB + NVIDIA Tesla T4, gpu: T4}",
    "instance_type_group: {name: own-group, gpu: T4, instance_types: [12288mb-t4]}",
)


@pytest.fixture
def by_hand(newcomer: Operator, api: Api, control: httpx.Client) -> Operator:
    """Objects of the spec's names that somebody made in the console."""
    newcomer.write(SECOND)
    api.create_deployment(
        {"name": "speech", "input_type": "plain", "output_type": "plain", "labels": {"cost": "42", "team": "x"}}
    )
    for name in ("v1", "old"):
        body = {"version": name, "environment_name": "ubiops-ubuntu24-04-python3-12", "labels": {"made": "by-hand"}}
        api.create_version("speech", body)
    for name, secret in (("HF_TOKEN", True), ("WHISPER_TASK", False), ("STRANGE", False)):
        api.create_env_var("speech", "v1", {"name": name, "value": "transcription", "secret": secret})
    api.create_service({"name": "speech-door", "deployment": "speech", "version": "v1", "port": 8080})
    control.delete("/journal")
    return newcomer


def everything(api: Api) -> dict[str, Any]:
    """All objects without their labels and dates."""

    def bare(raw: Json | None) -> Json:
        volatile = ("labels", "last_updated", "time_updated")
        return {key: value for key, value in (raw or {}).items() if key not in volatile}

    return {
        "deployment": bare(api.deployment("speech")),
        "versions": [bare(api.version("speech", name)) for name in ("v1", "old")],
        "env": api.env_vars("speech", "v1"),
        "service": bare(api.find_service("speech-door")),
    }


def test_it_shows_and_without_a_terminal_writes_nothing(by_hand: Operator, control: httpx.Client) -> None:
    ran = by_hand.run("adopt", "stack.yaml")
    assert ran.code == 1
    assert "Pass --yes." in ran.err
    assert ran.out.startswith("The stack speech takes over these objects of project demo.\n")
    for line in (
        "  deployment/speech",
        "  version/speech/v1",
        "      whisperctl-env = HF_TOKEN;WHISPER_TASK",
        "  service/speech-door",
        "Comes along: env_var/speech/v1/HF_TOKEN, env_var/speech/v1/WHISPER_TASK",
        "Is not there, apply makes it: environment/whisperctl",
        "Stays as it is, the stack file does not name it: version/speech/old",
    ):
        assert line in ran.out.splitlines()
    assert writes(control) == []


def test_it_writes_labels_and_nothing_else_and_ends_with_the_plan(
    by_hand: Operator, api: Api, control: httpx.Client
) -> None:
    before = everything(api)
    control.delete("/journal")
    ran = by_hand.good("adopt", "stack.yaml", "--yes")
    assert all(entry.startswith("PATCH ") for entry in writes(control))
    assert everything(api) == before
    deployment, version = api.deployment("speech") or {}, api.version("speech", "v1") or {}
    assert deployment["labels"] == {
        "cost": "42",
        "team": "x",
        "whisperctl-stack": "speech",
        "whisperctl-id": deployment["id"],
        "whisperctl-fields": deployment["labels"]["whisperctl-fields"],
    }
    assert version["labels"]["made"] == "by-hand"
    assert version["labels"]["whisperctl-stack"] == "speech"
    assert (api.version("speech", "old") or {})["labels"] == {"made": "by-hand"}
    assert (api.find_service("speech-door") or {})["labels"]["whisperctl-stack"] == "speech"
    assert "Done. What remains to be applied:" in ran.out
    assert "to create, 2 unchanged." in ran.out


def test_a_secret_of_unknown_value_is_set_by_the_next_apply(by_hand: Operator, api: Api) -> None:
    ran = by_hand.good("adopt", "stack.yaml", "--yes")
    assert "value : (secret) -> (secret, changed)" in ran.out
    assert "hunter2" not in ran.all
    by_hand.good("apply", "--yes")
    assert by_hand.run("plan", "--detailed-exitcode").code == 0
    names = {item["name"]: item["value"] for item in api.env_vars("speech", "v1")}
    assert names["STRANGE"] == "transcription"


def test_again_there_is_nothing_to_adopt(by_hand: Operator, control: httpx.Client) -> None:
    by_hand.good("adopt", "stack.yaml", "--yes")
    control.delete("/journal")
    ran = by_hand.good("adopt", "stack.yaml")
    assert ran.out.startswith("Nothing of project demo is left to adopt for the stack speech.\n")
    assert writes(control) == []


def test_what_another_stack_owns_is_refused(operator: Operator, control: httpx.Client) -> None:
    operator.write(SECOND.replace("stack: speech", "stack: other"))
    ran = operator.run("adopt", "stack.yaml", "--yes")
    assert ran.code == 1
    assert "deployment/speech belongs to the stack 'speech'." in ran.err
    assert "service/speech-door belongs to the stack 'speech'." in ran.err
    assert "Nothing was changed: what another stack owns cannot be adopted." in ran.err
    assert writes(control) == []


def test_a_group_comes_along_with_the_deployment(by_hand: Operator, api: Api) -> None:
    by_hand.write(GROUPED)
    [kind] = [item for item in api.instance_types() if item["name"] == "12288mb-t4"]
    group = api.create_group({"name": "own-group", "instance_types": [{"id": kind["id"], "priority": 5}]})
    ran = by_hand.good("adopt", "stack.yaml", "--yes")
    assert "Comes along: instance_type_group/own-group" in ran.out
    assert (api.deployment("speech") or {})["labels"]["whisperctl-group"] == group["id"]
    assert "instance_types.12288mb-t4.priority : 5 -> 0" in ran.out
    by_hand.good("apply", "--yes")
    by_hand.good("destroy", "--yes")
    assert [item for item in api.groups() if item["name"] == "own-group"] == []


def test_a_group_of_another_stack_is_refused(by_hand: Operator, api: Api, control: httpx.Client) -> None:
    by_hand.write(GROUPED)
    [kind] = [item for item in api.instance_types() if item["name"] == "12288mb-t4"]
    group = api.create_group({"name": "own-group", "instance_types": [{"id": kind["id"]}]})
    labels = {"whisperctl-stack": "theirs", "whisperctl-group": group["id"]}
    api.create_deployment({"name": "theirs", "input_type": "plain", "output_type": "plain", "labels": labels})
    control.delete("/journal")
    ran = by_hand.run("adopt", "stack.yaml", "--yes")
    assert ran.code == 1
    assert "instance_type_group/own-group belongs to the stack 'theirs'." in ran.err
    assert writes(control) == []


def test_an_unowned_environment_becomes_the_shared_one(by_hand: Operator, api: Api) -> None:
    api.create_environment({"name": "whisperctl", "labels": {"kept": "yes"}})
    by_hand.good("adopt", "stack.yaml", "--yes")
    shared = api.environment("whisperctl") or {}
    assert shared["labels"] == {"kept": "yes", "whisperctl-stack": "shared", "whisperctl-id": shared["id"]}
    by_hand.good("apply", "--yes")
    assert by_hand.run("plan", "--detailed-exitcode").code == 0


def test_a_service_alone_can_be_adopted(newcomer: Operator, api: Api) -> None:
    api.create_deployment({"name": "elsewhere", "input_type": "plain", "output_type": "plain"})
    body = {"version": "v9", "environment_name": "ubiops-ubuntu24-04-python3-12"}
    api.create_version("elsewhere", body)
    api.create_service({"name": "speech-door", "deployment": "elsewhere", "port": 8080})
    newcomer.write(SECOND)
    newcomer.good("adopt", "stack.yaml", "--yes")
    newcomer.good("apply", "--yes")
    assert (api.find_service("speech-door") or {})["deployment"] == "speech"
    assert (api.deployment("elsewhere") or {})["labels"] == {}
