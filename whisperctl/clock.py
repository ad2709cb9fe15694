"""Time, handed in: every wait and back-off takes a `Clock`, so that a test never sleeps on real time."""

from __future__ import annotations

import math
import os
import random
import select
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from whisperctl.errors import Interrupted

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Backoff:
    """Pauses between tries of one thing: how long the first is, how much longer each next one, and at most."""

    first: float
    """Seconds."""
    factor: float = 2.0
    longest: float = math.inf
    """Seconds."""
    jitter: float = 0.0
    """Share of a pause that chance may take off it, so that many who wait do not come back at once."""

    def pauses(self, chance: Callable[[], float] = random.random) -> Iterator[float]:
        """Seconds before the second try, the third, and so on without end."""
        pause = self.first
        while True:
            yield min(pause, self.longest) * (1 - self.jitter * chance())
            pause = min(pause * self.factor, self.longest)


class Stop:
    """Like `threading.Event`, but `set` takes no lock and wakes every wait at once.

    A signal's handler runs in the main thread, also while that holds the lock of an Event, and would wait for itself.
    Here it writes a byte to a pipe, which nobody reads: from then on every wait finds something to read.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        weakref.finalize(self, _close, self._reader, self._writer)

    def set(self) -> None:
        """End all waits, those to come as well."""
        self._is_set = True
        with suppress(BlockingIOError):  # full of bytes that end the waits, too
            os.write(self._writer, b"x")

    def is_set(self) -> bool:
        """Whether the user has interrupted."""
        return self._is_set

    def wait(self, seconds: float) -> bool:
        """Return True as soon as it is set, or False after `seconds`."""
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        poll.poll(max(seconds, 0.0) * 1000)
        return self._is_set


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


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

    def boottime(self) -> float:
        """Seconds since the machine was started, those in which it slept included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def time(self) -> float:
        """Seconds since 1970, UTC."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Return after `seconds`.

        Raises:
            Interrupted: as soon as the user interrupts.
        """
        if self.stop.wait(seconds):
            raise Interrupted("interrupted")
