"""What is rendered for every range of vLLM releases on every GPU, held in golden files."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.package.conftest import StackOf, environment_of, text_of
from whisperctl.package.build import build_package
from whisperctl.serving import catalog
from whisperctl.serving.launch import Sharing, launch
from whisperctl.serving.requirements import requirements
from whisperctl.spec import Stack

GOLDEN = Path(__file__).parents[1] / "golden" / "render"
ALWAYS = {"deployment.py", "whisperctl_supervisor.py"}
PLUGINS = {f"whisperctl_plugins-1.dist-info/{name}" for name in ("METADATA", "entry_points.txt")}
SCHEDULER, ENCODER, FRONT_ENDS = (f"whisperctl_{name}.py" for name in ("scheduler", "encoder", "front_ends"))
SMALL, TURBO, LARGE = "openai/whisper-small", "openai/whisper-large-v3-turbo", "openai/whisper-large-v3"

COMBINATIONS = [
    ("0.10.1.1", "T4", SMALL), ("0.12.0", "T4", SMALL), ("0.13.0", "T4", TURBO), ("0.14.1", "T4", LARGE),
    ("0.15.1", "T4", SMALL), ("0.19.1", "T4", TURBO), ("0.22.1", "T4", LARGE), ("0.24.0", "T4", TURBO),
    ("0.28.0", "T4", SMALL), ("0.33.0", "T4", LARGE),
    ("0.10.0", "L4", SMALL), ("0.11.2", "L4", TURBO), ("0.12.0", "L4", LARGE), ("0.13.0", "L4", TURBO),
    ("0.18.0", "L4", TURBO), ("0.23.0", "L4", LARGE), ("0.26.0", "L4", TURBO), ("0.33.0", "L4", LARGE),
    ("0.19.1", "A10", TURBO), ("0.33.0", "A10", LARGE),
    ("0.14.1", "A100", LARGE), ("0.20.2", "A100", TURBO), ("0.33.0", "A100", LARGE),
    ("0.17.1", "H100", TURBO), ("0.25.1", "H100", LARGE), ("0.33.0", "H100", TURBO),
    ("0.12.0", "H200", LARGE), ("0.26.0", "H200", TURBO), ("0.33.0", "H200", LARGE),
    ("0.13.0", "CPU", SMALL), ("0.19.1", "CPU", TURBO), ("0.24.0", "CPU", LARGE), ("0.32.0", "CPU", SMALL),
]  # fmt: skip


def stack_for(stack_of: StackOf, version: str, gpu: str, model: str, more: str = "") -> Stack:
    return stack_of(
        more,
        model=f"{{name: {model}, revision: 973afd24965f72e36ca33b3055d56a652f456b4d}}",
        vllm=f"{{version: {version}}}",
        instance_type_group=f"{{name: group, gpu: {gpu}}}",
    )


@pytest.mark.parametrize(("version", "gpu", "model"), COMBINATIONS, ids=lambda part: part.rpartition("/")[2])
def test_a_combination_renders_as_before(
    version: str, gpu: str, model: Any, stack_of: StackOf, golden: Callable[[Path, str], None]
) -> None:
    stack = stack_for(stack_of, version, gpu, model)
    shown = {"requirements": requirements(stack), **launch(stack).as_data()}
    name = f"{version}-{gpu}-{model.rpartition('/')[2]}.json"
    golden(GOLDEN / name, json.dumps(shown, indent=1) + "\n")


def test_the_combinations_cover_every_row() -> None:
    tried = {(version, gpu) for version, gpu, _ in COMBINATIONS}
    for row in json.loads((Path(catalog.__file__).parent / "rules.json").read_text())["rows"]:
        if row.get("refuse"):
            continue
        for gpu in row["gpus"]:
            assert any(
                other == gpu and catalog.within(version, row["from"], row["below"]) for version, other in tried
            ), row
    for row in json.loads((Path(catalog.__file__).parent / "tuning.json").read_text())["rows"]:
        sizes = {catalog.tuning(gpu, catalog.model(model)) for _, gpu, model in COMBINATIONS if gpu == row["gpu"]}
        assert any(tuned.max_num_batched_tokens == row["max_num_batched_tokens"] for tuned in sizes), row
    assert len(COMBINATIONS) >= 24


def test_a_whole_package_is_as_before(stack_of: StackOf, golden: Callable[[Path, str], None]) -> None:
    stack = stack_for(stack_of, "0.19.1", "T4", SMALL)
    package, environment = build_package(stack), environment_of(stack)
    assert list(package.files) == ["deployment.py", "whisperctl_supervisor.py"]
    for name in package.files:
        golden(GOLDEN / "whole" / name, text_of(stack, name))
    for name, content in environment.files.items():
        golden(GOLDEN / "whole" / name, content.decode())
    golden(GOLDEN / "whole" / "digests.txt", f"{package.digest}\n{environment.tag}\n")


def test_no_release_gets_a_task_option_or_a_dead_variable(stack_of: StackOf) -> None:
    for release in catalog.releases():
        for gpu in ("T4", "L4", "H200", "CPU"):
            if any(rule.refuse for rule in catalog.rules(release.version, gpu)):
                continue
            if gpu == "CPU" and not release.vllm_cpu:
                continue
            stack = stack_for(stack_of, release.version, gpu, TURBO)
            start = launch(stack)
            given = {word for word in start.arguments if word.startswith("--")}
            assert given <= catalog.options(release.version), (release.version, gpu)
            ours = {name for name in start.environment if name.startswith("VLLM_")}
            assert ours <= catalog.variables(release.version), (release.version, gpu)
            assert "--task" not in given
            compile(text_of(stack), "deployment.py", "exec")


def test_gpus_that_no_tensor_parallel_takes_serve_copies(stack_of: StackOf) -> None:
    group = "{name: four, gpu: L4, gpu_count: 4}"
    stack = stack_of(instance_type_group=group, vllm="{version: 0.26.0, tensor_parallel_size: 2}")
    words = launch(stack).arguments
    assert words[words.index("--tensor-parallel-size") + 1] == "2"
    assert words[words.index("--data-parallel-size") + 1] == "2"
    assert "--data-parallel-size" not in launch(stack_of(vllm="{version: 0.26.0}")).arguments
    # The V0 engine would wait for the others, which nobody starts.
    assert "--data-parallel-size" not in launch(stack_of(instance_type_group=group, vllm="{version: 0.10.1}")).arguments


@pytest.mark.parametrize(
    ("seqs", "gpu", "tokens"),
    [
        ("2", "H200", "3000"), ("auto", "H200", None), ("8192", "H200", None), ("8193", "H200", "8193"),
        ("20000", "L4", "20000"), ("auto", "L4", "18000"),
    ],
)  # fmt: skip
def test_a_step_holds_two_clips_and_every_sequence(stack_of: StackOf, seqs: str, gpu: str, tokens: str | None) -> None:
    stack = stack_of(vllm=f"{{version: 0.26.0, max_num_seqs: {seqs}}}", instance_type_group=f"{{name: g, gpu: {gpu}}}")
    words = launch(stack).arguments
    assert (
        words[words.index("--max-num-batched-tokens") + 1] if "--max-num-batched-tokens" in words else None
    ) == tokens


def on_an_h200(stack_of: StackOf, vllm: str = "", group: str = "") -> Stack:
    return stack_of(
        model=f"{{name: {TURBO}, revision: 41f01f3fe87f28c78e2fbf8b568835947dd65ed9}}",
        vllm=f"{{version: 0.26.0{vllm}}}",
        instance_type_group=f"{{name: group, gpu: H200{group}}}",
    )


def shared_by(stack: Stack) -> Sharing:
    """How the engines of a stack share a GPU."""
    shared = launch(stack).sharing
    assert shared is not None
    return shared


def sharing(stack_of: StackOf, vllm: str = "") -> Sharing:
    return shared_by(on_an_h200(stack_of, vllm))


def value(words: Sequence[str], option: str) -> str:
    return words[words.index(option) + 1]


def test_a_small_model_on_a_large_gpu_gets_engines_and_a_pace(stack_of: StackOf) -> None:
    stack = on_an_h200(stack_of)
    shared = shared_by(stack)
    assert shared.engines == 3
    assert value(shared.arguments, "--gpu-memory-utilization") == "0.3"
    # 256 recordings of 1500 encoder and 448 decoder positions, 20 KiB each.
    assert value(shared.arguments, "--kv-cache-memory-bytes") == str(256 * 1948 * 20480)
    assert value(shared.arguments, "--scheduler-cls") == "whisperctl_scheduler.PacedScheduler"
    assert set(build_package(stack).files) == {*ALWAYS, *PLUGINS, SCHEDULER, ENCODER, FRONT_ENDS}


def test_vllm_0_33_keeps_the_pace_by_itself(stack_of: StackOf) -> None:
    stack = stack_for(stack_of, "0.33.0", "H200", TURBO)
    words = shared_by(stack).arguments
    assert value(words, "--prefill-schedule-interval") == "8"
    assert "--scheduler-cls" not in words
    assert set(build_package(stack).files) == {*ALWAYS, *PLUGINS, ENCODER}


@pytest.mark.parametrize(
    ("version", "vllm", "brought"),
    [
        ("0.23.0", "", False),
        ("0.24.0", "", True),
        ("0.32.0", "", True),
        ("0.33.0", "", False),
        ("0.32.0", ", api_server_count: 1", False),
        ("0.32.0", ", api_server_count: 2", True),
    ],
)
def test_api_servers_get_sockets_of_their_own_until_vllm_deals_connections_out(
    version: str, vllm: str, brought: bool, stack_of: StackOf
) -> None:
    stack = stack_of(vllm=f"{{version: {version}{vllm}}}", instance_type_group="{name: group, gpu: L4}")
    assert set(build_package(stack).files) == {*ALWAYS, *((*PLUGINS, FRONT_ENDS) if brought else ())}


def test_one_api_server_on_a_cpu_brings_no_plugin(stack_of: StackOf) -> None:
    stack = stack_of(vllm="{version: 0.32.0}", instance_type_group="{name: group, gpu: CPU}")
    assert set(build_package(stack).files) == ALWAYS


def test_encoder_graphs_come_along_where_they_were_measured(stack_of: StackOf) -> None:
    on_an_h100 = stack_for(stack_of, "0.26.0", "H100", TURBO)
    assert set(build_package(on_an_h100).files) == {*ALWAYS, *PLUGINS, SCHEDULER, FRONT_ENDS}


@pytest.mark.parametrize(
    "vllm",
    [
        ", tensor_parallel_size: 2", ", dtype: float32", ", args: {data-parallel-size: 1}",
        ", args: {scheduler_cls: my.Scheduler}", ", args: {kv-cache-memory-bytes: 5G}",
        ", args: {async-scheduling: false}", ", dtype: float", ", args: {num_gpu_blocks_override: 100}",
        ", args: {data-parallel-rpc-port: 5000}", ", gpu_memory_utilization: 0.1", ", max_num_batched_tokens: 5000000",
    ],
)  # fmt: skip
def test_who_says_otherwise_about_engines_gets_one(stack_of: StackOf, vllm: str) -> None:
    stack = on_an_h200(stack_of, vllm, ", gpu_count: 2" if "tensor" in vllm else "")
    assert launch(stack).sharing is None
    assert set(build_package(stack).files) == {*ALWAYS, *PLUGINS, FRONT_ENDS}


def test_written_limits_hold_for_engines_that_share_a_gpu(stack_of: StackOf) -> None:
    limits = ", max_num_seqs: 4, max_num_batched_tokens: 6000, gpu_memory_utilization: 0.8"
    words = sharing(stack_of, limits).arguments
    assert value(words, "--max-num-seqs") == "4"
    assert value(words, "--max-num-batched-tokens") == "6000"
    assert value(words, "--gpu-memory-utilization") == "0.267"
    # What vLLM counts for one request, twice: four recordings would need less.
    assert value(words, "--kv-cache-memory-bytes") == str(2 * 6448 * 20480)
    many = sharing(stack_of, ", max_num_seqs: 100000").arguments
    assert value(many, "--max-num-batched-tokens") == "100000"
    assert int(value(many, "--kv-cache-memory-bytes")) < 0.3 * 141e9


def test_written_arguments_become_words(stack_of: StackOf) -> None:
    args = (
        "{enforce_eager: true, enable-prefix-caching: false, allowed-origins: ['*'], uvicorn-log-level: warning,"
        " middleware: [a.b, c.d], chat-template: '-x', compilation-config: {mode: 3}, shutdown-timeout: 5}"
    )
    start = launch(stack_of(vllm=f"{{version: 0.26.0, args: {args}}}"))
    text = " ".join(start.arguments)
    for expected in (
        "--enforce-eager", "--no-enable-prefix-caching", '--allowed-origins ["*"]', "--uvicorn-log-level warning",
        "--middleware=a.b --middleware=c.d", "--chat-template=-x", '--compilation-config {"mode": 3}',
        "--shutdown-timeout 5",
    ):  # fmt: skip
        assert expected in text
    assert text.count("--shutdown-timeout") == 1
    assert start.shutdown_timeout == 5


def test_before_0_13_the_backend_is_a_variable(stack_of: StackOf) -> None:
    stack = stack_of(vllm="{version: 0.12.0, args: {attention-backend: FLASH_ATTN}}")
    start = launch(stack)
    assert start.environment["VLLM_ATTENTION_BACKEND"] == "FLASH_ATTN"
    assert "--attention-backend" not in start.arguments


@pytest.mark.parametrize("gpu", ["T4", "L4"])
def test_the_variable_becomes_the_flag_where_both_exist(stack_of: StackOf, gpu: str) -> None:
    stack = stack_of(
        vllm="{version: 0.13.0}",
        instance_type_group=f"{{name: g, gpu: {gpu}}}",
        env="{VLLM_ATTENTION_BACKEND: FLEX_ATTENTION}",
    )
    words = launch(stack).arguments
    assert words[words.index("--attention-backend") + 1] == "FLEX_ATTENTION"


def test_the_served_name_comes_first_and_the_models_own_is_an_alias(stack_of: StackOf) -> None:
    stack = stack_of(model="{name: openai/whisper-small, revision: main, served_name: asr}")
    assert launch(stack).served_names == ("asr", "openai/whisper-small")
