"""Time as the emulator sees it: handed in everywhere, so that tests never wait for it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Seconds since the epoch, as UbiOps would stamp them."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass at once."""


class SystemClock:
    """The machine's clock plus what `advance` has added (so a test can leap over an idle time)."""

    def __init__(self) -> None:
        self._leap = 0.0

    def now(self) -> float:
        """The machine's time plus all leaps."""
        return time.time() + self._leap

    def advance(self, seconds: float) -> None:
        """Leap so many seconds."""
        self._leap += seconds


class ManualClock:
    """Stands still until told otherwise."""

    def __init__(self, start: float = 1_767_225_600.0) -> None:
        self._now = start

    def now(self) -> float:
        """The time that it was last advanced to."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move on by so many seconds."""
        self._now += seconds


def stamp(now: float) -> str:
    """ISO-8601 with microseconds and `Z`, as most UbiOps objects carry it."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def short_stamp(now: float) -> str:
    """ISO-8601 with milliseconds and `+00:00`, as revisions and tags carry it."""
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
