"""What a stack file becomes: defaults, merging, and values from the environment."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ubiops.models import DeploymentVersionCreate, ServiceCreate

from whisperctl import spec
from whisperctl.errors import Problem
from whisperctl.loading import load_stacks
from whisperctl.loading.fast_path import accepts
from whisperctl.loading.merging import merged
from whisperctl.loading.schema import schema_text
from whisperctl.loading.values import plain
from whisperctl.spec import EnvVar, InstanceTypeChoice

SPECS = Path(__file__).parents[1] / "specs"
ENVIRON = {"WHISPERCTL_TEST_TOKEN": "hf_never_shown", "WHISPERCTL_TEST_PORT": "8080"}
SCHEMA = json.loads(schema_text())


def load(name: str) -> spec.Stack:
    return load_stacks([SPECS / "valid" / f"{name}.yaml"], ENVIRON).stacks[0]


def test_defaults_are_the_documented_ones() -> None:
    stack = load("minimal")
    assert stack.model.task == "transcription"
    assert stack.model.served_name == "openai/whisper-small"
    assert stack.model.folder is None
    assert dataclasses.asdict(stack.vllm) == {
        "version": "0.33.0", "dtype": "auto", "max_model_len": 448, "gpu_memory_utilization": 0.9,
        "tensor_parallel_size": 1, "api_server_count": "auto", "max_num_seqs": "auto",
        "max_num_batched_tokens": "auto", "startup_timeout": 1800, "allow_unlisted": False, "args": {},
    }  # fmt: skip
    assert dataclasses.asdict(stack.environment) == {
        "mode": "managed", "base_name": "ubiops-ubuntu24-04-python3-12", "base_tag": None, "requirements": (),
        "apt": ("build-essential", "python3-dev", "ffmpeg"), "lock": None,
    }  # fmt: skip
    assert dataclasses.asdict(stack.deployment) == {
        "name": "whisper-vllm", "description": "", "input_type": "plain", "output_type": "plain", "labels": {},
    }  # fmt: skip
    assert stack.version.fields == {
        "minimum_instances": 0, "maximum_instances": 1, "maximum_idle_time": 900,
        "health_check": {"port": 8080, "path": "/health", "interval": 30, "timeout": 5, "failure_threshold": 3},
    }  # fmt: skip
    assert (stack.version.labels, stack.env, stack.services) == ({}, (), ())
    assert (stack.rollout.strategy, stack.rollout.timeout, stack.rollout.smoke) == ("in_place", 3600, None)
    assert (stack.project, stack.protect, stack.instance_type_group.gpu_count) == (None, False, 1)


def test_the_schemas_defaults_are_the_stacks() -> None:
    """What editors show is what is taken."""

    def default(*path: str) -> Any:
        schema = SCHEMA
        for step in path:
            schema = schema["properties"][step]
        return schema["default"]

    stack = load("minimal")
    for name, value in dataclasses.asdict(stack.vllm).items():
        if name != "version":
            assert default("vllm", name) == value, name
    for name, value in stack.version.fields.items():
        assert default("version", name) == value, name
    assert default("environment", "base") == stack.environment.base_name
    assert tuple(default("environment", "apt")) == stack.environment.apt
    assert default("environment", "mode") == stack.environment.mode
    assert default("rollout", "timeout") == stack.rollout.timeout
    assert default("rollout", "strategy") == stack.rollout.strategy
    assert default("model", "task") == stack.model.task
    assert default("protect") == stack.protect
    assert SCHEMA["$defs"]["service"]["properties"]["port"]["default"] == 8080


def test_every_key_has_a_description() -> None:
    def walk(schema: dict[str, Any], path: str) -> None:
        for name, inner in schema.get("properties", {}).items():
            assert inner.get("description"), f"{path}.{name}"
            walk(inner, f"{path}.{name}")

    walk(SCHEMA, "")
    walk(SCHEMA["$defs"]["service"], "service")
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_the_schema_has_every_field_of_a_ubiops_version_and_service() -> None:
    """Less what the stack itself decides, and what is deprecated."""
    decided = {
        "version", "environment", "environment_name", "environment_tag", "instance_type", "instance_type_group_id",
        "instance_type_group_name", "ports",
    }  # fmt: skip
    ours = set(SCHEMA["properties"]["version"]["properties"])
    assert ours == set(DeploymentVersionCreate.openapi_types) - decided | {"name"}
    service = set(SCHEMA["$defs"]["service"]["properties"])
    assert service == set(ServiceCreate.openapi_types) - {"deployment", "version"}


def test_everything_is_read() -> None:
    stack = load("everything")
    assert stack.project == "speech"
    assert stack.vllm.tensor_parallel_size == 2
    assert stack.environment.base_tag == "v5.25.0"
    assert stack.instance_type_group.instance_types == (
        InstanceTypeChoice(name="16384mb_l4", priority=None, schedule_timeout=None),
        InstanceTypeChoice(name="32768mb_l4", priority=2, schedule_timeout=300),
    )
    assert [service.name for service in stack.services] == ["everything", "second"]
    assert stack.services[1].fields == {"port": 8080, "authentication_required": True}
    assert stack.services[0].fields["rate_limit"] == 600
    assert stack.mark("service", 1, "name").line > stack.mark("service", 0, "name").line
    assert EnvVar(name="HF_TOKEN", value="hf_never_shown", secret=True) in stack.env
    assert stack.version.fields["scaling_strategy"] == "moderate"
    assert stack.protect is True


@pytest.mark.parametrize("key", ["port", "--port"])
def test_the_servers_port_is_the_health_checks_and_the_services_default(tmp_path: Path, key: str) -> None:
    text = (
        (SPECS / "valid" / "minimal.yaml")
        .read_text()
        .replace("version: 0.33.0", f"version: 0.33.0, args: {{{key}: 90}}")
    )
    (tmp_path / "stack.yaml").write_text(f"{text}\nservice: {{name: one}}\n")
    stack = load_stacks([tmp_path / "stack.yaml"], ENVIRON).stacks[0]
    assert (stack.version.fields["health_check"]["port"], stack.services[0].port) == (90, 90)


def test_extends_merges_and_null_removes() -> None:
    stack = load("extends")
    assert stack.vllm.version == "0.26.0"
    assert stack.vllm.max_num_seqs == "auto"
    assert stack.vllm.args == {"enforce-eager": True}
    assert stack.deployment.labels == {"team": "speech", "cost": "high"}
    assert stack.version.labels == {}
    assert {var.name: var.value for var in stack.env} == {"A": "one", "C": "three"}
    assert stack.services == ()
    assert stack.source("deployment", "labels", "team").endswith("parts/common.yaml:8")
    assert stack.source("deployment", "labels", "cost").endswith("extends.yaml:9")
    assert stack.source("project").endswith("parts/defaults.yaml:2")


def test_merge_keys_and_anchors() -> None:
    stack = load("anchors")
    assert stack.version.labels == {"team": "speech", "stage": "test"}
    assert [(service.name, service.fields["rate_limit"]) for service in stack.services] == [("one", 10), ("two", 10)]


def test_numbers_may_come_from_the_environment() -> None:
    stack = load("numbers-from-the-environment")
    assert (stack.vllm.max_num_seqs, stack.vllm.gpu_memory_utilization) == (32, 0.8)
    assert stack.version.minimum_instances == 1
    assert (stack.services[0].port, stack.services[0].authentication_required) == (8080, True)
    assert stack.env[0].value == "12"


def test_printable_text_stays_as_it_is() -> None:
    stack = load("printable")
    assert stack.model.served_name == "it's \"quoted\" {{ braces }} {% if %} $ \\ 🎙️ __import__('os')"
    assert stack.env[0].value == "line one\nline two\t🎙️ '\" {{ }}"
    assert stack.deployment.description.endswith("🎙️.\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a$$b", "a$b"), ("$$$$", "$$"), ("${A}", "one"), ("${A}${B:-two}", "onetwo"), ("$${A}", "${A}"), ("$A $", "$A $"),
     ("${E:-x}", "x"), ("${B:-}", ""), ("${B:-a b:c}", "a b:c")],
)  # fmt: skip
def test_substitution(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "stack.yaml"
    file.write_text(f"description: {json.dumps(text)}\n")
    problems: list[Problem] = []
    tree = merged(file, {"A": "one", "E": ""}, problems)
    assert plain(tree) == {"description": expected}
    assert problems == []


def test_a_variable_that_is_no_utf_8_is_told(tmp_path: Path) -> None:
    file = tmp_path / "stack.yaml"
    file.write_text("description: ${A}\n")
    problems: list[Problem] = []
    assert plain(merged(file, {"A": "secret\udcff"}, problems)) == {"description": ""}
    assert [problem.message for problem in problems] == ["the environment variable A holds no UTF-8 text"]


def test_a_secret_shows_in_no_repr() -> None:
    assert "hf_never_shown" not in repr(load("everything"))


VALID = [plain(merged(file, ENVIRON, [])) for file in sorted((SPECS / "valid").glob("*.yaml"))]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
JSON = st.recursive(
    SCALARS | st.sampled_from(["auto", "L4"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def paths(data: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    entries = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(path_below for key, value in entries for path_below in paths(value, (*path, key)))]


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_the_quick_yes_never_contradicts_jsonschema(data: st.DataObject) -> None:
    document = json.loads(json.dumps(data.draw(st.sampled_from(VALID))))
    path = data.draw(st.sampled_from(paths(document)[1:]))
    holder = document
    for step in path[:-1]:
        holder = holder[step]
    match data.draw(st.sampled_from(["replace", "delete", "add"])):
        case "replace":
            holder[path[-1]] = data.draw(JSON)
        case "delete":
            del holder[path[-1]]
        case _ if isinstance(holder, dict):
            holder[data.draw(st.text(max_size=6))] = data.draw(JSON)
    assert accepts(SCHEMA, document) == jsonschema.Draft202012Validator(SCHEMA).is_valid(document)


def test_right_files_are_accepted_quickly() -> None:
    schema_only = [document for document in VALID if jsonschema.Draft202012Validator(SCHEMA).is_valid(document)]
    assert len(schema_only) >= len(VALID) - 1  # numbers from the environment are text at first
    assert all(accepts(SCHEMA, document) for document in schema_only)
