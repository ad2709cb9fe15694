"""Stacks that are in a project and in none of the stack files at hand: nobody plans them, and they cost on. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from whisperctl.plan.plan import Plan


@dataclass(frozen=True, kw_only=True, slots=True)
class Orphan:
    """One stack that no file at hand declares."""

    stack: str
    project: str
    origin: str
    """Where it was applied from; empty where that is not known."""

    def __str__(self) -> str:
        origin = f" (applied from {self.origin})" if self.origin else ""
        return (
            f"in project {self.project}, but in no file here: {self.stack}{origin}; `whisperctl list` tells what it "
            f"costs, `whisperctl destroy --stack {self.stack}` deletes it"
        )


def orphans(plans: Sequence[Plan]) -> list[Orphan]:
    """The stacks of the plans' projects that none of the plans is of."""
    declared = {(plan.project, plan.stack) for plan in plans} | {
        (plan.project, earlier) for plan in plans for earlier in plan.desired.stack.moved.stack
    }
    origins = {(plan.project, stack): origin for plan in plans for stack, origin in plan.live.stacks.items()}
    return [
        Orphan(stack=stack, project=project, origin=origin)
        for (project, stack), origin in sorted(origins.items())
        if (project, stack) not in declared
    ]


def orphans_document(undeclared: Iterable[Orphan]) -> list[dict[str, str | None]]:
    """The JSON form of stacks that no file declares."""
    return [{"stack": item.stack, "project": item.project, "origin": item.origin or None} for item in undeclared]
