"""Waking an endpoint that sleeps, and waiting until it answers: the one place for both.

An instance is woken by deployment requests, never by changing minimum_instances, and awake once `/health` answers 200
or such a request has been answered. What a request says of health is judged here, too.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from whisperctl.clock import Backoff, Clock
from whisperctl.endpoint.client import Answer, Endpoint
from whisperctl.errors import ApiError, Interrupted, TimedOut, Unhealthy, Unreachable, WhisperctlError

if TYPE_CHECKING:  # whoever transcribes needs no control plane
    from whisperctl.control.api import Api, Json

HEALTH_PATH = "GET /health"
_WAKING = "health"
"""What a waking deployment request says; a package answers any request with its health."""
_POLLS = Backoff(first=0.25, factor=1.6, longest=5.0)
_POLL_TIMEOUT = 10.0
ASLEEP = {502, 503, 504}
"""Statuses of an endpoint of which no instance answers: one has to be woken."""
_NOT_YET = {429, *ASLEEP}
LOST = (0, *_NOT_YET)
"""Statuses of a deployment request that never arrived, or was given up by something in between: it is sent again."""
_ADVICE = {
    401: "The service did not accept the token: use one of a service user of this project.",
    403: "The token may not use this service: its role must allow creating requests on the deployment.",
    404: "Nothing serves that path: check the service's port and that the version runs this stack's package.",
}


def advice(status: int) -> str:
    """What to do about an answer that no waiting changes; empty when there is nothing to say."""
    return f"\n  {_ADVICE[status]}" if status in _ADVICE else ""


def may_come_up(asked: str, status: int) -> bool:
    """Whether waiting may change this answer; vLLM before 0.11 says 500 for 503 when it is asked for its health."""
    return status in _NOT_YET or (asked == HEALTH_PATH and status == 500)


def reports_health(result: Any) -> bool:
    """Whether what a package's `request()` returned, as a mapping or as JSON, is the report of a healthy server."""
    if isinstance(result, str):
        try:
            result = json.loads(result)
        except (ValueError, RecursionError):
            return False
    return isinstance(result, dict) and result.get("status") == "healthy"


def waking_request(api: Api, deployment: str, version: str, timeout: float) -> Json:
    """Wake an instance by a deployment request, and return that as UbiOps tells it once it has ended.

    It takes at most `timeout` seconds, and as many as an instance needs to come up.

    Raises:
        ApiError: it did not arrive, or was given up on the way.
    """
    return api.create_request(deployment, version, _WAKING, timeout)


def check_woken(answer: Mapping[str, Any], name: str, more: Callable[[], str] = lambda: "") -> None:
    """Return if a waking deployment request, as UbiOps tells it at its end, has reached an instance.

    Args:
        answer: the request.
        name: what was to be woken, for the message.
        more: further lines of the message, such as the last ones of a log.

    Raises:
        Unhealthy: no instance came up, so that waiting for the endpoint is in vain.
    """
    if answer.get("status") != "completed":
        reason = answer.get("error_message") or f"the request ended as {answer.get('status')}, with no reason given"
        raise Unhealthy(f"{name}: no instance came up: {reason}{more()}")


class Wake:
    """Deployment requests in threads of their own, each of which starts an instance and returns once that answers.

    A request that is lost is sent again at the next `check`.
    """

    def __init__(self, send: Callable[[], Any], count: int = 1) -> None:
        """Send nothing yet.

        Args:
            send: makes one request, which may take long, and returns what came of it; raises WhisperctlError if no
                instance comes up.
            count: how many are under way at a time: as many as instances are wanted.
        """
        self._send, self._count = send, count
        self._lock = threading.Lock()
        self._open = 0
        self._failure: WhisperctlError | None = None
        self.answer: Any = None
        """What the first request that was answered returned."""

    def start(self) -> None:
        """Bring the number of requests under way up to the wanted one."""
        with self._lock:
            missing, self._open = self._count - self._open, max(self._count, self._open)
        for _ in range(missing):
            threading.Thread(target=self._one, name="wake", daemon=True).start()

    def check(self) -> None:
        """Replace the requests that were lost.

        Raises:
            WhisperctlError: what one of them failed with.
        """
        if self._failure is not None:
            raise self._failure
        if self.answer is None:
            self.start()

    def wait(self, clock: Clock, timeout: float, name: str) -> Any:
        """The first answer.

        Raises:
            Unhealthy: none came in `timeout` seconds.
            WhisperctlError: what the request failed with.
        """
        start = clock.monotonic()
        for pause in _POLLS.pauses():
            if self.answer is not None:
                return self.answer
            self.check()
            left = timeout - (clock.monotonic() - start)
            if left <= 0:
                raise Unhealthy(f"{name}: no answer to a deployment request in {timeout:g} s.")
            clock.sleep(min(pause, left))
        raise AssertionError("pauses do not end")

    def close(self) -> None:
        """Send none any more; those on their way end by themselves."""
        with self._lock:
            self._count = 0

    def _one(self) -> None:
        try:
            answer = self._send()
        except Interrupted:
            self.close()
        except WhisperctlError as error:
            if not (isinstance(error, ApiError) and error.status in LOST):
                self._failure = error
        else:
            self.answer = {} if answer is None else answer
        finally:
            with self._lock:
                self._open -= 1


class EndpointWaker:
    """Wakes a sleeping deployment, once for all who wait for it."""

    def __init__(
        self,
        endpoint: Endpoint,
        request_instance: Callable[[float], object] | None,
        clock: Clock,
        timeout: float,
        say: Callable[[str], None],
    ) -> None:
        """Do nothing yet.

        Args:
            endpoint: whose /health tells when it is awake.
            request_instance: wakes an instance and may take long: a deployment request; its argument is a time-out in
                seconds. None only waits.
            clock: for the waiting.
            timeout: seconds to wait for an instance: `rollout.timeout`.
            say: gets a line when the state changes.
        """
        self._endpoint, self._request_instance = endpoint, request_instance
        self._clock, self._timeout, self._say = clock, timeout, say
        self._lock = threading.Lock()
        self._failure: WhisperctlError | None = None
        """Why it could not be woken: whoever else waits for it need not wait as long again."""

    @property
    def failed(self) -> bool:
        """Whether it could not be woken."""
        return self._failure is not None

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
        checks = []
        if (request_instance := self._request_instance) is not None:
            self._say("No instance answers: waking one with a deployment request.")
            wake = Wake(lambda: request_instance(self._timeout))
            wake.start()
            checks.append(wake.check)
        wait = Wait(self._endpoint, self._clock, self._timeout, self._say, checks)
        wait.until_ok(HEALTH_PATH, lambda seconds: self._endpoint.get("/health", seconds))
        self._say(f"An instance answers after {wait.waited():.0f} s.")

    def _awake(self) -> bool:
        try:
            return self._endpoint.get("/health", 10).status == 200
        except Unreachable:
            return False


class Wait:
    """Asks again until the answer is 200 or the deadline has come; speaks when the state changes."""

    def __init__(
        self,
        endpoint: Endpoint,
        clock: Clock,
        timeout: float,
        listen: Callable[[str], None],
        checks: Sequence[Callable[[], None]] = (),
    ) -> None:
        """Start the time.

        Args:
            endpoint: what is asked.
            clock: for the waiting.
            timeout: seconds for all of it.
            listen: gets a line when the state changes.
            checks: called between two looks; one that raises ends the waiting with its error.
        """
        self.endpoint, self.listen, self._checks = endpoint, listen, checks
        self._clock, self._timeout, self._start = clock, timeout, clock.monotonic()

    def waited(self) -> float:
        """Seconds since this was made."""
        return self._clock.monotonic() - self._start

    def until_ok(self, asked: str, ask: Callable[[float], Answer], patient: bool = False) -> Answer:
        """The first answer with status 200.

        Args:
            asked: the request in words, such as `GET /health`.
            ask: sends it, given the seconds that it may take.
            patient: whether one request has the endpoint's own time-out rather than a poll's.

        Raises:
            TimedOut: none came in the time that the wait has.
            Unhealthy: the endpoint answers something that no waiting mends.
        """
        last_state = ""
        limit = self.endpoint.timeout if patient else min(_POLL_TIMEOUT, self.endpoint.timeout)
        for pause in _POLLS.pauses():
            state, answer = self._once(asked, ask, min(limit, max(self._timeout - self.waited(), 1.0)))
            if answer is not None:
                return answer
            if state != last_state:
                self.listen(f"waiting for {asked}: {state}")
                last_state = state
            left = self._timeout - self.waited()
            if left <= 0:
                raise TimedOut(
                    f"Timed out after {self._timeout:g} s: {self.endpoint.url} did not come up.\n"
                    f"  {asked} last said: {state}\n"
                    "  `whisperctl logs` shows why; a larger `rollout.timeout` waits longer."
                )
            for check in self._checks:
                check()
            self._clock.sleep(min(pause, left))
        raise AssertionError("pauses do not end")

    def _once(self, asked: str, ask: Callable[[float], Answer], seconds: float) -> tuple[str, Answer | None]:
        try:
            answer = ask(seconds)
        except Unreachable as error:
            return error.reason, None
        if answer.status == 200:
            return "", answer
        if not may_come_up(asked, answer.status):
            raise Unhealthy(
                f"{asked} at {self.endpoint.url} answered {answer}, and waiting will not change that."
                + advice(answer.status)
            )
        return f"{answer}", None
