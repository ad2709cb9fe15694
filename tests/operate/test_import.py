"""init --from: the smallest file that describes what runs, which adopt takes over and apply deletes nothing of."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import ubiops
import yaml

from tests.harness import notebook
from tests.harness.operator import Operator
from tests.operate.conftest import writes
from ubiops_emulator.testing import Emulator
from whisperctl.control.api import Api

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def official(emulator: Emulator) -> Iterator[ubiops.CoreApi]:
    configuration = ubiops.Configuration(host=f"{emulator.root}/v2.1")
    configuration.api_key["Authorization"] = f"Token {emulator.token}"
    with ubiops.ApiClient(configuration) as client:
        yield ubiops.CoreApi(client)


def test_the_notebooks_deployment_is_adopted_in_one_go(
    newcomer: Operator, official: ubiops.CoreApi, api: Api, control: httpx.Client, tmp_path: Path
) -> None:
    url = notebook.run_cells(official, "demo", tmp_path)
    ids = objects(api)
    control.delete("/journal")
    page = (ROOT / "docs" / "from-the-notebook.md").read_text()
    typed = re.findall(r"^\$ whisperctl (.+)$", page.partition("```console")[2].partition("```")[0], re.MULTILINE)
    first, *rest = [command.split() for command in typed]
    ran = newcomer.good(*first)
    assert writes(control) == []
    assert "which release runs" in ran.err
    assert "Which model is meant?" in ran.err
    text = (newcomer.folder / "stack.yaml").read_text()
    assert yaml.safe_load(text) == {
        "apiVersion": "whisperctl/v1",
        "stack": "whisper-vllm",
        "model": {"name": "openai/whisper-large-v3-turbo", "served_name": "openai/whisper-small"},
        "vllm": {"version": "0.19.1"},
        "environment": {"mode": "package", "requirements": ["openai", "requests"]},
        "deployment": {"name": "whisper-vllm", "description": "Whisper small with vLLM"},
        "instance_type_group": {"name": "12288 MB + NVIDIA Tesla T4", "gpu": "T4"},
        "version": {
            "name": "v1",
            "labels": {
                "openai-compatible": "true",
                "openai-model-names": "openai/whisper-small",
                "model-type": "speech-to-text",
            },
        },
        "env": {"MAX_MODEL_LEN": "448", "WHISPER_TASK": "transcription"},
        "service": {"name": "whisper-service"},
    }
    assert "# VLLM_ATTENTION_BACKEND is left out: vLLM 0.19.1 does not read" in text
    assert rest == [["adopt", "stack.yaml", "--yes"], ["plan"], ["apply", "--yes"]]
    newcomer.good(*rest[0])
    [plan] = json.loads(newcomer.good("plan", "--format", "json").out)["stacks"]
    assert plan["summary"] == {"create": 0, "update": 2, "replace": 0, "delete": 0, "unchanged": 4}
    assert {change["address"] for change in plan["changes"]} == {"version/whisper-vllm/v1", "package/whisper-vllm/v1"}
    assert all(change["reason"] for change in plan["changes"])
    newcomer.good(*rest[2])
    assert newcomer.run("plan", "--detailed-exitcode").code == 0
    assert objects(api) == ids
    assert api.service("whisper-service")["endpoint"] == url
    assert {item["name"] for item in api.env_vars("whisper-vllm", "v1")} >= {"VLLM_ATTENTION_BACKEND"}


def objects(api: Api) -> set[str]:
    """The ids of the notebook's objects."""
    existing = [api.deployment("whisper-vllm"), api.version("whisper-vllm", "v1"), api.find_service("whisper-service")]
    return {str((raw or {})["id"]) for raw in existing}


def test_what_a_stack_made_comes_back_as_it_was(operator: Operator, tmp_path: Path) -> None:
    ran = operator.good("init", "again", "--from", "speech/v1")
    assert ran.err.count("?") == 0
    text = (tmp_path / "again" / "stack.yaml").read_text()
    assert 'HF_TOKEN: {value: "${HF_TOKEN}", secret: true}' in text
    assert "hunter2" not in text
    assert "requirements: [anyio]" in text
    operator.environ["HF_TOKEN"] = "hunter2-hf-secret"
    assert operator.run("plan", "--detailed-exitcode", "again").code == 0


def test_every_deployment_of_a_project_at_once(operator: Operator, api: Api, tmp_path: Path) -> None:
    api.create_deployment({"name": "other", "input_type": "plain", "output_type": "plain"})
    api.create_deployment({"name": "chat", "input_type": "plain", "output_type": "plain"})
    base = {"environment_name": "ubiops-ubuntu24-04-python3-12"}
    api.create_version("chat", {"version": "v1", **base})
    ran = operator.good("init", "all", "--from", "*")
    assert "passed over: The deployment other has no version" in ran.err
    assert "passed over: chat/v1 serves no Whisper" in ran.err
    assert sorted(str(file.relative_to(tmp_path)) for file in (tmp_path / "all").rglob("*.yaml")) == [
        "all/speech/stack.yaml"
    ]
    operator.environ["HF_TOKEN"] = "hunter2-hf-secret"
    assert operator.run("plan", "--detailed-exitcode", "all").code == 0


def test_what_cannot_be_told_is_a_question_and_secrets_stay_out(newcomer: Operator, api: Api) -> None:
    api.create_deployment({"name": "odd", "input_type": "plain", "output_type": "plain", "description": "a: b # $X"})
    version = {"version": "v1", "environment_name": "ubiops-ubuntu24-04-python3-12"}
    more = {"instance_type_group_name": "12288 MB + NVIDIA Tesla T4", "instance_processes": 4}
    more |= {"health_check": {"port": 9090, "path": "/alive", "interval": 30, "timeout": 5, "failure_threshold": 3}}
    api.create_version("odd", version | more)
    for name, value, secret in (
        ("HF_TOKEN", "hf_readable_by_all", False),
        ("PROXY", "http://user:pass-word@proxy:1", False),
        ("HIDDEN", "never told", True),
        ("PRICE", "5$ ${x}", False),
    ):
        api.create_env_var("odd", "v1", {"name": name, "value": value, "secret": secret})
    ran = newcomer.good("init", "--from", "odd")
    text = (newcomer.folder / "stack.yaml").read_text()
    for hidden in ("hf_readable", "pass-word", "never told"):
        assert hidden not in text + ran.all
    assert "model.name: nothing tells which model is served" in ran.err
    assert "  # ? nothing tells which model is served" in text
    data = yaml.safe_load(text)
    assert data["env"]["PRICE"] == "5$$ $${x}"
    assert data["env"]["PROXY"] == {"value": "${PROXY}", "secret": True}
    assert data["deployment"]["description"] == "a: b # $$X"
    assert "# instance_processes is left out" in text
    assert "# port is left out" in text
    assert data["version"]["health_check"] == {"path": "/alive"}
    given = {"HIDDEN": "a-hidden-value", "HF_TOKEN": "another-value", "PROXY": "http://elsewhere"}
    refused = newcomer.run("validate", **given)
    assert refused.err.count(" error: ") == 1
    assert "error: model: this key is required" in refused.err
    assert "whisperctl validate stack.yaml" in ran.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--from", "nothing"), "There is no deployment nothing in project demo.\n  There are: speech."),
        (("--from", "speech/v9"), "The deployment speech has no version v9.\n  There are: v1."),
        (("--from", "speech", "--gpu", "T4"), "--from reads what runs: leave --gpu out."),
        (("--from", "speech"), "stack.yaml exists already."),
    ],
)
def test_what_is_refused_writes_nothing(operator: Operator, arguments: tuple[str, ...], says: str) -> None:
    before = operator.write("mine").read_text()
    ran = operator.run("init", *arguments)
    assert ran.code in (1, 64)
    assert says in ran.err
    assert [file.name for file in operator.folder.iterdir()] == ["stack.yaml"]
    assert (operator.folder / "stack.yaml").read_text() == before
