"""Requests in flight to one or several endpoints, as many to each as its pace allows; safe to share between threads.

A piece takes a slot before a thread sends it and gives it back when its transcript is there, pauses between tries
included: who is refused leaves its slot empty rather than to the next one. Of several endpoints it gets a slot of the
one that has the most room.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from whisperctl.clock import Clock
from whisperctl.errors import Interrupted
from whisperctl.transcribe.pace import Pace

_REFUSED, _UNAVAILABLE = 429, 503


@dataclass(slots=True)
class _Taken:
    """How one endpoint's slots are used."""

    pace: Pace
    taken: int = 0
    last_full: float = 0.0
    last_answered: float | None = None
    closed: bool = False

    @property
    def room(self) -> float:
        """Which part of its slots is free; nothing or less if none is."""
        return 0.0 if self.closed else 1 - self.taken / self.pace.level


class Slots:
    """The slots of some endpoints, which are called by their numbers."""

    def __init__(self, paces: Sequence[Pace], clock: Clock, paced: Callable[[int], None] = lambda _level: None) -> None:
        """Have all of them free.

        Args:
            paces: tell how many each endpoint has.
            clock: whose seconds the requests are timed in.
            paced: is told when their number changes.
        """
        self._all = [_Taken(pace) for pace in paces]
        self._clock, self._paced = clock, paced
        self._changed = threading.Condition()
        self._stopped = False

    @property
    def most(self) -> int:
        """How many there will ever be."""
        return sum(one.pace.most for one in self._all)

    def take(self) -> int:
        """Take one, as soon as one is free; the endpoint that it is of.

        Raises:
            Interrupted: `stop` was called.
        """
        with self._changed:
            while True:
                if self._stopped:
                    raise Interrupted("stopped")
                number, one = max(enumerate(self._all), key=lambda each: each[1].room)
                if one.room > 0:
                    break
                self._changed.wait()
            one.taken += 1
            if one.taken >= one.pace.level:
                one.last_full = self._clock.monotonic()
            return number

    def give_back(self, number: int) -> None:
        """Let somebody else have one."""
        with self._changed:
            self._all[number].taken -= 1
            self._changed.notify()

    def close(self, number: int) -> bool:
        """Take no more of an endpoint if there are others; whether there are."""
        with self._changed:
            if all(one.closed for other, one in enumerate(self._all) if other != number):
                return False
            self._all[number].closed = True
            self._changed.notify_all()
            return True

    def stop(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def seen(self, number: int, begun: float, status: int) -> None:
        """A request to an endpoint that was sent at `begun` was answered with `status`."""
        with self._changed:
            one, now = self._all[number], self._clock.monotonic()
            before = one.pace.level
            if status == _REFUSED or (status == _UNAVAILABLE and _serves(one, begun)):
                one.pace.refused(begun, now)
            elif status < 300:
                one.last_answered = now
                if one.taken >= before:  # also while more are out than the level allows now
                    one.last_full = now
                one.pace.answered(begun, now, full=one.last_full >= begun)
            level = one.pace.level
            if level > before:
                self._changed.notify(level - before)
            in_all = sum(each.pace.level for each in self._all if not each.closed)
        if level != before:
            self._paced(in_all)


def _serves(one: _Taken, begun: float) -> bool:
    """Whether others were answered meanwhile; a deployment that sleeps answers 503 to everybody."""
    return one.last_answered is not None and one.last_answered >= begun
