"""Requests in flight to one endpoint, as many as its pace allows; safe to share between threads.

A piece takes a slot before a thread sends it and gives it back when its transcript is there, pauses between tries
included: who is refused leaves its slot empty rather than to the next one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from whisperctl.clock import Clock
from whisperctl.errors import Interrupted
from whisperctl.transcribe.pace import Pace

_REFUSED, _UNAVAILABLE = 429, 503


class Slots:
    """The slots of one endpoint."""

    def __init__(self, pace: Pace, clock: Clock, paced: Callable[[int], None] = lambda _level: None) -> None:
        """Have all of them free.

        Args:
            pace: tells how many there are.
            clock: whose seconds the requests are timed in.
            paced: is told when their number changes.
        """
        self._pace, self._clock, self._paced = pace, clock, paced
        self._changed = threading.Condition()
        self._taken = 0
        self._last_full = 0.0
        self._last_answered: float | None = None
        self._stopped = False

    @property
    def most(self) -> int:
        """How many there will ever be."""
        return self._pace.most

    def take(self) -> None:
        """Take one, as soon as one is free.

        Raises:
            Interrupted: `stop` was called.
        """
        with self._changed:
            while self._taken >= self._pace.level and not self._stopped:
                self._changed.wait()
            if self._stopped:
                raise Interrupted("stopped")
            self._taken += 1
            if self._taken >= self._pace.level:
                self._last_full = self._clock.monotonic()

    def give_back(self) -> None:
        """Let somebody else have one."""
        with self._changed:
            self._taken -= 1
            self._changed.notify()

    def stop(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def seen(self, begun: float, status: int) -> None:
        """A request that was sent at `begun` was answered with `status`."""
        with self._changed:
            now, before = self._clock.monotonic(), self._pace.level
            if status == _REFUSED or (status == _UNAVAILABLE and self._serves(begun)):
                self._pace.refused(begun, now)
            elif status < 300:
                self._last_answered = now
                self._pace.answered(begun, now, full=self._last_full >= begun)
            level = self._pace.level
            if level > before:
                self._changed.notify(level - before)
        if level != before:
            self._paced(level)

    def _serves(self, begun: float) -> bool:
        """Whether others were answered meanwhile; a deployment that sleeps answers 503 to everybody."""
        return self._last_answered is not None and self._last_answered >= begun
