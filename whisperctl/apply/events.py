"""What an apply or a rollback tells while it works: one type for each thing that can happen, for views to match."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from whisperctl.clock import Clock
from whisperctl.errors import Interrupted, WhisperctlError
from whisperctl.plan.operations import Operation
from whisperctl.state.resources import Address

Level = Literal["say", "log", "warn"]
"""A message about what goes on, a line of a build's log, something to know even when all went well."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OperationStarted:
    """An operation has begun; exactly one of `OperationEnded`, `OperationFailed` and `OperationStopped` follows."""

    stack: str
    operation: Operation


@dataclass(frozen=True, kw_only=True, slots=True)
class OperationEnded:
    """An operation has succeeded."""

    stack: str
    operation: Operation
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class OperationFailed:
    """An operation has failed."""

    stack: str
    operation: Operation
    seconds: float
    error: str


@dataclass(frozen=True, kw_only=True, slots=True)
class OperationStopped:
    """An operation was given up without being a failure: the user interrupted, or its stack is planned again."""

    stack: str
    operation: Operation


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """A text about an object, which may have several lines."""

    stack: str
    address: Address
    level: Level
    text: str


Event = OperationStarted | OperationEnded | OperationFailed | OperationStopped | Message
Listen = Callable[[Event], None]


@contextmanager
def announced(
    operation: Operation, stack: str, clock: Clock, listen: Listen, stops: tuple[type[Exception], ...] = (Interrupted,)
) -> Iterator[None]:
    """Tell that an operation starts and how it ends, with the seconds in between; what it raises goes on.

    `stops` are the errors that end it without being its failure.
    """
    start = clock.monotonic()
    listen(OperationStarted(stack=stack, operation=operation))
    try:
        yield
    except stops:
        listen(OperationStopped(stack=stack, operation=operation))
        raise
    except WhisperctlError as error:
        listen(OperationFailed(stack=stack, operation=operation, seconds=seconds_since(start, clock), error=str(error)))
        raise
    listen(OperationEnded(stack=stack, operation=operation, seconds=seconds_since(start, clock)))


def seconds_since(start: float, clock: Clock) -> float:
    """Seconds from `start`, by the clock's `monotonic`, until now; whole milliseconds."""
    return round(clock.monotonic() - start, 3)
