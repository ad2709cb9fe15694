"""How a plan begins and ends under its lease.

A stack whose world has moved since its plan is planned again; labels are put back where nothing was done.
"""

from __future__ import annotations

from collections.abc import Callable

from whisperctl.apply.job import Job
from whisperctl.apply.payloads import coming_tags
from whisperctl.control.api import Json
from whisperctl.errors import StalePlan
from whisperctl.plan.plan import Plan
from whisperctl.state.fingerprints import fingerprint
from whisperctl.state.label_text import merged
from whisperctl.state.labels import Labels
from whisperctl.state.resources import Kind, deployment_address

ROUNDS = 5
"""Times that a stack is planned again before its apply gives up."""


def begin(job: Job, replan: Callable[[Plan], Plan] | None) -> None:
    """Take the stack's lease, where there is a deployment to write it on, and plan again if the world has moved.

    Raises:
        StalePlan: it has moved, and the stack may not be planned again.
    """
    address = deployment_address(job.deployment)
    if not (job.created_elsewhere or address in job.plan.live.owned):
        return  # the deployment is created with the lease on it
    taken = job.lease.take()
    unsure = taken.waited or job.created_elsewhere or (taken.slow and not job.exactly)
    moved = unsure or _has_moved(job, taken.before, taken.now)
    job.created_elsewhere = False
    job.before = Labels.of(taken.before)
    now = taken.now
    for _ in range(ROUNDS):
        if not moved:
            break
        if replan is None:
            raise StalePlan(f"Another apply changed the stack {job.plan.stack!r} meanwhile.\n  Plan again.")
        job.plan = replan(job.plan)
        job.seen = dict(job.plan.live.fingerprints)
        if not job.plan.operations:
            job.say(address, "the other apply has done what this one was going to do")
            return
        if not job.plan.destroy and job.lease.deployment != lease_name(job.plan):
            job.lease.deployment = lease_name(job.plan)  # the other apply has renamed the deployment
            now = job.lease.take().now
            moved = _differs(job, now)
            continue
        if address not in job.plan.live.owned:
            job.lease.give_back()  # where it is left at all: the deployment is made again, with a lease of its own
            return
        now = job.lease.api.deployment(job.lease.deployment)
        moved = _differs(job, now)
    if moved:
        raise StalePlan(f"{address} goes on changing on UbiOps while it is planned.\n  Plan again.")
    if now is not None:
        _write_unsettled(job, now)


def lease_name(plan: Plan) -> str:
    """The name that the stack's deployment has on UbiOps: the lease is taken there."""
    address = deployment_address(plan.wanted.stack.deployment.name)
    return plan.live.renamed.get(address, address).names[0]


def _has_moved(job: Job, before: Json | None, now: Json | None) -> bool:
    """Whether anybody has worked on the stack since it was planned.

    Every command that writes changes the deployment, if only by its lease.
    """
    planned = job.plan.live.owned.get(deployment_address(job.deployment), {})
    touched = (before or {}).get("last_updated") != planned.get("last_updated")
    return _differs(job, now) or (touched and not job.exactly)


def _differs(job: Job, now: Json | None) -> bool:
    """Whether the deployment is not the one planned with, but for the labels that its lease writes."""
    address = deployment_address(job.deployment)
    before, after = (
        fingerprint(address, raw and {**raw, "labels": Labels.of(raw).without_bookkeeping}, job.plan.wanted.state)
        for raw in (job.plan.live.owned.get(address), now)
    )
    return before != after


def _write_unsettled(job: Job, now: Json) -> None:
    """Write what is true while the plan is performed: no proof, which tags there may be, no version that is the one."""
    address = deployment_address(job.deployment)
    labels = Labels.of(now)
    changes = labels.packed(tags=coming_tags(job))
    if any(operation.kind == "probe" for operation in job.plan.operations):
        changes |= labels.packed(digest=None)
    if any(o.address.kind is Kind.VERSION and o.kind in ("create", "delete") for o in job.plan.operations):
        changes |= labels.packed(version=None)
    written = merged(labels.all, changes)
    job.saw(address, now)
    if written != labels.all:
        job.saw(address, job.lease.update(now, {"labels": written}))


def give_back(job: Job) -> None:
    """Remove the lease of a plan that was not sealed: a failed or interrupted apply holds up nobody.

    An apply that wrote nothing also puts back the labels that went with its lease: it is not one that did not finish.
    """
    as_before = (lambda _raw: {}) if job.touched else (lambda raw: Labels.of(raw).bookkeeping_of(job.before))
    job.lease.give_back(as_before)
