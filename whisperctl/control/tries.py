"""How often, and after what pauses, one thing is asked of UbiOps again: the same for a request, and for a few in a row.

A 429 had no effect: it is sat out until the window that `x-ratelimit-reset` names, all of them together for at most the
limit of a call. A 5xx, a time-out or a broken connection is followed by `ATTEMPTS` tries at most, with back-off and
jitter (source: UbiOps reference, retry guidance). Whether a request may be sent twice at all is its sender's to know.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from whisperctl.clock import Backoff, Clock
from whisperctl.errors import ApiError, Unreachable

ATTEMPTS = 4
"""Tries of what may be repeated: with the back-off below about 6 s of a dead server."""
BACKOFF = Backoff(first=0.5, factor=3.0, jitter=0.5)


class Tries:
    """The tries of one thing so far. `limit` is in seconds, for all rate limits together that it sits out."""

    def __init__(self, clock: Clock, limit: float, say: Callable[[str], None]) -> None:
        self.count = 1
        """Tries that were begun; one that a rate limit refused does not count."""
        self._clock = clock
        self._limit = limit
        self._say = say
        self._sat_out = 0.0
        self._pauses = BACKOFF.pauses()

    def sit_out(self, seconds: float) -> bool:
        """Wait for the rate limit's next window, which begins in `seconds`; False at once if that is too long."""
        if self._sat_out + seconds > self._limit:
            return False
        self._sat_out += max(seconds, 1.0)
        self._say(f"UbiOps limits the request rate: going on in {seconds:.0f} s")
        # The figure may have been rounded down; the jitter keeps parallel calls from coming back at once.
        self._clock.sleep(seconds + random.uniform(0.2, 1.0))  # noqa: S311 - jitter, no secret
        return True

    def back_off(self, why: str, most: int = ATTEMPTS) -> bool:
        """Pause before the next try; False at once if there were `most`."""
        if self.count >= most:
            return False
        self.count += 1
        pause = next(self._pauses)
        self._say(f"{why}; try {self.count} of {ATTEMPTS} in {pause:.1f} s")
        self._clock.sleep(pause)
        return True

    def after(self, error: ApiError) -> bool:
        """Wait as `error` asks for; False at once if nothing is to be tried again."""
        if error.status == 429:
            return self.sit_out(error.reset)
        lost = isinstance(error, Unreachable) or error.status >= 500
        return lost and self.back_off(f"{error.verb} {error.path}: {error.reason}")
