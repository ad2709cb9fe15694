"""Desired and live state → a plan: changes, the operations that make them, and why. Pure data, decided here alone.

Applying interprets the operations and decides nothing. A plan is complete: uploads, waits, the probe and the labels
that record success are operations in it. Order is a table of needs, not a script.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from whisperctl.plan.changes import (
    Action,
    Change,
    changes_between,
    deletion,
    destruction,
    kept_deployments,
)
from whisperctl.plan.operations import Operation, Operations
from whisperctl.plan.refusals import refuse_foreign, refuse_protected
from whisperctl.state.desired import Wanted
from whisperctl.state.fingerprints import combined
from whisperctl.state.live import Live, is_proven
from whisperctl.state.resources import (
    Address,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What differs for one stack, and what to do about it in which order."""

    wanted: Wanted
    live: Live
    project: str
    destroy: bool
    changes: tuple[Change, ...]
    operations: tuple[Operation, ...]
    unchanged: int
    warnings: tuple[str, ...] = ()

    @property
    def stack(self) -> str:
        """The stack's name."""
        return self.wanted.stack.name

    @property
    def fingerprint(self) -> str:
        """Of every live object that the plan was made from."""
        return combined(self.live.fingerprints.items())

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do at all."""
        return not self.operations

    @property
    def is_pending(self) -> bool:
        """Whether UbiOps differs or the proof of an apply is missing: more than labels to bring up to date."""
        deployment = self.wanted.stack.deployment.name
        return bool(self.changes) or not (self.is_empty or is_proven(self.live, deployment))

    def count(self, action: Action) -> int:
        """Changes of one sort."""
        return sum(change.action == action for change in self.changes)


def make_plan(
    wanted: Wanted,
    live: Live,
    *,
    project: str,
    first_id: int = 1,
    retired_tags: Sequence[Address] = (),
    destroy: bool = False,
) -> Plan:
    """Compare, order, explain. `retired_tags` are environment tags (and the environment) that nothing needs afterwards.

    Raises:
        NotOwned: a wanted name is taken by something that is not ours.
        Protected: the stack is protected and something would be deleted.
    """
    if not destroy:
        refuse_foreign(wanted, live)
    kept, warnings = kept_deployments(live)
    changes = destruction(wanted, live, kept) if destroy else changes_between(wanted, live, kept)
    gone = {change.address for change in changes if change.action == "delete"}
    changes += [deletion(wanted, a, "nothing uses it any more") for a in retired_tags if a not in gone]
    changes.sort(key=lambda change: change.address)
    refuse_protected(wanted, changes)
    operations = Operations(wanted, live, changes, first_id).ordered(destroy)
    touched = {change.address for change in changes}
    return Plan(
        wanted=wanted,
        live=live,
        project=project,
        destroy=destroy,
        changes=tuple(changes),
        operations=tuple(operations),
        unchanged=sum(address not in touched for address in live.owned),
        warnings=(*warnings, *_warnings(wanted, destroy)),
    )


def new_changes(before: Plan, after: Plan) -> list[Change]:
    """The changes of `after` that are not all in `before`: another object, action, field or value."""
    known = {(change.address, change.action): change.fields for change in before.changes}
    return [
        change
        for change in after.changes
        if (change.address, change.action) not in known
        or any(item not in known[change.address, change.action] for item in change.fields)
    ]


def _warnings(wanted: Wanted, destroy: bool) -> list[str]:
    if destroy or wanted.paused is None:
        return []
    return ["the stack is paused: minimum_instances stays 0 until `whisperctl resume`"]
