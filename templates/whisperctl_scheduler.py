"""vLLM's own scheduler, taking recordings in on every few engine steps only. Rendered by whisperctl.

Whisper's encoder runs eagerly: launching its kernels for one recording takes as long as for ten. Waiting some steps
makes fewer and fuller encoder calls, and lets the steps between them use CUDA graphs. An idle engine takes recordings
in at once, and a step that could not take all that waited is followed by another. vLLM 0.33 does the same by itself
for --prefill-schedule-interval; from 0.24 on its scheduler can be told to, as here.
"""

from __future__ import annotations

from typing import Any

from vllm.v1.core.sched.async_scheduler import AsyncScheduler

INTERVAL: int = 1  # whisperctl:config


class PacedScheduler(AsyncScheduler):
    """For --scheduler-cls."""

    steps = INTERVAL  # since the last one that took recordings in, which counts as the first

    def schedule(self, throttle_prefills: bool = False) -> Any:
        """One engine step; `throttle_prefills` is vLLM's word for taking nothing new in."""
        output = super().schedule(throttle_prefills or self.steps < INTERVAL)
        if output.scheduled_new_reqs:
            self.steps = 1
        elif output.total_num_scheduled_tokens:
            self.steps += 1
        return output
