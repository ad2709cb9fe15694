"""UbiOps' rate limit as its answers tell it: how many requests are left in this window, and when the next one begins.

Ordinary requests leave the last two of a window to the urgent ones (renewals of a lease), which never wait here.
Headers: `x-ratelimit-remaining` and `x-ratelimit-reset` in seconds (UbiOps reference, rate limits).
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Mapping

from whisperctl.clock import Clock

LEFT_OVER = 2
"""Requests of each window that ordinary ones leave: a lease is renewed by a GET and a PATCH."""


class RateLimit:
    """The window that all requests of one session share."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._left: int | None = None
        self._ends = 0.0

    def wait(self) -> None:
        """Return when an ordinary request may be sent: at once, or once the window is over."""
        with self._lock:
            pause = self._ends - self._clock.monotonic()
            if self._left is None or pause <= 0:
                self._left = None
                return
            if self._left > LEFT_OVER:
                self._left -= 1
                return
        self._clock.sleep(pause)
        with self._lock:
            self._left = None

    def learn(self, headers: Mapping[str, str]) -> None:
        """Take in what an answer tells."""
        with contextlib.suppress(KeyError, ValueError):
            left, reset = int(headers["x-ratelimit-remaining"]), float(headers["x-ratelimit-reset"])
            if not math.isfinite(reset):
                return
            ends = self._clock.monotonic() + min(max(reset, 0.0), 300.0)
            with self._lock:
                # Answers arrive out of order: within one window the lowest figure is the latest.
                same = self._left is not None and ends < self._ends + 2.0
                self._left = min(left, self._left or 0) if same else left
                self._ends = ends
