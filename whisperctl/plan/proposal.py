"""What a plan proposes for one stack, as a value that can be shown, saved and compared.

It holds no live object, nothing of the stack file and no secret: views and saved plans need nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass

from whisperctl.plan.changes import Action, Change, Remark
from whisperctl.plan.cost import Cost
from whisperctl.plan.operations import Operation
from whisperctl.plan.selection import EVERYTHING, Selection
from whisperctl.state.resources import Address


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """What differs for one stack, and what to do about it in which order."""

    stack: str
    project: str
    fingerprint: str
    """Of every live object that it was made from."""
    destroy: bool = False
    wave: int = 1
    """Of several stacks: it begins when those of the waves before have passed."""
    changes: tuple[Change, ...] = ()
    operations: tuple[Operation, ...] = ()
    unchanged: int = 0
    """Owned objects that stay as they are."""
    ignored: tuple[tuple[Address, str], ...] = ()
    """What differs and is left as it is (`ignore_changes`): object, and path of the field."""
    selection: Selection = EVERYTHING
    """The part of the stack that was asked for."""
    left_out: tuple[Address, ...] = ()
    """Objects with changes that were not asked for, and are not made."""
    along: tuple[Address, ...] = ()
    """Objects with changes that were not asked for and come along, since what was asked for needs them."""
    proven: bool = True
    """Whether the last apply that had something to prove did so."""
    cost: Cost | None = None
    """What its instances cost, by the rates of the instance types."""
    origin: str | None = None
    """The repository and file that the stack is declared in, where that is known."""
    file_warnings: tuple[Remark, ...] = ()
    """What loading warned of: commands say it once on stderr, documents hold it."""
    warnings: tuple[Remark, ...] = ()
    """What the live project gives reason to warn of."""
    refused: tuple[Remark, ...] = ()
    """Why `apply` would not perform it."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do at all."""
        return not self.operations

    @property
    def is_pending(self) -> bool:
        """Whether UbiOps differs or the proof of an apply is missing: more than labels to bring up to date."""
        return bool(self.changes) or not (self.is_empty or self.proven)

    def count(self, action: Action) -> int:
        """How many changes are of one action."""
        return sum(change.action == action for change in self.changes)


def new_changes(before: Proposal, after: Proposal) -> list[Change]:
    """The changes of `after` that are not all in `before`: another object, action, field or value."""
    known = {(change.address, change.action): change.fields for change in before.changes}
    return [
        change
        for change in after.changes
        if (change.address, change.action) not in known
        or any(item not in known[change.address, change.action] for item in change.fields)
    ]
