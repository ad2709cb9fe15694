"""Waiting for UbiOps: polls with growing pauses, a deadline, and an end when the user interrupts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from whisperctl.clock import Backoff, StoppableClock
from whisperctl.errors import TimedOut

PAUSES = Backoff(first=0.2, factor=1.5, longest=60.0)
LONGEST_PAUSE = 8.0
"""Seconds between polls of one wait, as long as there are few of them."""
PAUSE_EACH = 0.8
"""Seconds that each wait adds to the pause of all, once there are many: together they ask at most 75 times a minute,
a quarter of what UbiOps allows, and leave as much for the logs."""

T = TypeVar("T")


def looks(clock: StoppableClock, timeout: float) -> Iterator[float]:
    """The seconds waited so far, before each look at what is waited for; ends once `timeout` seconds went by.

    Raises:
        Interrupted: the user interrupted.
    """
    start = clock.monotonic()
    with clock.waiting():
        for pause in PAUSES.pauses():
            yield clock.monotonic() - start
            left = timeout - (clock.monotonic() - start)
            if left <= 0:
                return
            clock.sleep(min(pause, left, max(LONGEST_PAUSE, clock.waits * PAUSE_EACH)))


def wait_for(
    ask: Callable[[], T],
    done: Callable[[T], bool],
    *,
    clock: StoppableClock,
    timeout: float,
    what: str,
    advice: str = "",
    tick: Callable[[], None] = lambda: None,
) -> T:
    """Ask until `done`; `tick` runs after each answer that is not.

    Raises:
        TimedOut: `timeout` seconds went by; it names `what` was waited for.
    """
    for _ in looks(clock, timeout):
        answer = ask()
        if done(answer):
            return answer
        tick()
    raise TimedOut(f"Timed out after {timeout:g} s waiting for {what}." + (f"\n  {advice}" if advice else ""))
