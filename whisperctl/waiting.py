"""Waiting for UbiOps: polls with growing pauses, a deadline, and an end when the user interrupts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from whisperctl.clock import Clock
from whisperctl.errors import Interrupted, TimedOut

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 8.0
"""Seconds between polls: with ten builds at once still a quarter of UbiOps' 300 requests a minute."""

T = TypeVar("T")


class StoppableClock:
    """The machine's clock whose sleeps end, with Interrupted, once `stop` is set."""

    def __init__(self) -> None:
        self.stop = threading.Event()

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        return time.monotonic()

    def time(self) -> float:
        """Seconds since 1970, UTC."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Return after `seconds`, or raise Interrupted as soon as the user interrupts."""
        if self.stop.wait(seconds):
            raise Interrupted("interrupted")


def wait_for(
    ask: Callable[[], T],
    done: Callable[[T], bool],
    *,
    clock: Clock,
    timeout: float,
    what: str,
    advice: str = "",
    tick: Callable[[], None] = lambda: None,
) -> T:
    """Ask until `done`; `tick` runs after each answer that is not.

    Raises:
        TimedOut: `timeout` seconds went by; it names `what` was waited for.
    """
    start = clock.monotonic()
    pause = FIRST_PAUSE
    while True:
        answer = ask()
        if done(answer):
            return answer
        tick()
        if clock.monotonic() - start >= timeout:
            raise TimedOut(f"Timed out after {timeout:g} s waiting for {what}." + (f"\n  {advice}" if advice else ""))
        clock.sleep(min(pause, max(timeout - (clock.monotonic() - start), 0.01)))
        pause = min(pause * 1.5, LONGEST_PAUSE)
