"""Time, handed in: every wait and back-off takes a `Clock`, so that a test never sleeps on real time."""

from __future__ import annotations

import time
from typing import Protocol

CLOCKS_APART = 7200
"""Seconds by which the clock here may lag behind that of UbiOps: what is asked until now is asked until then."""


class Clock(Protocol):
    """Seconds that only go forward, the wall clock, and a sleep, all in seconds."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""

    def time(self) -> float:
        """Seconds since 1970, UTC."""

    def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""


class SystemClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        return time.monotonic()

    def time(self) -> float:
        """Seconds since 1970, UTC."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        time.sleep(seconds)


def latest_moment(clock: Clock) -> int:
    """Nanoseconds since 1970: the end of a question about everything until now, by UbiOps' clock or by ours."""
    return int((clock.time() + CLOCKS_APART) * 1e9)
