"""Desired and live state → a plan: changes, the operations that make them, and why. Pure data, decided here alone.

Applying interprets the operations and decides nothing. A plan is complete: uploads, waits, the probe and the labels
that record success are operations in it. Order is a table of needs, not a script.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from whisperctl import __version__
from whisperctl.loading.origin import Origin
from whisperctl.plan.changes import (
    ORDER,
    Change,
    Remark,
    changes_between,
    deletion,
    destruction,
    ignored_differences,
    remarks,
    undeletable_deployments,
)
from whisperctl.plan.cost import stack_cost, unchanged_cost
from whisperctl.plan.downtime import with_downtime
from whisperctl.plan.inherited import inherited_remarks
from whisperctl.plan.instance_types import group_refusals, group_warning
from whisperctl.plan.moving import finished_moves, move_refusals
from whisperctl.plan.operations import Operations
from whisperctl.plan.proposal import Proposal
from whisperctl.plan.refusals import refusals, refuse_foreign
from whisperctl.plan.rollout import failed_rollout, is_replaced, rollout_changes
from whisperctl.plan.safeguards import (
    is_marked,
    moved_origin,
    other_origin,
    protection_refusals,
    provenance_of,
    with_protection_lifted,
)
from whisperctl.plan.selection import EVERYTHING, Selection, selected
from whisperctl.state.desired import Desired
from whisperctl.state.fingerprints import combined
from whisperctl.state.live import Live, is_proven, is_sealed, rendered_by
from whisperctl.state.moves import Moves
from whisperctl.state.resources import Address, package_address, version_address
from whisperctl.state.rollout import LineRollout, is_of_the_rollout, rollout_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan(Proposal):
    """A proposal with the two states that it was made from: what applying works with."""

    desired: Desired
    live: Live
    rollout: LineRollout | None = None
    """Where the stack's line of versions stands; None for a stack that is changed in place."""

    @property
    def addresses(self) -> set[Address]:
        """Of everything that the stack wants, has, or is to lose."""
        return {*self.desired.state, *self.live.owned, *self.left_out, *(change.address for change in self.changes)}

    @property
    def absent(self) -> set[Address]:
        """What is left out of the plan and not on UbiOps."""
        return {address for address in self.left_out if address not in self.live.owned}

    @property
    def is_pending(self) -> bool:
        """Whether UbiOps differs, or a proof or a rollout has still to be finished."""
        rolls = self.rollout is not None and not self.rollout.is_over
        return rolls or bool(self.changes) or not (self.is_empty or self.proven)


def make_plan(
    desired: Desired,
    live: Live,
    *,
    project: str,
    ids: Iterator[int],
    retired_tags: Sequence[Address] = (),
    destroy: bool = False,
    max_credits: float | None = None,
    origin: Origin | None = None,
    allow_delete: bool = False,
    moved: Moves | None = None,
    declared: AbstractSet[str] = frozenset(),
    selection: Selection = EVERYTHING,
) -> Plan:
    """Compare, order, explain.

    Args:
        desired: the state that the stack file wants.
        live: the state of the project.
        project: its name.
        ids: one counter for the operations of all plans that are performed together.
        retired_tags: environment tags (and the environment) that nothing needs afterwards.
        destroy: delete everything that the stack owns.
        max_credits: more an hour, where it is given, is refused.
        origin: where the stack file stands: a stack that was applied from another one is refused.
        allow_delete: unless it may be taken over, with all that this deletes.
        moved: what has an earlier name, where the file says that something had one.
        declared: the names of all stacks that are planned together.
        selection: the part of the stack that is asked for.

    Raises:
        NotOwned: a desired name is taken by something that is not ours.
    """
    if not destroy:
        refuse_foreign(desired, live)
    rollout = None if destroy or is_replaced(desired, live) else rollout_of(desired, live)
    undeletable, warnings = undeletable_deployments(live)
    undeletable |= {address for address in live.owned if is_of_the_rollout(address, rollout)}
    warnings += failed_rollout(rollout) if rollout is not None else []
    changes = destruction(desired, live, undeletable) if destroy else _changes(desired, live, rollout, undeletable)
    changes = _with_retired(desired, changes, retired_tags)
    touched = {change.address for change in changes}
    provenance = provenance_of(live, origin)
    cost = stack_cost(desired, live, rollout, destroy)
    part = selected(selection, desired, live, rollout, changes)
    desired, changes, rollout = part.desired, list(part.changes), part.rollout
    stack = desired.stack
    if version_address(stack.deployment.name, stack.version.name) in part.left_out:
        cost = unchanged_cost(cost)
    is_refused = provenance.contradicts and not allow_delete
    refused = [
        *([other_origin(desired, provenance)] if is_refused else []),
        *protection_refusals(desired, live, changes, rollout),
        *refusals(desired, live, changes, cost, max_credits),
        *move_refusals(desired, live, moved, declared),
        *([] if destroy else group_refusals(stack, live)),
        *part.refused,
    ]
    moves = [moved_origin(desired, provenance)] if provenance.moves and not (destroy or is_refused) else []
    operations = Operations(
        desired, live, changes, ids, rollout, marked=is_marked(stack, live, provenance), partial=bool(selection)
    )
    return Plan(
        stack=stack.name,
        project=project,
        fingerprint=combined(live.fingerprints.items()),
        destroy=destroy,
        wave=1 if destroy else stack.rollout.wave,
        changes=tuple(sorted(changes, key=lambda change: ORDER[change.action])),
        operations=tuple(operations.ordered(destroy)),
        ignored=() if destroy else ignored_differences(desired, live),
        selection=selection,
        left_out=part.left_out,
        along=part.along,
        unchanged=sum(address not in touched for address in live.owned),
        proven=is_proven(live, stack.deployment.name),
        file_warnings=remarks(stack.warnings),
        origin=provenance.to_write,
        warnings=(
            *warnings,
            *part.warnings,
            *finished_moves(desired, live, moved),
            *_warnings(desired, live, project, destroy),
            *moves,
        ),
        cost=cost,
        refused=tuple(refused),
        desired=desired,
        live=live,
        rollout=rollout,
    )


def _with_retired(desired: Desired, changes: Sequence[Change], retired: Sequence[Address]) -> list[Change]:
    """With the deletions of environment tags that nothing needs any more; by address."""
    deleted = {change.address for change in changes if change.action == "delete"}
    more = [deletion(desired, address, "nothing uses it any more") for address in retired if address not in deleted]
    return sorted([*changes, *more], key=lambda change: change.address)


def _changes(desired: Desired, live: Live, rollout: LineRollout | None, undeletable: set[Address]) -> list[Change]:
    """What differs, with what a rollout and lifted protection make of it."""
    changes = changes_between(desired, live, undeletable)
    if rollout is not None:
        changes = rollout_changes(desired, live, rollout, changes)
    return with_protection_lifted(desired, live, with_downtime(desired, live, changes))


def _warnings(desired: Desired, live: Live, project: str, destroy: bool) -> list[Remark]:
    copies = [
        Remark(source=str(address), text=f"{address} carries the label of this stack, but {why}: it is left alone")
        for address, why in sorted(live.copies.items())
        if address not in desired.state
    ]
    if destroy:
        return copies
    inherited = inherited_remarks(desired.stack, live.inherited, project)
    beside = (*inherited, *group_warning(desired.stack, live.group_types))
    return [*copies, *_package_as_it_runs(desired, live), *_paused(desired), *beside]


def _package_as_it_runs(desired: Desired, live: Live) -> list[Remark]:
    names = (desired.stack.deployment.name, desired.stack.version.name)
    if not desired.keeps_package or is_sealed(desired, live):  # told until an apply has recorded it
        return []
    address, tool = package_address(*names), rendered_by(live, *names)
    by, way = "another build of this whisperctl", ""
    if tool not in (None, __version__):
        by = f"{tool}, this is {__version__}"
        way = f', or with `whisperctl: ">={__version__}"` in the file'
    text = (
        f"{address} was rendered by {by}: what the stack file says is the same, so it stays, and is rendered anew "
        f"with the next change of it{way}"
    )
    return [Remark(source=str(address), text=text)]


def _paused(desired: Desired) -> list[Remark]:
    if desired.paused is None:
        return []
    version = version_address(desired.stack.deployment.name, desired.stack.version.name)
    text = "the stack is paused: minimum_instances stays 0 until `whisperctl resume`"
    return [Remark(source=str(version), text=text)]
