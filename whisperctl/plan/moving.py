"""What `moved` is refused for, and when its lines have done their work. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from whisperctl.plan.changes import Remark
from whisperctl.state.desired import Desired
from whisperctl.state.labels import Labels
from whisperctl.state.live import Live
from whisperctl.state.moves import Moves, other_owners
from whisperctl.state.resources import deployment_address


def move_refusals(desired: Desired, live: Live, moves: Moves | None, declared: AbstractSet[str]) -> Iterator[Remark]:
    """Why nothing is renamed: two things of both names, a protected stack, or one that another file declares."""
    stack = desired.stack
    source = stack.source("moved")
    if moves is None:
        return
    for text in moves.conflicts:
        advice = "Delete what is not meant, or take the line out of `moved`."
        yield Remark(source=source, text=f"{text}.\n  {advice}")
    for name in stack.moved.stack:
        if name in declared:
            text = f"the stack {name!r} is declared by a file of its own: it was not renamed to {stack.name!r}"
            yield Remark(source=source, text=text)
    taken = [live.owned[address] for address in other_owners(stack, live.owned)]
    if any(Labels.of(raw).protect for raw in taken):
        text = (
            f"the stack that `moved` names is protected on UbiOps: it is not renamed to {stack.name!r}.\n"
            "  Lift its protection first, under its old name, in an apply of its own."
        )
        yield Remark(source=source, text=text)


def finished_moves(desired: Desired, live: Live, moves: Moves | None) -> Iterator[Remark]:
    """That `moved` has done its work: what it names is there under today's names."""
    stack = desired.stack
    if moves is None or moves.renames or moves.conflicts or other_owners(stack, live.owned):
        return
    if deployment_address(stack.deployment.name) in live.owned:
        text = f"nothing has a name that `moved` gives any more: the lines can leave {stack.file}"
        yield Remark(source=stack.source("moved"), text=text)
