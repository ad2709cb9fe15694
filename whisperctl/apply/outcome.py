"""What an apply tells while it works (events) and at its end (results and outcome), as values for views."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from whisperctl.apply.job import Telling
from whisperctl.clock import Clock
from whisperctl.errors import Interrupted, WhisperctlError
from whisperctl.plan.operations import Operation
from whisperctl.plan.plan import Plan
from whisperctl.state.resources import Address

State = Literal["start", Telling, "done", "failed", "stopped"]
"""Each start is followed by one of the last three; stopped: interrupted, or to be planned again."""


Status = Literal["done", "failed", "interrupted", "not tried"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something to show while an apply or a rollback runs."""

    stack: str
    address: Address
    state: State
    text: str
    """The operation's kind, except of what is told meanwhile, and why it failed."""
    seconds: float = 0.0


Listen = Callable[[Event], None]


@contextmanager
def told(
    operation: Operation,
    stack: str,
    clock: Clock,
    listen: Listen,
    stops: tuple[type[WhisperctlError], ...] = (Interrupted,),
) -> Iterator[None]:
    """Tell that an operation starts and how it ends, with the seconds in between; what it raises goes on.

    `stops` are the errors that end it without being its failure.
    """
    start = clock.monotonic()

    def tell(state: State, text: str) -> None:
        seconds = round(clock.monotonic() - start, 3)
        listen(Event(stack=stack, address=operation.address, state=state, text=text, seconds=seconds))

    tell("start", operation.kind)
    try:
        yield
    except stops:
        tell("stopped", operation.kind)
        raise
    except WhisperctlError as error:
        tell("failed", str(error))
        raise
    tell("done", operation.kind)


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What became of one operation."""

    operation: Operation
    status: Status
    seconds: float = 0.0
    error: str = ""


@dataclass(kw_only=True, slots=True)
class Outcome:
    """What became of every operation of one plan, in the plan's order."""

    plan: Plan
    """What was performed: the plan that was asked for, or the one made after waiting for another apply."""
    results: tuple[Result, ...] = ()
    remaining: tuple[str, ...] = ()
    """Addresses that still differ after everything was done; empty when it converged."""
    error: str = ""
    """What went wrong outside any operation."""
    interrupted: bool = False

    @property
    def stack(self) -> str:
        """The stack's name."""
        return self.plan.stack

    @property
    def succeeded(self) -> bool:
        """Whether everything was done and nothing differs any more."""
        done = all(result.status == "done" for result in self.results)
        return done and not (self.remaining or self.error or self.interrupted)
