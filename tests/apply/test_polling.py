"""Looks at what is waited for: how far apart they are, when they end, and that an ended wait counts no more."""

from __future__ import annotations

from itertools import pairwise

import pytest

from whisperctl.apply.polling import LONGEST_PAUSE, looks, wait_for
from whisperctl.clock import StoppableClock
from whisperctl.errors import TimedOut, Unhealthy


class SkippingClock(StoppableClock):
    """A clock on which a sleep takes no time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_looks_come_less_and_less_often_until_the_time_is_up() -> None:
    waited = list(looks(SkippingClock(), 60.0))
    pauses = [later - earlier for earlier, later in pairwise(waited)]
    assert waited[0] == 0.0
    assert waited[-1] == pytest.approx(60.0)
    assert pauses[:-1] == sorted(pauses[:-1])
    assert max(pauses) == pytest.approx(LONGEST_PAUSE)


def test_many_waits_look_less_often_each() -> None:
    clock = SkippingClock()
    clock.waits = 100
    waited = list(looks(clock, 600.0))
    assert max(later - earlier for earlier, later in pairwise(waited)) > 4 * LONGEST_PAUSE


def test_a_wait_counts_while_it_lasts_however_it_ends() -> None:
    clock = SkippingClock()
    for _ in looks(clock, 60.0):
        assert clock.waits == 1
        break
    assert clock.waits == 0

    def fail() -> None:
        for _ in looks(clock, 60.0):
            raise Unhealthy("it will not come up")

    with pytest.raises(Unhealthy):
        fail()
    assert clock.waits == 0


def test_what_does_not_come_in_time_is_named_with_what_to_do() -> None:
    answers = iter(range(9))
    assert wait_for(lambda: next(answers), lambda n: n == 3, clock=SkippingClock(), timeout=60, what="three") == 3
    with pytest.raises(TimedOut, match=r"^Timed out after 5 s waiting for a build.\n  Wait longer.$"):
        wait_for(lambda: 0, lambda _: False, clock=SkippingClock(), timeout=5, what="a build", advice="Wait longer.")
