"""What became of plans that were performed, as values for views and documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from whisperctl.plan.operations import Operation
from whisperctl.plan.plan import Plan

ResultStatus = Literal["done", "failed", "interrupted", "not tried"]


@dataclass(frozen=True, kw_only=True, slots=True)
class OperationResult:
    """What became of one operation."""

    operation: Operation
    status: ResultStatus
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of every operation of one plan, in the plan's order."""

    plan: Plan
    """What was performed: the plan that was asked for, or the one made after waiting for another apply."""
    results: tuple[OperationResult, ...] = ()
    remaining: tuple[str, ...] = ()
    """Addresses that still differ after everything was done; empty when it converged."""
    stale_instances: int = 0
    """Running instances that still have the old value of an env var."""
    error: str = ""
    """What went wrong outside any operation."""
    interrupted: bool = False
    proved: str = ""
    """What the endpoint has shown that it does, and what not; empty where it was not asked."""

    @property
    def stack(self) -> str:
        """The stack's name."""
        return self.plan.stack

    @property
    def succeeded(self) -> bool:
        """Whether everything was done and nothing differs any more."""
        done = all(result.status == "done" for result in self.results)
        return done and not (self.remaining or self.error or self.interrupted)
