"""How many requests are in flight, against simulated servers: capacity 1 to 512, changing, refusing, batching."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whisperctl.transcribe.pace import FIRST, MOST, Pace

Service = Callable[[random.Random], float]
"""How long one request takes, in seconds."""


@dataclass
class Server:
    """So many at a time, first come, first served; service times vary by a tenth, or as `service` says."""

    capacity: Callable[[float], int]
    refuses_from: int = 100_000
    """Requests in flight from which on it answers 429 at once."""
    random: random.Random = field(default_factory=lambda: random.Random(1))
    service: Service = lambda chance: 0.9 + 0.2 * chance.random()
    pause: tuple[float, float] = (0.0, 0.0)
    """From and to when nothing is answered."""

    def run(self, pace: Pace, seconds: float) -> list[tuple[float, float, int]]:
        """When each answer came, its latency, and the level then; refusals have a latency of -1."""
        now, in_flight = 0.0, 0
        events: list[tuple[float, float]] = []
        line: list[float] = []
        running, answers = 0, []
        while now < seconds:
            refused = []
            while in_flight < pace.level:
                in_flight += 1
                if in_flight > self.refuses_from:
                    refused.append(now)
                    heapq.heappush(events, (now + 0.2, -now - 1))
                else:
                    line.append(now)
            for begun in refused:
                pace.refused(begun, now)
                answers.append((now, -1.0, pace.level))
            while line and running < self.capacity(now):
                running += 1
                end = now + self.service(self.random)
                if self.pause[0] < end < self.pause[1]:
                    end = self.pause[1]
                heapq.heappush(events, (end, line.pop(0)))
            now, begun = heapq.heappop(events)
            in_flight -= 1
            if begun >= 0:
                running -= 1
                pace.answered(begun, now, full=True)
                answers.append((now, now - begun, pace.level))
        return answers


def throughput(answers: list[tuple[float, float, int]], start: float, end: float) -> float:
    return sum(start <= at < end and took >= 0 for at, took, _ in answers) / (end - start)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 512), st.integers())
def test_any_capacity_is_found_and_not_much_more(capacity: int, seed: int) -> None:
    end = 60.0 + 200 / capacity  # one that serves one at a time answers so seldom that it takes longer to know it
    ran = Server(lambda _: capacity, random=random.Random(seed)).run(Pace(), end)
    assert throughput(ran, end / 3, end) >= 0.9 * capacity
    late = sorted(took for at, took, _ in ran if at > end * 2 / 3)
    # One to three at a time are found from eight: service times vary, and each answer tells little.
    assert late[len(late) * 95 // 100] <= (4.5 if capacity > 3 else 7)


@pytest.mark.parametrize("capacity", [8, 64, 256])
def test_within_some_service_times(capacity: int) -> None:
    ran = Server(lambda _: capacity).run(Pace(), 20)
    assert throughput(ran, 6.5, 16) >= 0.9 * capacity


@pytest.mark.parametrize("when", [10, 16, 30])
@pytest.mark.parametrize(("before", "after"), [(256, 64), (64, 16), (512, 128), (32, 8)])
def test_a_capacity_that_falls_to_a_quarter(before: int, after: int, when: float) -> None:
    ran = Server(lambda now: before if now < when else after).run(Pace(), when + 50)
    assert throughput(ran, when + 12, when + 50) >= 0.85 * after
    late = sorted(took for at, took, _ in ran if at > when + 12)
    assert late[len(late) * 95 // 100] <= 4


@pytest.mark.parametrize(
    ("before", "after", "when", "seed"),
    [(256, 64, 6.1, 2), (64, 16, 4.0, 0), (64, 16, 13.2, 4), (32, 8, 12.05, 1), (32, 8, 29.3, 6)],
)
def test_a_capacity_that_falls_while_a_higher_level_is_in_line(before: int, after: int, when: float, seed: int) -> None:
    chance = random.Random(seed)
    told = Server(lambda now: before if now < when else after, random=chance).run(Pace(), when + 50)
    assert throughput(told, when + 12, when + 50) >= 0.85 * after
    late = sorted(took for at, took, _ in told if at > when + 12)
    assert late[len(late) * 95 // 100] <= 4


@pytest.mark.parametrize("capacity", [16, 64, 256])
def test_answers_that_take_two_tenths_to_two_service_times(capacity: int) -> None:
    for seed in range(3):
        told = Server(
            lambda _: capacity, random=random.Random(seed), service=lambda chance: 0.2 + 1.6 * chance.random()
        ).run(Pace(), 50)
        assert throughput(told, 15, 50) >= 0.8 * capacity


MIXED: dict[str, tuple[Service, float]] = {
    "half of 0.1 s, half of 2 s": (lambda chance: chance.choice((0.1, 2.0)), 1.05),
    "a fifth of 2 s, the rest of 0.3 s": (lambda chance: 2.0 if chance.random() < 0.2 else 0.3, 0.64),
    "a tenth of 5 s, the rest of 0.3 s": (lambda chance: 5.0 if chance.random() < 0.1 else 0.3, 0.77),
}
"""Service, and its mean."""


@pytest.mark.parametrize("name", MIXED)
def test_short_and_long_recordings_in_any_order(name: str) -> None:
    """The quick answers come first, and say nothing of the others."""
    capacity, (service, mean) = 64, MIXED[name]
    got = []
    for seed in range(6):
        told = Server(lambda _: capacity, random=random.Random(seed), service=service).run(Pace(), 40)
        got.append(throughput(told, 15, 40) * mean / capacity)
    assert min(got) >= 0.5
    assert sorted(got)[3] >= 0.8


@pytest.mark.parametrize("capacity", [4, 8])
def test_short_and_long_recordings_where_few_are_answered_at_a_time(capacity: int) -> None:
    """Few answers tell little: no run may stay long at a level that one odd sample led to."""
    got = []
    for service, mean in MIXED.values():
        for seed in range(10):
            told = Server(lambda _: capacity, random=random.Random(seed), service=service).run(Pace(), 40)
            got.append(throughput(told, 15, 40) * mean / capacity)
    assert min(got) >= 0.4
    assert sorted(got)[len(got) // 10] >= 0.65
    assert sum(got) / len(got) >= 0.85


@pytest.mark.parametrize("pause", [2.0, 5.0])
def test_a_pause_is_no_capacity_that_has_gone(pause: float) -> None:
    told = Server(lambda _: 64, pause=(20.0, 20.0 + pause)).run(Pace(), 50)
    assert throughput(told, 23 + pause, 50) >= 0.85 * 64


def test_instances_that_come() -> None:
    ran = Server(lambda now: 32 if now < 40 else 128).run(Pace(), 160)
    assert throughput(ran, 120, 160) >= 0.9 * 128


@pytest.mark.parametrize("limit", [1, 5, 20, 100])
def test_a_limit_of_requests_at_a_time(limit: int) -> None:
    ran = Server(lambda _: 1000, refuses_from=limit).run(Pace(), 120)
    assert throughput(ran, 20, 120) >= 0.6 * limit
    assert sum(took < 0 for _, took, _ in ran) <= 0.2 * len(ran)


def test_a_fixed_pace_stays() -> None:
    pace = Pace(7)
    ran = Server(lambda _: 100, refuses_from=5).run(pace, 10)
    assert {level for _, _, level in ran} == {7}


def test_what_was_not_full_says_nothing() -> None:
    pace = Pace()
    for at in range(1000):
        pace.answered(float(at), at + 1.0, full=False)
    assert pace.level == FIRST


def test_it_never_leaves_its_bounds() -> None:
    pace = Pace()
    for at in range(1, 20_000):
        pace.answered(at * 1.0, at + 1.0, full=True)
        assert 1 <= pace.level <= MOST
    for at in range(20_000, 20_100):
        pace.refused(at * 1.0, at + 0.1)
    assert pace.level == 1
