"""How many requests to have in flight, told by what came of the last ones. Pure: times are handed in.

A level is kept until as many requests as it allows were begun and answered under it (half as many while it doubles:
those that it came with); the mean latency of the last of them gives the throughput (Little's law: level / latency).
Throughput decides: the level doubles while that brings more, then moves by a quarter up and down. A server that batches
answers each request later the more it has, and does more all the same, so that latency alone would stop too early. Two
signs act at once: a refusal (429, or 503 while others are answered), and a quarter of the level's answers that take
nearly twice as long as its number explains: then the capacity has gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

FIRST, MOST = 8, 1024
"""Requests in flight to begin with, and at most."""
_FEWEST = 6
"""Answers that a judgement needs."""
_DOUBLED, _STEPPED = 1.12, 1.04
"""Throughput over that before, from which on twice the level, or a quarter more, is worth it."""
_AS_GOOD = 0.97
"""Throughput over that before, from which on fewer at a time are as good."""
_GONE = 1.8
"""Latency over what the level explains, from which on capacity has gone."""
_STEP = 1.25
_IDLE = 1.3
"""Latency over the shortest ever, up to which nobody can have waited in line."""
_IN_LINE = 2.0
"""Latency over the shortest ever, up to which a level is kept when capacity has gone."""
_LONGEST_REST = 8
"""Judgements of one level between two tries of another, at most."""


@dataclass(frozen=True, slots=True)
class _Judged:
    """A level, and what it gave."""

    level: int
    throughput: float
    """Answers a second."""

    @property
    def latency(self) -> float:
        return self.level / self.throughput


class Pace:
    """The level of one endpoint; whoever shares it between threads holds a lock."""

    def __init__(self, fixed: int | None = None) -> None:
        """Begin at `fixed`, which stays and may be anything, or at `FIRST`."""
        self.level = fixed or FIRST
        self.most = fixed or MOST
        self._fixed = fixed is not None
        self._since = 0.0
        self._answered: list[tuple[float, float]] = []
        self._ended = 0
        """Answers since the level was taken, whenever they were asked for."""
        self._shortest, self._fell = inf, False
        self._trying: Literal["twice", "half", "more", "less"] | None = "twice"
        self._best: _Judged | None = None
        self._rest, self._rested, self._next_up = 1, 0, True
        self._ceiling, self._lifted = MOST, 0.0

    def answered(self, begun: float, ended: float, *, full: bool) -> None:
        """A request was answered.

        Args:
            begun: seconds, when it was sent.
            ended: seconds, now.
            full: whether as many as the level allows were in flight meanwhile: otherwise it says nothing about it.
        """
        self._ended += 1
        if self._fixed or begun < self._since or not full:
            return
        self._answered.append((begun, ended - begun))
        self._shortest = min(self._shortest, max(ended - begun, 1e-6))
        if self._has_gone(ended):
            return
        doubles = self._trying == "twice" and self._best is not None
        if len(self._answered) >= max(self.level // 2 if doubles else self.level, _FEWEST):
            later = sorted(self._answered)[len(self._answered) * (3 if doubles else 2) // 4 :]
            latency = max(sum(took for _, took in later) / len(later), 1e-6)
            throughput = self.level / latency
            if doubles:  # a client that is slow to send fills the level bit by bit, and the first are answered sooner
                throughput = min(throughput, self._ended / max(ended - self._since, 1e-6))
            self._judge(_Judged(self.level, throughput), ended)

    def _has_gone(self, now: float) -> bool:
        """Follow a capacity that has gone, seen by the last answers alone."""
        last = self._answered[-max(self.level // 4, _FEWEST) :]
        if self._best is None or len(last) < max(self.level // 4, _FEWEST):
            return False
        latency = sum(took for _, took in last) / len(last)
        explained = self._best.latency * max(1.0, self.level / self._best.level)
        if latency <= _GONE * explained:
            return False
        ends = [begun + took for begun, took in last]
        rate = (len(ends) - 1) / max(max(ends) - min(ends), 1e-6)
        level = min(self.level * explained / latency, self._best.level * rate / self._best.throughput)
        self._best, self._trying, self._rest, self._fell = None, None, 1, True
        self._move(round(level * 1.1), now)
        return True

    def refused(self, begun: float, now: float) -> None:
        """A request was refused for being one too many; a burst of them counts once."""
        if self._fixed or begun <= self._since:
            return
        self._ceiling, self._lifted = max(1, self.level - 1), now
        self._trying, self._best = None, None
        self._rest = _LONGEST_REST
        self._move(int(self.level * 0.75), now)

    def _judge(self, seen: _Judged, now: float) -> None:
        trying, best = self._trying, self._best
        if trying is None or best is None:
            self._keep(seen, now)
        elif trying == "twice":
            self._after_twice(seen, best, now)
        elif trying == "more":
            if seen.throughput >= best.throughput * _STEPPED:
                self._best = seen
                self._try("twice" if seen.throughput >= best.throughput * _DOUBLED else "more", now)
            else:
                self._back(best, now)
        elif seen.throughput >= best.throughput * (_AS_GOOD if trying == "less" else 1 / _DOUBLED):
            self._best = seen
            self._try(trying, now)
        else:
            self._back(best, now)

    def _keep(self, seen: _Judged, now: float) -> None:
        """The level was kept: go on resting, or try another."""
        if self._fell:  # the first sign of it does not tell how far
            self._fell = seen.latency > _IN_LINE * self._shortest
            if self._fell:
                self._move(round(seen.level * 1.5 * self._shortest / seen.latency), now)
                return
        self._best = seen
        if self._trying == "twice":
            self._try("twice", now)
            return
        self._rested += 1
        if self._rested < self._rest:
            self._move(self.level, now)
            return
        self._rested = 0
        self._rest = min(self._rest * 2, _LONGEST_REST)
        self._next_up = not self._next_up
        self._try("less" if self._next_up else "more", now)

    def _after_twice(self, seen: _Judged, best: _Judged, now: float) -> None:
        if seen.throughput >= best.throughput * _DOUBLED:
            self._best = seen
            self._try("twice", now)
        elif best.level == FIRST and best.latency > _IDLE * self._shortest:
            # It may be too much already; and the very first answers came from an idle server.
            self._best = _Judged(FIRST, min(best.throughput, seen.throughput))
            self._try("half", now)
        else:
            self._back(best, now)

    def _try(self, trying: Literal["twice", "half", "more", "less"], now: float) -> None:
        """Take another level; stay where there is none."""
        assert self._best is not None
        level = self._best.level
        ceiling = self._ceiling if now - self._lifted < 100 * self._best.latency else MOST
        wanted = {
            "twice": min(2 * level, ceiling),
            "more": min(max(level + 1, round(level * _STEP)), ceiling),
            "half": max(1, level // 2),
            "less": max(1, min(level - 1, round(level / _STEP))),
        }[trying]
        self._trying = trying if wanted != level else None
        self._move(wanted, now)

    def _back(self, best: _Judged, now: float) -> None:
        self._trying, self._best, self._rested = None, best, 0
        self._move(best.level, now)

    def _move(self, level: int, now: float) -> None:
        self.level = min(max(1, level), MOST)
        self._since, self._answered, self._ended = now, [], 0
