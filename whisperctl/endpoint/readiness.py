"""Waiting until an endpoint answers, and waking it when it sleeps."""

from __future__ import annotations

import threading
from collections.abc import Callable

from whisperctl.clock import Clock
from whisperctl.endpoint.client import Answer, Endpoint
from whisperctl.errors import TimedOut, Unhealthy, Unreachable, WhisperctlError


class Alarm:
    """Wakes a sleeping deployment, once for all who wait for it."""

    def __init__(
        self,
        endpoint: Endpoint,
        ring: Callable[[float], object] | None,
        clock: Clock,
        timeout: float,
        say: Callable[[str], None],
    ) -> None:
        """Do nothing yet.

        Args:
            endpoint: whose /health tells when it is awake.
            ring: wakes an instance and may take long: a deployment request; its argument is a time-out in seconds.
                None only waits.
            clock: for the waiting.
            timeout: seconds to wait for an instance: `rollout.timeout`.
            say: gets a line when the state changes.
        """
        self._endpoint, self._ring, self._clock, self._timeout, self._say = endpoint, ring, clock, timeout, say
        self._lock = threading.Lock()
        self._failure: WhisperctlError | None = None
        """Why it could not be woken: whoever else waits for it need not wait as long again."""

    def wake(self) -> None:
        """Return when /health answers 200.

        Raises:
            TimedOut: it never did.
            Unhealthy: it answers what waiting does not change.
            WhisperctlError: what the waking request met.
        """
        with self._lock:
            if self._failure:
                raise self._failure
            if self._awake():
                return
            try:
                self._wake()
            except WhisperctlError as error:
                self._failure = error
                raise

    def _wake(self) -> None:
        failed: list[WhisperctlError] = []
        wait = Wait(self._endpoint, self._clock, self._timeout, self._say)
        if self._ring:
            self._say("No instance answers: waking one with a deployment request.")
            threading.Thread(target=self._do_ring, args=(failed,), name="wake", daemon=True).start()

        def health(seconds: float) -> Answer:
            answer = self._endpoint.get("/health", seconds)
            if failed and answer.status != 200:
                raise failed[0]
            return answer

        wait.until_ok("GET /health", health)
        self._say(f"An instance answers after {wait.waited():.0f} s.")

    def _awake(self) -> bool:
        try:
            return self._endpoint.get("/health", 10).status == 200
        except Unreachable:
            return False

    def _do_ring(self, failed: list[WhisperctlError]) -> None:
        assert self._ring is not None
        try:
            self._ring(self._timeout)
        except Unreachable:
            return  # the answer was lost or late: /health tells
        except WhisperctlError as error:
            failed.append(error)


HEALTH_PATH = "GET /health"


_FIRST_PAUSE = 0.25


_LONGEST_PAUSE = 5.0


_POLL_TIMEOUT = 10.0


_NOT_YET = {429, 502, 503, 504}


_ADVICE = {
    401: "The service did not accept the token: use one of a service user of this project.",
    403: "The token may not use this service: its role must allow creating requests on the deployment.",
    404: "Nothing serves that path: check the service's port and that the version runs this stack's package.",
}


def advice(status: int) -> str:
    """What to do about an answer that no waiting changes; empty when there is nothing to say."""
    return f"\n  {_ADVICE[status]}" if status in _ADVICE else ""


class Wait:
    """Asks again until the answer is 200 or the deadline has come; speaks when the state changes."""

    def __init__(self, endpoint: Endpoint, clock: Clock, timeout: float, listen: Callable[[str], None]) -> None:
        self.endpoint, self.listen = endpoint, listen
        self._clock, self._timeout, self._start = clock, timeout, clock.monotonic()

    def waited(self) -> float:
        return self._clock.monotonic() - self._start

    def until_ok(self, asked: str, ask: Callable[[float], Answer], patient: bool = False) -> Answer:
        """The first 200; `patient` gives one request the endpoint's own time-out rather than a poll's."""
        said, pause = "", _FIRST_PAUSE
        limit = self.endpoint.timeout if patient else min(_POLL_TIMEOUT, self.endpoint.timeout)
        while True:
            state, answer = self._once(asked, ask, min(limit, max(self._timeout - self.waited(), 1.0)))
            if answer is not None:
                return answer
            if state != said:
                self.listen(f"waiting for {asked}: {state}")
                said = state
            left = self._timeout - self.waited()
            if left <= 0:
                raise TimedOut(
                    f"Timed out after {self._timeout:g} s: {self.endpoint.url} did not come up.\n"
                    f"  {asked} last said: {state}\n"
                    "  `whisperctl logs` shows why; a larger `rollout.timeout` waits longer."
                )
            self._clock.sleep(min(pause, left))
            pause = min(pause * 1.6, _LONGEST_PAUSE)

    def _once(self, asked: str, ask: Callable[[float], Answer], seconds: float) -> tuple[str, Answer | None]:
        try:
            answer = ask(seconds)
        except Unreachable as error:
            return error.reason, None
        if answer.status == 200:
            return "", answer
        dead_engine = asked == HEALTH_PATH and answer.status == 500  # vLLM before 0.11 says 500 for 503
        if answer.status not in _NOT_YET and not dead_engine:
            raise Unhealthy(
                f"{asked} at {self.endpoint.url} answered {answer}, and waiting will not change that."
                + advice(answer.status)
            )
        return f"{answer}", None
