"""An experiment: a vLLM scheduler that lets some engine steps pass between two that admit recordings.

Whisper's encoder runs eagerly. Launching its kernels takes the engine longer than the GPU needs for them when a step
encodes one or two recordings. Waiting a few steps makes fewer and fuller encoder calls, and the steps between them can
use CUDA graphs. An idle server admits at once; a step that could not take all that waited is followed by another.
From 0.33 on vLLM does this by itself, with `--prefill-schedule-interval`.

For `--scheduler-cls paced.PacedScheduler`, which vLLM calls no public interface; written for 0.24 to 0.32. The
environment variable PACED_STEPS sets the pace.
"""

from __future__ import annotations

import os
from typing import Any

from vllm.v1.core.sched.async_scheduler import AsyncScheduler

EVERY = int(os.environ.get("PACED_STEPS", "8"))


class PacedScheduler(AsyncScheduler):
    """vLLM's own scheduler, told to hold new requests back until enough steps have passed since it took some."""

    steps = EVERY
    """Steps that did something since the last one that took new requests, which counts as the first."""

    def schedule(self, throttle_prefills: bool = False) -> Any:
        """One step; `throttle_prefills` is vLLM's own word for it, used there to keep several engines in step."""
        output = super().schedule(throttle_prefills or self.steps < EVERY)
        if output.scheduled_new_reqs:
            self.steps = 1
        elif output.total_num_scheduled_tokens:
            self.steps += 1
        return output
