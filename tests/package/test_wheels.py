"""Proof from the real wheels: every rendered flag and variable exists in the release it is rendered for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import pytest

from tests.harness.sweeps import whole
from tests.package.conftest import StackOf
from whisperctl.serving import catalog
from whisperctl.serving.launch import launch

from .wheels import Option, Unreachable, functions, options, sources, variables

DEPLOYMENT_SETS = {
    *("--host", "--port", "--served-model-name", "--max-model-len", "--api-server-count", "--headless"),
    *("--data-parallel-size", "--data-parallel-size-local", "--data-parallel-start-rank"),
    *("--data-parallel-address", "--data-parallel-rpc-port"),
}
"""Options that the rendered code itself adds."""


def releases(*versions: str) -> pytest.MarkDecorator:
    """Each release as the argument `version`, all its tests in one process, which reads its source once.

    In a slice the oldest and the newest: pip takes 5 s of a core to find one on the index.
    """
    rows = []
    for version in versions:
        marks = [pytest.mark.xdist_group(f"wheel {version}")]
        if version not in (versions[0], versions[-1]):
            marks.append(whole)
        rows.append(pytest.param(version, marks=marks, id=version))
    return pytest.mark.parametrize("version", rows)


@cache
def _source(version: str) -> Mapping[str, str] | Unreachable:
    try:
        return sources(version)
    except Unreachable as reason:
        return reason  # remembered, too: to ask again takes pip another 3 s of a core


def readable(version: str) -> Mapping[str, str]:
    """The release's own source; the test is skipped where it cannot be had."""
    source = _source(version)
    if isinstance(source, Unreachable):
        pytest.skip(f"the wheel's source cannot be read: {source}")
    return source


@releases("0.12.0", "0.19.1", "0.26.0", "0.33.0")
def test_every_rendered_flag_exists_in_the_wheel(version: str, stack_of: StackOf) -> None:
    files = readable(version)
    known, read = options(files), variables(files)
    assert len(known) > 150
    for gpu in ("T4", "L4", "A10", "A100", "H100", "H200", "CPU"):
        if any(rule.refuse for rule in catalog.rules(version, gpu)):
            continue
        for task in ("model: {name: openai/whisper-small}", "model: {name: openai/whisper-large-v3}"):
            stack = stack_of(
                model=task.partition(" ")[2],
                vllm=f"{{version: {version}, allow_unlisted: true, tensor_parallel_size: 2}}",
                instance_type_group=f"{{name: g, gpu: {gpu}, gpu_count: 4}}",
            )
            start = launch(stack)
            given = {word for word in start.arguments if word.startswith("--")} | DEPLOYMENT_SETS
            assert given <= set(known), given - set(known)
            assert {name for name in start.environment if name.startswith("VLLM_")} <= read


@releases("0.24.0", "0.26.0", "0.32.0", "0.33.0")
def test_what_engines_share_a_gpu_with_exists_in_the_wheel(version: str, stack_of: StackOf) -> None:
    files = readable(version)
    stack = stack_of(
        model="{name: openai/whisper-large-v3-turbo}",
        vllm=f"{{version: {version}}}",
        instance_type_group="{name: g, gpu: H200}",
    )
    shared = launch(stack).sharing
    assert shared is not None
    words = shared.arguments
    assert {word for word in words if word.startswith("--")} <= set(options(files))
    scheduler = functions(files["vllm/v1/core/sched/scheduler.py"], "Scheduler")
    if "--scheduler-cls" in words:
        # What whisperctl_scheduler.py builds on; from 0.33 on vLLM keeps the pace that it is told.
        assert scheduler["schedule"] == ["self", "throttle_prefills"]
        assert scheduler["update_from_output"] == ["self", "scheduler_output", "model_runner_output"]
        asynchronous = functions(files["vllm/v1/core/sched/async_scheduler.py"], "AsyncScheduler")
        assert not {"schedule", "update_from_output"} & set(asynchronous)
        messages = files["vllm/v1/engine/__init__.py"]
        assert "    request_id: str\n    new_token_ids: list[int]\n" in messages.partition("class EngineCoreOutput(")[2]
        for name in ("outputs", "scheduler_stats", "finished_requests"):
            assert f"\n    {name}: " in messages.partition("class EngineCoreOutputs(")[2]
        output = files["vllm/v1/core/sched/output.py"]
        assert "scheduled_new_reqs: " in output
        assert "total_num_scheduled_tokens: " in output
    else:
        assert "self.local_prefill_interval = (" in files["vllm/v1/core/sched/scheduler.py"]


@releases("0.12.0", "0.33.0")
def test_the_catalogue_lists_what_the_wheel_declares(version: str) -> None:
    files = readable(version)
    declared = options(files)
    assert set(declared) == set(catalog.options(version))
    for name, option in declared.items():
        accepted = catalog.accepted(version, name)
        known = (accepted.number, frozenset(accepted.choices), accepted.any_case, accepted.suggested)
        assert (catalog.option_kind(version, name), *known) == option, name
    assert variables(files) == set(catalog.variables(version))


CONFIG = """
from typing import Annotated, Literal, Optional

Mode = Literal["auto", "slow"]
Wide = Literal["none", Mode]
Twice = Literal["a"]

class Backend(Enum):
    FAST = 1
    SLOW = 2
    _private = 3

class Config:
    seed: int | None = None
    share: Optional[float] = None
    size: SkipValidation[int] = None
    sizes: list[int] | None = None
    rank: Literal[8, 16] = 8
    mode: Mode = "auto"
    wide: Annotated[Wide, 1] | None = None
    plugin: Mode | str = "auto"
    twice: Twice = "a"
    number: int | float = 1
    bytes: int = 1
    changed: Mode = "auto"
    lowered: Mode = "auto"
    backend: Backend | None = None
    other: Backend | None = None
    extra: dict[str, int] | None = None

    @field_validator("backend", mode="before")
    def read(cls, value):
        if value.lower() == "auto":
            return None
        return Backend[value.upper()]
"""
PARSER = """
Twice = str

def _compute_kwargs(cls):
    if name in {"bytes"}:
        pass

def add_cli_args(parser):
    kwargs = get_kwargs(Config)
    kwargs["changed"]["choices"] += ["fast"]
    lowered_kwargs = kwargs["lowered"]
    lowered_kwargs["type"] = lambda text: text.lower()
    parser.add_argument("--lowered", **lowered_kwargs)
    parser.add_argument("--port", type=int, help="port")
    parser.add_argument("--level", type=str.upper, choices=["A"])
    parser.add_argument("--either-way", choices=["a", "b"], default="a")
    parser.add_argument("--platform", choices=["a", *more])
    parser.add_argument("--default", **{**kwargs["seed"], "default": None})
    parser.add_argument("--other-type", **{**kwargs["number"], "type": str})
    parser.add_argument("--more-choices", **kwargs["mode"], choices=["x"])
"""
FIELDS = (
    *("seed", "share", "size", "sizes", "rank", "mode", "wide", "plugin", "twice", "number", "bytes"),
    *("changed", "backend", "other", "extra"),
)


def test_of_a_value_only_what_is_certain_is_read() -> None:
    calls = "".join(f'    parser.add_argument("--{field}", **kwargs["{field}"])\n' for field in FIELDS)
    read = options({"vllm/config/some.py": CONFIG, "vllm/engine/arg_utils.py": PARSER + calls})
    auto = frozenset({"auto", "slow"})
    assert read == {
        "--seed": Option("value", "integer"),
        "--share": Option("value", "number"),
        "--size": Option("value", "integer"),
        "--sizes": Option("list", "integer"),
        "--rank": Option("value", "integer", frozenset({"8", "16"})),
        "--mode": Option("value", "", auto),
        "--wide": Option("value", "", auto | {"none"}),
        "--plugin": Option("value", "", auto, suggested=True),
        "--backend": Option("value", "", frozenset({"FAST", "SLOW", "auto"}), any_case=True),
        "--port": Option("value", "integer"),
        "--either-way": Option("value", "", frozenset({"a", "b"})),
        "--default": Option("value", "integer"),
        **dict.fromkeys(("--twice", "--number", "--bytes", "--changed", "--lowered", "--other"), Option("value")),
        **dict.fromkeys(("--extra", "--level", "--platform", "--other-type", "--more-choices"), Option("value")),
    }


@releases("0.24.0", "0.25.1", "0.26.0", "0.28.0", "0.32.0", "0.33.0")
def test_what_the_encoder_plugin_builds_on_exists_in_the_wheel(version: str) -> None:
    files = readable(version)
    whisper = files["vllm/model_executor/models/whisper.py"]
    model = functions(whisper, "WhisperForConditionalGeneration")
    assert model["__init__"] == ["self"]  # vllm_config and prefix by keyword
    assert {"forward", "embed_multimodal"} <= set(model)
    assert functions(whisper, "WhisperEncoder")["forward"] == ["self", "input_features"]
    for name in ("num_mel_bins", "max_source_positions", "total_stride"):
        assert f"        self.{name} = " in whisper
    # A list may hold recordings one by one, or several as one tensor.
    assert "for features in input_features:" in whisper
    assert "input_is_batched = embeds.ndim > 2" in whisper
    assert "self.model.embed_multimodal(**" in files["vllm/v1/worker/gpu/mm/encoder_runner.py"]
    assert 'DEFAULT_PLUGINS_GROUP = "vllm.general_plugins"' in files["vllm/plugins/__init__.py"]
