"""What is announced of an operation: that it starts, and one ending."""

from __future__ import annotations

from typing import get_args

import pytest

from tests.endpoint.hand_clock import HandClock
from whisperctl.apply.events import (
    Event,
    OperationEnded,
    OperationFailed,
    OperationStarted,
    OperationStopped,
    announced,
)
from whisperctl.errors import Contended, Interrupted, Unhealthy
from whisperctl.plan.operations import Operation, OperationKind
from whisperctl.state.resources import service_address
from whisperctl.views.progress import VERBS

CREATE = Operation(id=7, kind="create", address=service_address("door"))


def events(error: Exception | None, stops: tuple[type[Exception], ...] = (Interrupted,)) -> list[Event]:
    told_events: list[Event] = []
    clock = HandClock()

    def perform() -> None:
        with announced(CREATE, "alpha", clock, told_events.append, stops):
            clock.sleep(1.25)
            if error is not None:
                raise error

    if error is None:
        perform()
    else:
        with pytest.raises(type(error)):
            perform()
    return told_events


def test_a_success() -> None:
    started = OperationStarted(stack="alpha", operation=CREATE)
    assert events(None) == [started, OperationEnded(stack="alpha", operation=CREATE, seconds=1.25)]


def test_a_failure_with_its_reason() -> None:
    failed = OperationFailed(stack="alpha", operation=CREATE, seconds=1.25, error="it is ill")
    assert events(Unhealthy("it is ill"))[1:] == [failed]


def test_what_is_no_failure() -> None:
    stopped = OperationStopped(stack="alpha", operation=CREATE)
    assert events(Interrupted("now"))[1:] == [stopped]
    assert events(Contended("another"), (Interrupted, Contended))[1:] == [stopped]
    assert isinstance(events(Contended("another"))[1], OperationFailed)


def test_every_operation_has_words_for_its_beginning_and_its_end() -> None:
    assert VERBS.keys() == set(get_args(OperationKind))
