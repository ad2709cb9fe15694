"""Waking by deployment requests, and what ends the waiting for an endpoint."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.endpoint.fake_vllm import FakeVllm
from tests.endpoint.hand_clock import HandClock
from whisperctl.endpoint.client import Endpoint
from whisperctl.endpoint.readiness import HEALTH_PATH, Wait, Wake, check_woken, may_come_up, reports_health
from whisperctl.errors import ApiError, Interrupted, NotFound, TimedOut, Unhealthy, Unreachable, WhisperctlError

HEALTHY = {"status": "completed", "result": '{"status": "healthy"}'}


class Requests:
    """Answers waking requests, one after the other, and tells when each has been answered."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.sent = list(answers), 0
        self.done = threading.Semaphore(0)

    def send(self) -> Any:
        self.sent += 1
        answer = self.answers.pop(0)
        try:
            if isinstance(answer, Exception):
                raise answer
            return answer
        finally:
            self.done.release()


def lost(status: int) -> ApiError:
    return (Unreachable if not status else ApiError)("POST", "/requests", status, "given up")


def until(met: Callable[[], object]) -> None:
    """Return when it is met: what a thread does comes a moment later."""
    deadline = threading.Event()
    for _ in range(500):
        if met():
            return
        deadline.wait(0.01)
    raise AssertionError("it never was")


def under_way() -> set[threading.Thread]:
    """The waking requests of this process; those of another test may still wait for their answers."""
    return {thread for thread in threading.enumerate() if thread.name == "wake"}


@pytest.mark.parametrize("status", [0, 429, 502, 503, 504])
def test_a_lost_request_is_sent_again(clock: HandClock, status: int) -> None:
    requests = Requests(lost(status), lost(status), HEALTHY)
    wake = Wake(requests.send)
    clock.before_sleep = lambda: threading.Event().wait(0.005)
    assert wake.wait(clock, 600, "version/a/b") == HEALTHY
    assert requests.sent == 3
    assert clock.slept[0] < clock.slept[1]
    wake.check()
    assert requests.sent == 3


@pytest.mark.parametrize("error", [Unhealthy("no GPU"), NotFound("POST", "/requests", 404, "no version")])
def test_a_request_that_fails_ends_every_wait(clock: HandClock, error: WhisperctlError) -> None:
    wake, earlier = Wake(Requests(error).send), under_way()
    wake.start()
    until(lambda: not under_way() - earlier)
    for wait in (wake.check, lambda: wake.wait(clock, 600, "version/a/b")):
        with pytest.raises(type(error)):
            wait()


def test_as_many_are_under_way_as_instances_are_wanted() -> None:
    gate, begun = threading.Event(), threading.Semaphore(0)

    def send() -> None:
        begun.release()
        gate.wait(30)

    wake = Wake(send, 3)
    wake.start()
    wake.start()
    for _ in range(3):
        assert begun.acquire(timeout=30)
    assert not begun.acquire(blocking=False)
    wake.close()
    gate.set()


def test_an_interrupt_sends_nothing_more_and_is_no_failure() -> None:
    requests, earlier = Requests(Interrupted("now")), under_way()
    wake = Wake(requests.send)
    wake.start()
    assert requests.done.acquire(timeout=30)
    until(lambda: not under_way() - earlier)
    wake.check()
    assert requests.sent == 1


def test_without_an_answer_the_waiting_ends(clock: HandClock) -> None:
    hold = threading.Event()
    wake = Wake(lambda: hold.wait(30))
    with pytest.raises(Unhealthy, match="version/a/b: no answer to a deployment request in 5 s"):
        wake.wait(clock, 5, "version/a/b")
    hold.set()


@pytest.mark.parametrize("status", ["failed", "cancelled", None])
def test_a_request_that_did_not_complete_says_why(status: str | None) -> None:
    with pytest.raises(Unhealthy) as caught:
        check_woken({"status": status, "error_message": "out of memory"}, "version/a/b", lambda: "\n  last lines")
    assert str(caught.value) == "version/a/b: no instance came up: out of memory\n  last lines"
    with pytest.raises(Unhealthy, match=f"the request ended as {status}, with no reason given"):
        check_woken({"status": status}, "version/a/b")
    check_woken(HEALTHY, "version/a/b")


@pytest.mark.parametrize(
    ("result", "healthy"),
    [('{"status": "healthy"}', True), ({"status": "healthy", "model": "x"}, True), ('{"status": "ill"}', False),
     ("healthy", False), ("{", False), (None, False), ([], False), ("[]", False), ({}, False)],
)  # fmt: skip
def test_what_a_package_reports_of_its_health(result: object, healthy: bool) -> None:
    assert reports_health(result) is healthy


@pytest.mark.parametrize(
    ("asked", "status", "waits"),
    [(HEALTH_PATH, 503, True), (HEALTH_PATH, 500, True), ("GET /v1/models", 500, False), (HEALTH_PATH, 404, False)],
)
def test_which_answers_waiting_may_change(asked: str, status: int, waits: bool) -> None:
    assert may_come_up(asked, status) is waits


def test_a_check_between_two_looks_ends_the_waiting(clock: HandClock) -> None:
    looks: list[float] = []

    def check() -> None:
        looks.append(clock.now)
        if len(looks) == 3:
            raise Unhealthy("the server failed three times")

    with Endpoint("http://127.0.0.1:9", None, 1) as endpoint:
        wait = Wait(endpoint, clock, 600, lambda _line: None, [check])
        with pytest.raises(Unhealthy, match="failed three times"):
            wait.until_ok(HEALTH_PATH, lambda seconds: endpoint.get("/health", seconds))
    assert looks == [0.0, 0.25, 0.65]


def test_what_is_healthy_at_once_is_not_checked(vllm: FakeVllm, endpoint: Endpoint, clock: HandClock) -> None:
    def check() -> None:
        raise TimedOut("not asked for")

    wait = Wait(endpoint, clock, 600, lambda _line: None, [check])
    assert wait.until_ok(HEALTH_PATH, lambda seconds: endpoint.get("/health", seconds)).status == 200
    assert vllm.url
