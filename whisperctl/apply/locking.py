"""How a plan begins and ends under its lease.

A stack whose world has moved since its plan is planned again; labels are put back where nothing was done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from whisperctl.apply.context import ApplyContext
from whisperctl.apply.holder import Taken
from whisperctl.apply.lease import Lease
from whisperctl.apply.payloads import coming_tags
from whisperctl.control.api import Json
from whisperctl.errors import StalePlan
from whisperctl.plan.plan import Plan
from whisperctl.state.fingerprints import fingerprint
from whisperctl.state.label_text import merged
from whisperctl.state.labels import Labels
from whisperctl.state.resources import Address, Kind, deployment_address, hangs_on

ROUNDS = 5
"""Times that a stack is planned again before its apply gives up."""


def begin(context: ApplyContext, replan: Callable[[Plan], Plan] | None) -> None:
    """Take the leases of the plan's deployments, where there are any yet, and plan again if the world has moved.

    Raises:
        StalePlan: it has moved, and the stack may not be planned again.
    """
    moved, now = _lease_all(context)
    for _ in range(ROUNDS):
        if not moved:
            break
        if replan is None:
            raise StalePlan(f"Another apply changed the stack {context.plan.stack!r} meanwhile.\n  Plan again.")
        context.plan = replan(context.plan)
        context.seen = dict(context.plan.live.fingerprints)
        if not context.plan.operations:
            context.say(
                deployment_address(context.deployment), "the other apply has done what this one was going to do"
            )
            return
        moved, now = _lease_all(context)
    if moved:
        address = deployment_address(context.deployment)
        raise StalePlan(f"{address} goes on changing on UbiOps while it is planned.\n  Plan again.")
    if now is not None:
        _write_unsettled(context, now)


def _lease_all(context: ApplyContext) -> tuple[bool, Json | None]:
    """Hold the leases of all deployments that the plan changes or deletes.

    Returns whether anything has moved since the plan, and the stack's own deployment as it is now, which may be still
    to be made: it is created with the lease on it. Taken in the order of their names, so that no two applies wait for
    each other.
    """
    plan, own, leaving = context.plan, lease_name(context.plan), _leaving(context.plan)
    is_there = context.created_elsewhere or deployment_address(context.deployment) in plan.live.owned
    others = {lease.deployment: lease for lease in context.lease.also}
    if context.lease.placed and (not is_there or context.lease.deployment != own):
        context.lease.give_back()  # where it is left at all: another apply has renamed the deployment, or deleted it
    for name in others.keys() - leaving:
        others.pop(name).give_back()
    context.lease.deployment = own
    moved, now = context.created_elsewhere, None
    names = sorted({own, *leaving} if is_there else leaving)
    _give_back_later([context.lease, *others.values()], names)
    for name in names:
        lease = context.lease if name == own else others.setdefault(name, context.lease.another(name))
        context.lease.also = [*others.values()]  # renewed from now on
        has_moved, raw = _lease_one(context, lease)
        moved = moved or has_moved
        now = raw if name == own else now
    if now is not None and names[-1] != own:  # the others may have taken a while
        has_moved, now = _lease_one(context, context.lease)
        moved = moved or has_moved
    context.created_elsewhere = False
    return moved, now


def _give_back_later(leases: Sequence[Lease], names: Sequence[str]) -> None:
    """Give back what is held of those that come after a name that is still to be taken: they are taken after it."""
    placed = {lease.deployment: lease for lease in leases if lease.placed}
    first = next((name for name in names if name not in placed), None)
    for name, lease in placed.items():
        if first is not None and name > first:
            lease.give_back()


def _leaving(plan: Plan) -> set[str]:
    """The names of the stack's other deployments which the plan deletes, or something of them."""
    own = {plan.desired.stack.deployment.name, lease_name(plan)}
    return {
        address.names[0]
        for address in plan.live.owned
        if address.kind is Kind.DEPLOYMENT
        and address.names[0] not in own
        and any(o.kind == "delete" and (o.address == address or hangs_on(o.address, address)) for o in plan.operations)
    }


def _lease_one(context: ApplyContext, lease: Lease) -> tuple[bool, Json | None]:
    """Take a lease, or look at what is under one that is held; whether that has moved, and what it is now."""
    address = deployment_address(context.deployment if lease is context.lease else lease.deployment)
    if lease.placed:
        now = lease.api.deployment(lease.deployment)
        return _differs(context, address, now), now
    taken = lease.take()
    if lease is context.lease:
        context.before = Labels.of(taken.before)
    unsure = taken.waited or (taken.slow and not context.exactly)
    return unsure or _has_moved(context, address, taken), taken.now


def lease_name(plan: Plan) -> str:
    """The name that the stack's deployment has on UbiOps: the lease is taken there."""
    address = deployment_address(plan.desired.stack.deployment.name)
    return plan.live.renamed.get(address, address).names[0]


def _has_moved(context: ApplyContext, address: Address, taken: Taken) -> bool:
    """Whether anybody has worked on the stack since it was planned.

    Every command that writes changes the deployment, if only by its lease.
    """
    planned = context.plan.live.owned.get(address, {})
    touched = (taken.before or {}).get("last_updated") != planned.get("last_updated")
    return _differs(context, address, taken.now) or (touched and not context.exactly)


def _differs(context: ApplyContext, address: Address, now: Json | None) -> bool:
    """Whether a deployment is not the one planned with, but for the labels that its lease writes."""
    before, after = (
        fingerprint(address, raw and {**raw, "labels": Labels.of(raw).without_bookkeeping}, context.plan.desired.state)
        for raw in (context.plan.live.owned.get(address), now)
    )
    return before != after


def _write_unsettled(context: ApplyContext, now: Json) -> None:
    """Write what is true while the plan is performed: no proof, which tags there may be, no version that is the one."""
    address = deployment_address(context.deployment)
    labels = Labels.of(now)
    changes = labels.packed(tags=coming_tags(context))
    if any(operation.kind == "probe" for operation in context.plan.operations):
        changes |= labels.packed(digest=None)
    if any(o.address.kind is Kind.VERSION and o.kind in ("create", "delete") for o in context.plan.operations):
        changes |= labels.packed(version=None)
    written = merged(labels.all, changes)
    context.saw(address, now)
    if written != labels.all:
        context.saw(address, context.lease.update(now, {"labels": written}))


def give_back(context: ApplyContext) -> None:
    """Remove the lease of a plan that was not sealed: a failed or interrupted apply holds up nobody.

    An apply that wrote nothing also puts back the labels that went with its lease: it is not one that did not finish.
    """
    as_before = (lambda _raw: {}) if context.touched else (lambda raw: Labels.of(raw).bookkeeping_of(context.before))
    for lease in context.lease.also:
        lease.give_back()
    context.lease.also = ()  # for one that was lost the stack's own is not kept
    context.lease.give_back(as_before)
