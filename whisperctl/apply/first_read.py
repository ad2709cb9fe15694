"""What was read right before a write does for its first try, while it is fresh; later tries read again."""

from __future__ import annotations

from whisperctl.clock import StoppableClock
from whisperctl.control.api import Json

FRESH = 2.0
"""Seconds for which what was read may be written back while the lease is held."""


class FirstRead:
    """An object as it was read before the first try of a write. For one thread."""

    def __init__(self, raw: Json, at: float, clock: StoppableClock, seconds: float = FRESH) -> None:
        """Keep it.

        Args:
            raw: the object.
            at: the clock's `boottime` before it was read.
            clock: tells how long ago that was.
            seconds: how long it is fresh.
        """
        self._raw: Json | None = raw
        self._clock, self._until = clock, at + seconds

    def take(self) -> Json | None:
        """The object, once and while it is fresh; None: read it again."""
        raw, self._raw = self._raw, None
        return raw if self._clock.boottime() <= self._until else None
