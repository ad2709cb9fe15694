"""Proof from the real wheels: every rendered flag and variable exists in the release it is rendered for."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from whisperctl import catalog
from whisperctl.command import launch

from .wheels import Unreachable, functions, options, sources, variables

DEPLOYMENT_SETS = {
    *("--host", "--port", "--served-model-name", "--max-model-len", "--api-server-count", "--headless"),
    *("--data-parallel-size", "--data-parallel-size-local", "--data-parallel-start-rank"),
    *("--data-parallel-address", "--data-parallel-rpc-port"),
}
"""Options that the rendered code itself adds."""


def readable(version: str) -> Mapping[str, str]:
    """The release's own source; the test is skipped where it cannot be had."""
    try:
        return sources(version)
    except Unreachable as reason:
        pytest.skip(f"the wheel's source cannot be read: {reason}")


@pytest.mark.parametrize("version", ["0.12.0", "0.19.1", "0.26.0", "0.33.0"])
def test_every_rendered_flag_exists_in_the_wheel(version, stack_of):
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


@pytest.mark.parametrize("version", ["0.24.0", "0.26.0", "0.32.0", "0.33.0"])
def test_what_engines_share_a_gpu_with_exists_in_the_wheel(version, stack_of):
    files = readable(version)
    stack = stack_of(
        model="{name: openai/whisper-large-v3-turbo}",
        vllm=f"{{version: {version}}}",
        instance_type_group="{name: g, gpu: H200}",
    )
    words = launch(stack).sharing.arguments
    assert {word for word in words if word.startswith("--")} <= set(options(files))
    scheduler = functions(files["vllm/v1/core/sched/scheduler.py"], "Scheduler")
    if "--scheduler-cls" in words:
        # What whisperctl_scheduler.py builds on; from 0.33 on vLLM keeps the pace that it is told.
        assert scheduler["schedule"] == ["self", "throttle_prefills"]
        assert "schedule" not in functions(files["vllm/v1/core/sched/async_scheduler.py"], "AsyncScheduler")
        output = files["vllm/v1/core/sched/output.py"]
        assert "scheduled_new_reqs: " in output
        assert "total_num_scheduled_tokens: " in output
    else:
        assert "self.local_prefill_interval = (" in files["vllm/v1/core/sched/scheduler.py"]


@pytest.mark.parametrize("version", ["0.12.0", "0.33.0"])
def test_the_catalogue_lists_what_the_wheel_declares(version):
    files = readable(version)
    declared = options(files)
    assert set(declared) == set(catalog.options(version))
    assert declared == {name: catalog.option_kind(version, name) for name in declared}
    assert variables(files) == set(catalog.variables(version))
