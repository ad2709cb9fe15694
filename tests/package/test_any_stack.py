"""Whatever `validate` lets through renders to Python that says what the stack says, with options that exist."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness.drawn import loaded_stack
from tests.harness.sweeps import EXHAUSTIVE
from tests.package.conftest import StackOf, text_of
from whisperctl.serving import catalog
from whisperctl.serving.launch import launch, replicas
from whisperctl.spec import Stack

ARGS = st.dictionaries(
    st.sampled_from([
        "enforce-eager", "no_enforce_eager", "--enforce-eager", "seed", "no-seed", "-tp",
        "data_parallel_size", "headless", "compilation-config", "compilation-config.mode", "max_logprobs",
        "attention-backend", "shutdown-timeout",
        "async-scheduling", "data-parallel-size", "middleware", "allowed-origins", "disable-log-stats", "port",
    ]),
    st.sampled_from([True, False, 1, "1", 8000, 0.5, "yes", "", "-x", None, [], ["a"], ["a b", "-c"], {"mode": 3}, {}]),
    max_size=3,
)  # fmt: skip
TEXT = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=20)
STACKS = st.fixed_dictionaries(
    {
        "apiVersion": st.just("whisperctl/v1"),
        "stack": st.just("any"),
        "model": st.fixed_dictionaries(
            {"name": st.sampled_from(["openai/whisper-large-v3-turbo", "openai/whisper-large-v3", "some/whisper"])},
            optional={"served_name": TEXT, "revision": st.just("0" * 40)},
        ),
        "vllm": st.fixed_dictionaries(
            {"version": st.sampled_from([row.version for row in catalog.releases()])},
            optional={
                "dtype": st.sampled_from(["auto", "float16", "half", "bfloat16", "float32", "float"]),
                "max_model_len": st.sampled_from([1, 100, 448, 449]),
                "gpu_memory_utilization": st.sampled_from([0.01, 0.1, 0.5, 1]),
                "tensor_parallel_size": st.sampled_from([1, 2, 3, 4]),
                "api_server_count": st.sampled_from(["auto", 1, 4]),
                "max_num_seqs": st.sampled_from(["auto", 1, 3, 500, 9000, 50_000]),
                "max_num_batched_tokens": st.sampled_from(["auto", 448, 1500, 12_000, 900_000]),
                "args": ARGS,
            },
        ),
        "deployment": st.just({"name": "any"}),
        "instance_type_group": st.fixed_dictionaries(
            {"name": st.just("g"), "gpu": st.sampled_from(["T4", "L4", "A10", "A100", "H100", "H200", "CPU"])},
            optional={"gpu_count": st.sampled_from([1, 2, 4, 8])},
        ),
        "version": st.just({"name": "v1"}),
        "env": st.dictionaries(st.sampled_from(["VLLM_ATTENTION_BACKEND", "OTHER"]), TEXT, max_size=2),
    }
)


@pytest.mark.exhaustive
@settings(max_examples=4000 if EXHAUSTIVE else 120, deadline=None, suppress_health_check=list(HealthCheck))
@given(written=STACKS)
def test_what_is_let_through_can_start(tmp_path: Path, written: dict[str, object]) -> None:
    stack = loaded_stack(tmp_path, written)
    start, source = launch(stack), text_of(stack)
    compile(source, "deployment.py", "exec")
    assert config_of(source) == start.as_data()
    known = catalog.variables(stack.vllm.version)
    assert {name for name in start.environment if name.startswith("VLLM_")} <= known
    check_words(stack, start.arguments)
    if start.sharing:
        assert replicas(stack) == 1
        check_words(stack, start.sharing.arguments)


@pytest.mark.parametrize(("value", "word"), [(True, "true"), (False, "false"), (["a b", "-c"], '["a b", "-c"]')])
def test_a_key_of_a_json_option_has_one_value(stack_of: StackOf, value: object, word: str) -> None:
    stack = stack_of(vllm=json.dumps({"version": "0.32.0", "args": {"compilation-config.mode": value}}))
    words = launch(stack).arguments
    assert words[words.index("--compilation-config.mode") + 1] == word
    check_words(stack, words)


def config_of(source: str) -> object:
    [assigned] = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and "CONFIG" in ast.dump(node.targets[0])
    ]
    return ast.literal_eval(assigned.value)


def check_words(stack: Stack, words: Sequence[str]) -> None:
    """Each option exists in the release and has what it takes; what vLLM asks of the numbers holds."""
    given: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            values = given[name] = [value] if equals else []
        else:
            values.append(word)
    for name, values in given.items():
        bare = name.partition(".")[0]
        positive = "--" + bare.removeprefix("--no-") if bare not in catalog.options(stack.vllm.version) else bare
        assert positive in catalog.options(stack.vllm.version), name
        kind = catalog.option_kind(stack.vllm.version, positive)
        assert (kind in ("switch", "bare")) == (not values), (name, values)
        assert len(values) <= 1 or kind == "list", (name, values)
        assert positive == bare or kind == "switch", name
    check_numbers(stack, given)


def check_numbers(stack: Stack, given: dict[str, list[str]]) -> None:
    def number(name: str, default: float) -> float:
        return float(given.get(name, [str(default)])[0])

    gpu = catalog.gpu(stack.instance_type_group.gpu)
    seqs = number("--max-num-seqs", gpu.default_num_seqs)
    default = min(gpu.default_batched_tokens, seqs * stack.vllm.max_model_len)
    batched = number("--max-num-batched-tokens", default)
    assert batched >= 1500
    assert batched >= seqs or "--max-num-seqs" not in given
    assert number("--kv-cache-memory-bytes", 1) >= 1
    if gpu.name != "CPU":
        engines = number("--data-parallel-size", 1) * number("--tensor-parallel-size", 1)
        assert engines <= stack.instance_type_group.gpu_count
