"""Requests that are asked again: after 429, 5xx and broken connections, and while a sleeping deployment wakes up.

A transcription changes nothing on the server, so that its POST may be repeated. Time, chance and the way to wake an
instance are handed in.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import partial
from math import inf, nan

from whisperctl.clock import Backoff, Clock
from whisperctl.endpoint.client import Answer, Endpoint, TooSlow
from whisperctl.endpoint.form import Upload
from whisperctl.endpoint.readiness import ASLEEP, EndpointWaker, advice
from whisperctl.endpoint.transcription import Ask, request
from whisperctl.errors import Interrupted, Unhealthy, Unreachable

TRIES = 6
"""Requests in all, while the connection breaks or nothing is ready."""
_TRIES_AFTER = {429: 20, 500: 2}
"""A rate limit is a matter of waiting; an error of the server's own code mostly comes again."""
_TRIES_IF_SLOW = 3
"""Requests that got no answer in time; each next one gets twice the time, for a server that is merely busy."""
_LONGEST_PATIENCE = 600.0
"""Seconds for one request, unless `--timeout` is longer."""
_BACKOFF = Backoff(first=0.5, longest=30.0, jitter=0.5)
_SLICE = 0.5
"""Seconds after which a pause looks whether it should stop."""

_BROKEN, _SLOW = 0, -1
"""What is counted like a status where none came."""
_AGAIN = {408, 429, 500, *ASLEEP}


class RetryingEndpoint:
    """Sends one request as often as it takes."""

    def __init__(
        self,
        endpoint: Endpoint,
        clock: Clock,
        waker: EndpointWaker,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Send nothing yet.

        Args:
            endpoint: gets the requests.
            clock: times everything.
            alarm: wakes an instance where none answers.
            chance: a number from 0 to 1, so that many who wait do not come back at once.
        """
        self.endpoint = endpoint
        self._clock, self._waker, self._chance = clock, waker, chance
        self._seen: Callable[[float, int], None] = lambda _begun, _status: None
        self._stopped = threading.Event()
        self._closed_until = 0.0

    def tell(self, seen: Callable[[float, int], None]) -> None:
        """Let `seen` know of each request when it was sent, and the status that it was answered with."""
        self._seen = seen

    @property
    def is_lost(self) -> bool:
        """Whether it sleeps and could not be woken."""
        return self._waker.failed

    def stop(self) -> None:
        """Let every pause end with `Interrupted`."""
        self._stopped.set()

    def send(self, ask: Ask, upload: Upload, otherwise: Ask | None = None) -> Answer:
        """The first answer that asking again would not better, or the last one.

        Args:
            ask: what to ask for.
            upload: the file.
            otherwise: what to ask for instead once the server's own code has failed.

        Raises:
            Unreachable: no answer came, however often it was asked.
            Interrupted: `stop` was called.
        """
        seen: Counter[int] = Counter()
        pauses = _BACKOFF.pauses(self._chance)
        while True:
            patience = self._patience(seen[_SLOW])
            self._pause(self._closed_until - self._clock.monotonic())
            begun = self._clock.monotonic()
            answer = self._reached(partial(request, self.endpoint, ask, upload, patience), seen, pauses)
            if answer is None:
                continue
            seen[answer.status] += 1
            self._seen(begun, answer.status)
            if answer.status not in _AGAIN or seen[answer.status] >= _TRIES_AFTER.get(answer.status, TRIES):
                return answer
            if answer.status == 500 and otherwise:
                ask = otherwise
            if answer.status in ASLEEP:
                self._waker.wake()
            pause = next(pauses)
            if wait := _seconds_to_wait(answer):  # it holds for everybody: nobody knocks before
                self._closed_until = max(self._closed_until, self._clock.monotonic() + wait)
            self._pause(wait or pause)

    def ready(self) -> None:
        """Return when the endpoint is up, waking it if it sleeps.

        Raises:
            Unreachable: no answer came, however often it was asked.
            Unhealthy: it answers what waiting does not change.
            TimedOut: it did not come up.
        """
        seen: Counter[int] = Counter()
        pauses = _BACKOFF.pauses(self._chance)
        while True:
            health = partial(self.endpoint.get, "/health", min(10.0, self.endpoint.timeout))
            answer = self._reached(health, seen, pauses)
            if answer is None:
                continue
            seen[answer.status] += 1
            if answer.status == 200:
                return
            if answer.status in (*ASLEEP, 500):
                self._waker.wake()
            elif answer.status == 429 and seen[429] < _TRIES_AFTER[429]:
                self._pause(_seconds_to_wait(answer) or next(pauses))
            else:
                raise Unhealthy(f"GET {self.endpoint.url}/health answered {answer}." + advice(answer.status))

    def _reached(self, ask: Callable[[], Answer], seen: Counter[int], pauses: Iterator[float]) -> Answer | None:
        """The answer, or None after a pause when the connection broke or kept silent, which is counted."""
        try:
            return ask()
        except Unreachable as error:
            kind, limit = (_SLOW, _TRIES_IF_SLOW) if isinstance(error, TooSlow) else (_BROKEN, TRIES)
            seen[kind] += 1
            if seen[kind] >= limit:
                raise
            self._pause(next(pauses))
            return None

    def _patience(self, slow: int) -> float:
        """Seconds for the next try after `slow` ones that got no answer in time."""
        first = self.endpoint.transcription_timeout
        return float(min(first * 2**slow, max(first, _LONGEST_PATIENCE)))

    def _pause(self, seconds: float) -> None:
        until = self._clock.monotonic() + seconds
        while (left := until - self._clock.monotonic()) > 0:
            if self._stopped.is_set():
                raise Interrupted("stopped")
            self._clock.sleep(min(left, _SLICE))


def _seconds_to_wait(answer: Answer) -> float | None:
    """The seconds that a 429 says to wait, at most a minute."""
    if answer.status == 429:
        for name in ("retry-after", "x-ratelimit-reset"):
            seconds = _seconds(answer.headers.get(name, ""), answer.headers.get("date", ""))
            if 0 <= seconds < inf:
                return min(seconds, 60.0)
    return None


def _seconds(until: str, now: str) -> float:
    """A pause given in seconds, or as the date of its end (RFC 9110, 10.2.3); not a number if it is neither.

    Args:
        until: the header.
        now: the answer's own `Date`, so that a clock of this machine that is wrong changes nothing.
    """
    with suppress(ValueError):
        return float(until)
    with suppress(ValueError, OverflowError):
        end, begin = (parsedate_to_datetime(date).replace(tzinfo=UTC) for date in (until, now))
        return (end - begin).total_seconds()
    return nan
