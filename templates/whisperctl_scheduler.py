"""vLLM's own scheduler, taking recordings in and sending tokens on every few engine steps only. Rendered by whisperctl.

Waiting some steps before recordings are taken in makes fewer and fuller encoder calls, and lets the steps between them
use CUDA graphs. An idle engine takes recordings in at once, and a step that could not take all that waited is followed
by another. vLLM 0.33 does the same by itself for --prefill-schedule-interval; from 0.24 on its scheduler can be told
to, as here.

vLLM sends a recording's token of each step to its front end in a message of that step. Here the first token and the
last are sent at once, those between them TOGETHER at a time: the same tokens in fewer messages.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.engine import EngineCoreOutput

INTERVAL: int = 1  # whisperctl:config
TOGETHER = 16


class PacedScheduler(AsyncScheduler):
    """For --scheduler-cls."""

    steps = INTERVAL  # since the last one that took recordings in, which counts as the first

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.unsent: dict[str, list[int]] = {}

    def schedule(self, throttle_prefills: bool = False) -> Any:
        """One engine step; `throttle_prefills` is vLLM's word for taking nothing new in."""
        output = super().schedule(throttle_prefills or self.steps < INTERVAL)
        if output.scheduled_new_reqs:
            self.steps = 1
        elif output.total_num_scheduled_tokens:
            self.steps += 1
        return output

    def update_from_output(self, scheduler_output: Any, model_runner_output: Any) -> Any:
        """What a step made, by front end."""
        by_client = super().update_from_output(scheduler_output, model_runner_output)
        due = sent_together(by_client, self.unsent)
        forget_aborted(self.unsent, self.requests)
        return due


def sent_together(by_client: dict[int, Any], unsent: dict[str, list[int]]) -> dict[int, Any]:
    """`by_client` (vLLM's EngineCoreOutputs) without the tokens that wait for more, which go into `unsent`."""
    for outputs in by_client.values():
        outputs.outputs = [output for output in outputs.outputs if _is_due(output, unsent)]
    return {client: outputs for client, outputs in by_client.items() if not _says_nothing(outputs)}


def forget_aborted(unsent: dict[str, list[int]], requests: Container[str]) -> None:
    """Drop the tokens of what is no request any more: whoever waited for them is gone, or has them all."""
    for request in [request for request in unsent if request not in requests]:
        del unsent[request]


def _is_due(output: Any, unsent: dict[str, list[int]]) -> bool:
    """Whether it is sent now, with what waited; anything but tokens is."""
    request, tokens = output.request_id, output.new_token_ids
    only_tokens = output == EngineCoreOutput(request, tokens)
    if waiting := unsent.pop(request, None):
        output.new_token_ids = tokens = waiting + tokens
    if only_tokens and len(tokens) < TOGETHER:
        unsent[request] = tokens
        return False
    return True


def _says_nothing(outputs: Any) -> bool:
    return not outputs.outputs and not outputs.finished_requests and outputs.scheduler_stats is None
