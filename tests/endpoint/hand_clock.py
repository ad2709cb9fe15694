"""A clock that only its user moves."""

from __future__ import annotations

from collections.abc import Callable


class HandClock:
    """A clock on which a sleep takes no time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self.before_sleep: Callable[[], object] = lambda: None
        """For a test that must see another thread get ahead."""

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1_700_000_000.0 + self.now

    def sleep(self, seconds: float) -> None:
        self.before_sleep()
        self.slept.append(seconds)
        self.now += seconds
