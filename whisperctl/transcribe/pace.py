"""How many requests to have in flight, told by what came of the last ones. Pure: times are handed in.

A level is kept until as many requests as it allows were begun and answered under it (half as many while it doubles:
those that it came with); the mean latency of the last of them gives the throughput (Little's law: level / latency), or
the answers a second if they are fewer. Where answers differ much, more of them are waited for, and the quick ones, that
come first, are no sign by themselves. Throughput decides: the level doubles while that brings more, then moves by a
quarter up and down. A server that batches answers each request later the more it has, and does more all the same, so
that latency alone would stop too early. But where the quick ones of the last requests are as quick as before, nobody
waits in line, and the level doubles at once: of short and long requests in any order that tells most. Two signs act at
once: a refusal (429, or 503 while others are answered), and answers that come little more than half as often as the
level's throughput explains while even quick ones are late: then capacity has gone, and the level goes down with it, by
what the first answers tell and once more by what the next ones do.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import sqrt
from typing import Literal

FIRST, MOST = 8, 1024
"""Requests in flight to begin with, and at most."""
_FEWEST, _FEWEST_ENDS, _FEWEST_AGAIN = 6, 16, 8
"""Answers that a judgement needs, that tell a capacity that has gone, and that tell how much has."""
_FIRST_WAITED = 4
"""Times the answers that the first judgement needs, after which it waits no longer for those that were out first."""
_BLURRED_DOUBLED, _BLURRED, _ENOUGH = 0.15, 0.08, 100
"""Likely error of a mean latency from which on it tells nothing of a level, or of one a quarter away; and answers that
must do all the same."""
_DOUBLED, _STEPPED = 1.16, 1.04
"""Throughput over that before, from which on twice the level, or a quarter more, was worth it."""
_SOARED = 1.12
"""Throughput of a quarter more over that before, from which on twice the level is tried next."""
_AS_GOOD = 0.97
"""Throughput over that before, from which on fewer at a time are as good."""
_GONE = 1.8
"""Throughput over the answers a second, from which on capacity has gone."""
_STEP = 1.25
_LATE = 1.3
"""Quick answers over those of the best level, from which on requests wait in line."""
_ALIKE = 1.5
"""Longest over shortest of some answers, up to which they are all late rather than short and long."""
_LOOKED_AT, _MOST_OF_IT = 64, 0.6
"""Answers among which the longest is looked for, and the part of it that is waited for: all of it would take too long
to find a level, and found none better in simulations of service times that differ twentyfold."""
_MIXED = 3.0
"""Longest of the last answers over the shortest, from which on short and long requests are mixed."""
_LONGEST_REST = 8
"""Judgements of one level between two tries of another, at most."""


@dataclass(frozen=True, slots=True)
class _Judged:
    """A level, and what it gave."""

    level: int
    throughput: float
    """Answers a second."""
    quick: float
    """Seconds that the quickest quarter of them took at most."""

    @property
    def latency(self) -> float:
        return self.level / self.throughput


def _quick(values: list[float]) -> float:
    """What the quickest quarter takes at most: it shows a line of requests, however long some of them take."""
    return sorted(values)[len(values) // 4]


def _mean(values: list[float]) -> tuple[float, float]:
    """The mean, and the part of it by which it is likely to be off: its standard error."""
    mean = max(sum(values) / len(values), 1e-6)
    variance = sum((value - mean) ** 2 for value in values) / max(len(values) - 1, 1)
    return mean, sqrt(variance / len(values)) / mean


class Pace:
    """The level of one endpoint; whoever shares it between threads holds a lock."""

    def __init__(self, fixed: int | None = None) -> None:
        """Begin at `fixed`, which stays and may be anything, or at `FIRST`."""
        self.level = fixed or FIRST
        self.most = fixed or MOST
        self._fixed = fixed is not None
        self._since = 0.0
        self._answered: list[tuple[float, float]] = []
        self._last = deque[tuple[float, float]](maxlen=2 * MOST)
        """When the last ones were sent, and how long they took."""
        self._took = deque[float](maxlen=_LOOKED_AT)
        """How long the last answers took."""
        self._ended = 0
        """Answers since the level was taken, whenever they were asked for."""
        self._ends = deque[float](maxlen=2 * MOST)
        """When the last answers came, as long as the level was full."""
        self._trying: Literal["twice", "half", "more", "less"] | None = "twice"
        self._best: _Judged | None = None
        self._fallen: _Judged | None = None
        """What was best before capacity went, until it is known what is left."""
        self._guessed = False
        """Whether the best level's throughput was told from a lower one's."""
        self._watched = True
        """Whether it is known well enough to tell a capacity that has gone."""
        self._settles = False
        """Whether the level was left and come back to: what is seen of it first is half of what was tried."""
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
        self._took.append(ended - begun)
        self._last.append((begun, ended - begun))
        if self._fixed or not full:
            self._ends.clear()
            return
        self._ends.append(ended)
        if self._has_gone(ended):
            return
        self._look_again(ended)
        if begun < self._since:
            return
        self._answered.append((begun, ended - begun))
        self._weigh(ended)

    def _weigh(self, now: float) -> None:
        """Judge the level if enough of what was sent under it is answered."""
        needed = max(self.level // 2 if self._doubles else self.level, _FEWEST)
        if len(self._answered) < needed or len(self._answered) % max(needed // 8, 1):
            return
        if self._best is None and self._trying and not self._first_are_back(needed):
            return
        quick = _quick([took for _, took in sorted(self._answered)[len(self._answered) // 2 :]])
        # A client that is slow to send fills the level bit by bit; and quick answers are the first to come.
        came = self._ended / max(now - max(self._since, self._answered[0][0]), 1e-6)
        if self._rises(quick, came, now):
            return
        # Of those begun since then the quick ones alone have been answered, which would tell too much.
        whole = [each for each in self._answered if each[0] <= now - self._longest]
        if len(whole) < needed:
            return
        took = [took for _, took in sorted(whole)[len(whole) * (3 if self._doubles else 2) // 4 :]]
        latency, error = _mean(took)
        if self._is_known(latency, error, len(took)):
            alike = max(took) < _ALIKE * min(took)
            self._judge(_Judged(self.level, min(self.level / latency, came), quick), now, alike=alike)

    @property
    def _doubles(self) -> bool:
        """Whether the level is twice one that was judged: half of its requests came with that one."""
        return self._trying == "twice" and self._best is not None

    def _is_known(self, latency: float, error: float, answers: int) -> bool:
        """Whether so many answers tell the mean latency of the level well enough."""
        most = _BLURRED if self._trying in ("more", "less") else _BLURRED_DOUBLED
        return not self._longest or error <= most or answers >= _ENOUGH or self._is_less(latency, error)

    def _is_less(self, latency: float, error: float) -> bool:
        """Whether fewer at a time give less even if the mean latency is off by twice its likely error.

        Where few are in flight it takes long to know more, and all of that time is lost.
        """
        return (
            self._best is not None
            and self._trying in ("half", "less")
            and self.level / latency * (1 + 2 * error) < self._best.throughput / _SOARED
        )

    def _first_are_back(self, needed: int) -> bool:
        """Whether those that were out when the first answer came are answered, or many more than them.

        The short ones come first, and others take their places: before, nothing is known of long ones.
        """
        began, took = self._answered[0]
        first = sum(begun < began + took for begun, _ in self._answered)
        return first >= needed or len(self._answered) >= _FIRST_WAITED * needed

    def _rises(self, quick: float, came: float, now: float) -> bool:
        """Double a level whose quick ones are as quick as those of the best; whether that was done.

        Args:
            quick: seconds that the quickest quarter took at most.
            came: answers a second under this level.
            now: seconds.
        """
        best = self._best
        if best is None or quick >= _LATE * best.quick:
            return False
        mixed = self._trying == "more" and self._longest and came >= best.throughput / _GONE
        if self._trying != "twice" and not mixed:
            return False
        explained = best.throughput * self.level / best.level
        self._best, self._guessed = _Judged(self.level, explained, min(quick, best.quick)), True
        self._try("twice", now)
        return True

    @property
    def _longest(self) -> float:
        """How old a request must be for its like to be answered, too, in seconds; 0 where all take about as long."""
        longest = max(self._took)
        return _MOST_OF_IT * longest if longest > _MIXED * min(self._took) else 0.0

    def _has_gone(self, now: float) -> bool:
        """Follow a capacity that has gone, seen by how often answers come, whatever level they were sent under.

        What a higher level left in line is answered first: whoever looked at requests of this level only would wait
        until then. The answers that are counted are a wave and a half: a server may answer a whole level at once.
        """
        if self._best is None or self._fallen or not self._watched:
            return False
        count = max(self._best.level * 3 // 2, _FEWEST_ENDS)
        explained = self._best.throughput * min(1.0, self.level / self._best.level)
        if len(self._ends) <= count or count / max(now - self._ends[-1 - count], 1e-6) >= explained / _GONE:
            return False
        if self._ended % max(count // 16, 1):
            return False  # sorting them at each answer would cost more than the answers
        latest = sorted(list(self._last)[-count:])[-(count // 2) :]
        if _quick([took for _, took in latest]) < _LATE * self._best.quick:
            return False
        last = list(self._ends)[-1 - max(count // 4, _FEWEST) :]
        self._fallen = self._best
        self._follow(self._best, (len(last) - 1) / max(last[-1] - last[0], 1e-6), now)
        self._ends.clear()
        return True

    def _look_again(self, now: float) -> None:
        """Tell from the answers since then how much has gone: the first sign of it does not, and may be a pause."""
        if self._fallen is None or len(self._ends) <= max(self.level, _FEWEST_AGAIN):
            return
        seconds = self._ends[-1] - self._ends[0]
        if seconds >= self._fallen.latency:
            self._follow(self._fallen, (len(self._ends) - 1) / max(seconds, 1e-6), now)
            self._fallen = None

    def _follow(self, before: _Judged, rate: float, now: float) -> None:
        """Let requests wait as long as `before`, of a server that gives `rate` answers a second now."""
        rate = min(rate, before.throughput)
        level = max(1, round(before.level * rate / before.throughput))
        self._best, self._trying, self._settles = _Judged(level, rate, before.quick), "less", False
        self._guessed, self._watched = False, False
        if self._longest:
            self._trying = "twice"
        self._rest, self._rested, self._next_up = 1, 0, True
        self._move(level, now)

    def refused(self, begun: float, now: float) -> None:
        """A request was refused for being one too many; a burst of them counts once."""
        if self._fixed or begun <= self._since:
            return
        self._ceiling, self._lifted = max(1, self.level - 1), now
        self._trying, self._best, self._fallen = None, None, None
        self._rest = _LONGEST_REST
        self._move(int(self.level * 0.75), now)

    def _judge(self, seen: _Judged, now: float, *, alike: bool) -> None:
        trying, best = self._trying, self._best
        if best and self._guessed and seen.level > best.level:  # fewer give no more
            if seen.throughput < best.throughput / _GONE and alike:
                self._follow(best, seen.throughput, now)
                return
            best = self._best = _Judged(best.level, min(best.throughput, seen.throughput), best.quick)
        self._guessed = False
        self._watched = self._watched or trying is None or not self._longest
        if trying is None or best is None or (trying == "twice" and seen.level == best.level):  # it is not yet twice
            self._keep(seen, now)
        elif trying == "twice":
            self._after_twice(seen, best, now)
        elif trying == "more":
            if seen.throughput >= best.throughput * _STEPPED:
                self._best = seen
                self._try("twice" if seen.throughput >= best.throughput * _SOARED else "more", now)
            else:
                self._back(best, now)
        elif seen.throughput >= best.throughput * (_AS_GOOD if trying == "less" else 1 / _SOARED):
            self._best = seen
            self._try(trying, now)
        else:
            self._back(best, now)

    def _keep(self, seen: _Judged, now: float) -> None:
        """The level was kept: go on resting, or try another."""
        if self._settles:
            self._settles = False
            self._move(self.level, now)
            return
        if self._best and self._best.level == seen.level:  # one look tells little where answers differ much
            seen = _Judged(seen.level, (seen.throughput + self._best.throughput) / 2, min(seen.quick, self._best.quick))
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
        elif best.level == FIRST:
            # It may be too much already; and the very first answers came from an idle server.
            self._best = _Judged(FIRST, min(best.throughput, seen.throughput), best.quick)
            self._try("half", now)
        else:
            self._back(best, now)

    def _try(self, trying: Literal["twice", "half", "more", "less"], now: float) -> None:
        """Take another level; stay where there is none."""
        assert self._best is not None
        level = self._best.level
        ceiling = self._ceiling if now - self._lifted < 100 * self._best.latency else MOST
        target = {
            "twice": min(2 * level, ceiling),
            "more": min(max(level + 1, round(level * _STEP)), ceiling),
            "half": max(1, level // 2),
            "less": max(1, min(level - 1, round(level / _STEP))),
        }[trying]
        self._trying = trying if target != level else None
        self._move(target, now)

    def _back(self, best: _Judged, now: float) -> None:
        if self._trying == "half":
            self._ends.clear()  # half of them came half as often: no sign that capacity has gone
        self._trying, self._best, self._rested, self._settles = None, best, 0, True
        self._move(best.level, now)

    def _move(self, level: int, now: float) -> None:
        self.level = min(max(1, level), MOST)
        self._since, self._answered, self._ended = now, [], 0
