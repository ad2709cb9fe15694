"""Pauses between tries, and waits that end at once when they are stopped."""

from __future__ import annotations

import threading
from itertools import islice

import pytest

from whisperctl.clock import Backoff, Stop, StoppableClock
from whisperctl.errors import Interrupted, WhisperctlError


def test_pauses_grow_up_to_the_longest() -> None:
    assert list(islice(Backoff(first=0.5, longest=3.0).pauses(), 5)) == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_chance_takes_off_a_share() -> None:
    backoff = Backoff(first=2.0, factor=1.0, jitter=0.5)
    assert list(islice(backoff.pauses(chance=lambda: 1.0), 2)) == [1.0, 1.0]
    assert list(islice(backoff.pauses(chance=lambda: 0.0), 2)) == [2.0, 2.0]


def test_pauses_without_a_bound_do_not_end() -> None:
    assert next(islice(Backoff(first=1.0).pauses(), 5000, None)) == float("inf")


def test_every_wait_ends_when_it_is_stopped_and_none_lasts_afterwards() -> None:
    stop = Stop()
    assert not stop.wait(0)
    ended: list[bool] = []
    waiting = [threading.Thread(target=lambda: ended.append(stop.wait(60))) for _ in range(3)]
    for thread in waiting:
        thread.start()
    stop.set()
    stop.set()
    for thread in waiting:
        thread.join(30)
    assert ended == [True] * 3
    assert stop.wait(60)


def test_a_sleep_that_is_stopped_is_an_interrupt_and_no_error() -> None:
    clock = StoppableClock()
    clock.stop.set()
    with pytest.raises(Interrupted) as caught:
        clock.sleep(60)
    assert not isinstance(caught.value, WhisperctlError)
