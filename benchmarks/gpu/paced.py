"""An experiment: a vLLM scheduler that admits new recordings on every few engine steps only.

Whisper's encoder runs eagerly. Launching its kernels takes the engine longer than the GPU needs for them when a step
encodes one or two recordings. Waiting a few steps makes fewer and fuller encoder calls, and the steps between them can
use CUDA graphs. An idle server admits at once; a step that could not take all that waited is followed by another.

For `--scheduler-cls paced.PacedScheduler`, which vLLM calls no public interface; written for 0.26. The environment
variable PACED_STEPS sets the pace.
"""

from __future__ import annotations

import os
from typing import Any

from vllm.v1.core.sched.async_scheduler import AsyncScheduler

EVERY = int(os.environ.get("PACED_STEPS", "8"))


class PacedScheduler(AsyncScheduler):
    """vLLM's own scheduler, told to hold new requests back on most steps."""

    steps = 0

    def schedule(self, throttle_prefills: bool = False) -> Any:
        """One step; `throttle_prefills` is vLLM's own word for it, used there to keep several engines in step."""
        self.steps += 1
        return super().schedule(throttle_prefills or self.steps % EVERY != 0)
