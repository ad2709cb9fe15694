"""Desired and live state → a plan: changes, the operations that make them, and why. Pure data, decided here alone.

Applying interprets the operations and decides nothing. A plan is complete: uploads, waits, the probe and the labels
that record success are operations in it. Order is a table of needs, not a script.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from whisperctl.plan.changes import Remark, changes_between, deletion, destruction, kept_deployments, remarks
from whisperctl.plan.cost import stack_cost
from whisperctl.plan.operations import Operations
from whisperctl.plan.proposal import Proposal
from whisperctl.plan.refusals import refusals, refuse_foreign
from whisperctl.plan.rollout import failed_rollout, is_replaced, rollout_changes
from whisperctl.state.desired import Wanted
from whisperctl.state.fingerprints import combined
from whisperctl.state.live import Live, is_proven
from whisperctl.state.resources import Address, version_address
from whisperctl.state.rollout import Rollout, is_of_the_rollout, rollout_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan(Proposal):
    """A proposal with the two states that it was made from: what applying works with."""

    wanted: Wanted
    live: Live
    rollout: Rollout | None = None
    """Where the stack's line of versions stands; None for a stack that is changed in place."""

    @property
    def is_pending(self) -> bool:
        """Whether UbiOps differs, or a proof or a rollout has still to be finished."""
        rolls = self.rollout is not None and not self.rollout.is_over
        return rolls or bool(self.changes) or not (self.is_empty or self.proven)


def make_plan(
    wanted: Wanted,
    live: Live,
    *,
    project: str,
    ids: Iterator[int],
    retired_tags: Sequence[Address] = (),
    destroy: bool = False,
    max_credits: float | None = None,
) -> Plan:
    """Compare, order, explain.

    Args:
        wanted: the state that the stack file wants.
        live: the state of the project.
        project: its name.
        ids: one counter for the operations of all plans that are performed together.
        retired_tags: environment tags (and the environment) that nothing needs afterwards.
        destroy: delete everything that the stack owns.
        max_credits: more an hour, where it is given, is refused.

    Raises:
        NotOwned: a wanted name is taken by something that is not ours.
    """
    if not destroy:
        refuse_foreign(wanted, live)
    kept, warnings = kept_deployments(live)
    rollout = None if destroy or is_replaced(wanted, live) else rollout_of(wanted, live)
    kept |= {address for address in live.owned if is_of_the_rollout(address, rollout)}
    changes = destruction(wanted, live, kept) if destroy else changes_between(wanted, live, kept)
    if rollout is not None:
        changes = rollout_changes(wanted, live, rollout, changes)
        warnings += failed_rollout(rollout)
    gone = {change.address for change in changes if change.action == "delete"}
    changes += [deletion(wanted, a, "nothing uses it any more") for a in retired_tags if a not in gone]
    changes.sort(key=lambda change: change.address)
    touched = {change.address for change in changes}
    cost = stack_cost(wanted, live, rollout, destroy)
    stack = wanted.stack
    return Plan(
        stack=stack.name,
        project=project,
        fingerprint=combined(live.fingerprints.items()),
        destroy=destroy,
        changes=tuple(changes),
        operations=tuple(Operations(wanted, live, changes, ids, rollout).ordered(destroy)),
        unchanged=sum(address not in touched for address in live.owned),
        proven=is_proven(live, stack.deployment.name),
        file_warnings=remarks(stack.warnings),
        warnings=(*warnings, *_warnings(wanted, destroy)),
        cost=cost,
        refused=tuple(refusals(wanted, live, changes, cost, max_credits)),
        wanted=wanted,
        live=live,
        rollout=rollout,
    )


def _warnings(wanted: Wanted, destroy: bool) -> list[Remark]:
    if destroy or wanted.paused is None:
        return []
    version = version_address(wanted.stack.deployment.name, wanted.stack.version.name)
    text = "the stack is paused: minimum_instances stays 0 until `whisperctl resume`"
    return [Remark(source=str(version), text=text)]
