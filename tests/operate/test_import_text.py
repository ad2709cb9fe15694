"""init --from without a socket: code that is read, text that reads back, and any stack described as what it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness.drawn import loaded_stack
from whisperctl.loading import load_stacks
from whisperctl.loading.document import parse
from whisperctl.loading.values import plain
from whisperctl.operate.importing.describe import describe
from whisperctl.operate.importing.objects import Objects
from whisperctl.operate.importing.server import command_of
from whisperctl.operate.importing.text import yaml_text
from whisperctl.package.build import ENVIRONMENT_NAME, Package, build_environment, build_package
from whisperctl.spec import Stack
from whisperctl.state.desired import Desired, desired_state
from whisperctl.state.resources import (
    SERVER_DEFAULTS,
    Address,
    State,
    deployment_address,
    service_address,
    version_address,
)

GPU_GROUPS = {"T4": "12288 MB + NVIDIA Tesla T4", "H200": "196608 MB + 16 vCPU + NVIDIA H200", "A100": "x A100-80GB"}
WORD = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("code", "model", "options"),
    [
        ('run(["vllm", "serve", "a/b", "--dtype", "half"])', "a/b", {"--dtype": ["half"]}),
        ('M = "a/b"\ncmd = f"vllm serve {M} --port 9000"', "a/b", {"--port": ["9000"]}),
        ('x = ["python", "-m", "vllm.entrypoints.openai.api_server", "--model", "a/b"]', "a/b", {}),
        ('import os\nm = os.getenv("MODEL", "x/y")\nc = ["vllm", "serve", m]', "from/env", {}),
        (
            'import os\nm = os.environ["MODEL"]\nc = ["vllm", "serve"] + [m] + ["--seed=1"]',
            "from/env",
            {"--seed": ["1"]},
        ),
        ('c = ["vllm", "serve", pick(), "--max_num_seqs", n()]', None, {"--max-num-seqs": [None]}),
        ('m = "a/b"\nm = "c/d"\nc = ["vllm", "serve", m]', None, {}),
        ('class D:\n    def __init__(self):\n        self.m = self.m\n        c = ["vllm", "serve", self.m]', None, {}),
    ],
)
def test_the_command_is_read_out_of_the_code(code: str, model: str | None, options: dict[str, Any]) -> None:
    command = command_of(code, {"MODEL": "from/env"})
    assert command is not None
    assert (command.model, command.options) == (model, options)


@pytest.mark.parametrize("code", ["", "def (", "\0", 'print("vllm serve")', 'x = ["serve", "a"]', "(" * 5000])
def test_code_without_a_server_tells_nothing(code: str) -> None:
    assert command_of(code, {}) is None


@settings(max_examples=200, deadline=None)
@given(
    data=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(min_size=1), inside, max_size=3),
        max_leaves=8,
    )
)
def test_what_is_written_reads_back(data: Any) -> None:
    text = yaml_text({"top": data}, {("top",): ["a remark: # with 'marks'", "a second one"]})
    assert plain(parse(text, "x.yaml", Path(), [])) == {"top": doubled(data)}


def doubled(value: Any) -> Any:
    """With each `$` in a value, but not in a key, as the file has it."""
    match value:
        case str():
            return value.replace("$", "$$")
        case list():
            return [doubled(item) for item in value]
        case dict():
            return {key: doubled(item) for key, item in value.items()}
    return value


STACKS = st.fixed_dictionaries(
    {
        "apiVersion": st.just("whisperctl/v1"),
        "stack": st.just("any"),
        "model": st.fixed_dictionaries(
            {"name": st.sampled_from(["openai/whisper-large-v3-turbo", "openai/whisper-small", "some/whisper"])},
            optional={
                "served_name": WORD,
                "revision": st.just("0" * 40),
                "task": st.sampled_from(["transcription", "translation"]),
            },
        ),
        "vllm": st.fixed_dictionaries(
            {"version": st.sampled_from(["0.12.0", "0.19.1", "0.24.0", "0.33.0"])},
            optional={
                "dtype": st.sampled_from(["auto", "float16", "bfloat16", "float32"]),
                "max_model_len": st.sampled_from([100, 448]),
                "gpu_memory_utilization": st.sampled_from([0.5, 0.9, 1]),
                "api_server_count": st.sampled_from(["auto", 1, 4]),
                "max_num_seqs": st.sampled_from(["auto", 3]),
                "max_num_batched_tokens": st.sampled_from(["auto", 1500, 12_000]),
                "startup_timeout": st.sampled_from([60, 1800]),
                "args": st.dictionaries(
                    st.sampled_from(["enforce-eager", "seed", "port", "allowed-origins", "max-logprobs"]),
                    st.sampled_from([True, False, 1, 8000, "-x", ["a"], ["a b", "-c"]]),
                    max_size=2,
                ),
            },
        ),
        "environment": st.fixed_dictionaries(
            {},
            optional={
                "mode": st.sampled_from(["managed", "package"]),
                "base": st.sampled_from(["ubiops-ubuntu24-04-python3-12", "ubiops-ubuntu24-04-python3-12:v5.25.0"]),
                "requirements": st.lists(st.sampled_from(["httpx", "anyio>=4", "x @ https://h/x.whl"]), unique=True),
                "apt": st.lists(st.sampled_from(["ffmpeg", "git", "build-essential"]), unique=True),
            },
        ),
        "deployment": st.fixed_dictionaries(
            {"name": st.just("any")},
            optional={"description": WORD, "labels": st.dictionaries(st.sampled_from(["team", "a.b", "n$"]), WORD)},
        ),
        "instance_type_group": st.sampled_from([{"name": name, "gpu": gpu} for gpu, name in GPU_GROUPS.items()]),
        "version": st.fixed_dictionaries(
            {"name": st.just("v1")},
            optional={
                "minimum_instances": st.sampled_from([0, 1]),
                "maximum_idle_time": st.sampled_from([600, 900]),
                "health_check": st.sampled_from([{}, {"interval": 5}, {"timeout": 9, "failure_threshold": 1}]),
                "request_retention_mode": st.sampled_from(["full", "none"]),
                "labels": st.dictionaries(st.sampled_from(["team", "model-type"]), WORD, max_size=2),
            },
        ),
        "env": st.dictionaries(
            st.sampled_from(["OTHER", "MAX_MODEL_LEN", "MORE"]),
            WORD | st.just("100") | st.just({"value": "$(cat x) hidden", "secret": True}),
            max_size=3,
        ),
        "service": st.sampled_from(
            [
                [],
                [{"name": "one"}],
                [{"name": "one", "rate_limit": 5}, {"name": "two", "labels": {"x": "y: z"}}],
                [{"name": "one", "authentication_required": False}],
            ]
        ),
    }
)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(written=STACKS)
def test_any_stack_is_described_as_what_it_was(tmp_path: Path, written: dict[str, Any]) -> None:
    stack = loaded_stack(tmp_path, written)
    desired = desired_of(stack)
    described = describe(objects_of(desired))
    assert described.refused == ()
    for name, text in {"stack.yaml": described.text, **described.files}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    secrets = {variable.name: variable.value for variable in stack.env if variable.secret}
    [again] = load_stacks([tmp_path / "stack.yaml"], secrets).stacks
    assert whole(desired_of(again).state) == whole(desired.state)


@pytest.mark.parametrize("made", ["vllm", "model a/b;vllm;vllm "])
def test_a_label_that_names_no_release_is_no_release(tmp_path: Path, made: str) -> None:
    written = {
        "apiVersion": "whisperctl/v1",
        "stack": "any",
        "model": {"name": "openai/whisper-small"},
        "vllm": {"version": "0.24.0"},
        "instance_type_group": {"name": GPU_GROUPS["T4"], "gpu": "T4"},
        "deployment": {"name": "any"},
        "version": {"name": "v1"},
    }
    objects = objects_of(desired_of(loaded_stack(tmp_path, written)))
    labels = {**objects.version["labels"], "whisperctl-made": made}
    version = {**objects.version, "labels": labels}
    described = describe(replace(objects, version=version, package=None, dependencies={}))
    assert "nothing tells which release runs" in described.text


def whole(state: State) -> dict[Address, dict[str, Any]]:
    """With what UbiOps has where nothing is said; of a base environment it has a tag whether one is pinned or not."""
    fields_of = {a: {**SERVER_DEFAULTS.get(a.kind, {}), **resource.fields} for a, resource in state.items()}
    for fields in fields_of.values():
        if fields.get("environment_name") not in (None, ENVIRONMENT_NAME):
            fields.pop("environment_tag", None)
    return fields_of


def desired_of(stack: Stack) -> Desired:
    return desired_state(stack, build_package(stack), build_environment(stack))


def objects_of(desired: Desired) -> Objects:
    """What UbiOps would hold of a stack after an apply."""
    stack, names = desired.stack, (desired.stack.deployment.name, desired.stack.version.name)
    group = {
        "id": "g",
        "name": stack.instance_type_group.name,
        "instance_types": [{"name": "big", "accelerator": stack.instance_type_group.gpu_count, "priority": 0}],
    }
    labels = {"whisperctl-stack": stack.name}
    deployment = dict(desired.state[deployment_address(names[0])].fields)
    version = dict(desired.state[version_address(*names)].fields)
    tag = (
        {"base_environment_name": desired.build.base_name, "base_environment_tag": "v5.25.0"} if desired.build else None
    )
    return Objects(
        project="demo",
        deployment=deployment | {"name": names[0], "labels": deployment["labels"] | labels},
        version=version | {"version": names[1], "labels": version["labels"] | labels},
        env_vars=[
            {"name": item.name, "value": None if item.secret else item.value, "secret": item.secret}
            for item in stack.env
        ],
        services=[
            {"name": service.name, **desired.state[service_address(service.name)].fields} for service in stack.services
        ],
        group=group,
        package=texts_of(desired.package),
        tag=tag,
        dependencies={name: data.decode() for name, data in desired.build.files.items()} if desired.build else {},
    )


def texts_of(package: Package) -> dict[str, str]:
    return {name: data.decode() for name, data in package.files.items() if isinstance(data, bytes)}
