"""Waiting for UbiOps: polls with growing pauses, a deadline, and an end when the user interrupts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from whisperctl.errors import Interrupted, TimedOut

FIRST_PAUSE = 0.2
LOOK_EACH = 0.1
"""Seconds after which a wait looks whether the user has interrupted."""
LONGEST_PAUSE = 8.0
"""Seconds between polls of one wait."""
PAUSE_EACH = 0.8
"""Seconds that each wait adds to the pause of all, once there are many: together they ask at most 75 times a minute,
a quarter of what UbiOps allows, and leave as much for the logs."""

T = TypeVar("T")


class Stop:
    """Like `threading.Event`, but `set` takes no lock.

    A signal's handler runs in the main thread, also while that holds the lock of an Event, and would wait for itself.
    """

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        """End all waits, those to come as well."""
        self._is_set = True

    def is_set(self) -> bool:
        """Whether it is."""
        return self._is_set

    def wait(self, seconds: float) -> bool:
        """Return True as soon as it is set, or False after `seconds`."""
        end = time.monotonic() + seconds
        while not self._is_set and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_EACH))
        return self._is_set


class StoppableClock:
    """The machine's clock whose sleeps end, with Interrupted, once `stop` is set."""

    def __init__(self) -> None:
        self.stop = Stop()
        self.waits = 0
        self._lock = threading.Lock()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count one wait more while this lasts."""
        with self._lock:
            self.waits += 1
        try:
            yield
        finally:
            with self._lock:
                self.waits -= 1

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
    start = clock.monotonic()
    pause = FIRST_PAUSE
    with clock.waiting():
        while True:
            answer = ask()
            if done(answer):
                return answer
            tick()
            left = timeout - (clock.monotonic() - start)
            if left <= 0:
                raise TimedOut(
                    f"Timed out after {timeout:g} s waiting for {what}." + (f"\n  {advice}" if advice else "")
                )
            clock.sleep(min(pause, left))
            pause = min(pause * 1.5, max(LONGEST_PAUSE, clock.waits * PAUSE_EACH))
