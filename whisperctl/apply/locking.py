"""The leases of an apply: taken when a stack begins, renewed while it works, given back at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from whisperctl.apply import lease as leases
from whisperctl.apply.job import Job
from whisperctl.apply.lease import renewed
from whisperctl.apply.payloads import coming_tags
from whisperctl.control.api import Json
from whisperctl.errors import ApiError, Interrupted, StalePlan
from whisperctl.plan.plan import Plan
from whisperctl.state.fingerprints import fingerprint
from whisperctl.state.labels import Labels, LeaseHolder, merged
from whisperctl.state.resources import Kind, deployment_address


def begin(job: Job, replan: Callable[[Plan], Plan] | None) -> None:
    """Take the stack's lease, where there is a deployment to write it on; plan again if that had to be waited for.

    Raises:
        StalePlan: the deployment changed since the plan was made, and it may not be planned again.
    """
    address = deployment_address(job.deployment)
    appeared = job.created_elsewhere
    while appeared or address in job.plan.live.owned:
        waited, now = _take(job, appeared)
        if not (waited or appeared):
            if now is not None:
                _refuse_changed(job, now)
                job.saw(address, now)
            return
        if replan is None:
            raise StalePlan(f"Another apply changed the stack {job.plan.stack!r} meanwhile.\n  Plan again.")
        appeared = False
        job.plan = replan(job.plan)
        job.seen = dict(job.plan.live.fingerprints)
        if not job.plan.operations:
            job.say(address, "the other apply has done what this one was going to do")
            return


def _take(job: Job, is_outdated: bool) -> tuple[bool, Json | None]:
    """Whether another apply had to be waited for, and the deployment as it is now.

    An outdated plan is not performed, so that nothing is written about it.
    """
    address = deployment_address(job.deployment)
    taken = leases.take(
        job.api,
        job.deployment,
        job.lease,
        job.clock,
        lambda text: job.say(address, text),
        unproven=not is_outdated and any(operation.kind == "probe" for operation in job.plan.operations),
        more={} if is_outdated else _unsettled(job),
    )
    job.lease, job.held, job.before = taken.lease, taken.now is not None, taken.before
    return taken.waited, taken.now


def _unsettled(job: Job) -> dict[str, str | None]:
    """Labels that are not true while this plan is performed: which version is the only one, which tags there are."""
    moves = any(
        operation.address.kind is Kind.VERSION and operation.kind in ("create", "delete")
        for operation in job.plan.operations
    )
    labels = Labels.of(job.plan.live.owned.get(deployment_address(job.deployment)))
    return labels.packed(tags=coming_tags(job)) | (labels.packed(version=None) if moves else {})


def _refuse_changed(job: Job, now: Mapping[str, object]) -> None:
    """Raise StalePlan unless the deployment is the one planned with, but for the labels that the lease just wrote."""
    address = deployment_address(job.deployment)
    before, after = (
        fingerprint(address, _without_bookkeeping(raw), job.plan.wanted.state)
        for raw in (job.plan.live.owned[address], now)
    )
    if before != after:
        raise StalePlan(f"{address} changed on UbiOps since the plan was made.\n  Plan again.")


def _without_bookkeeping(raw: Mapping[str, object]) -> Json:
    return {**raw, "labels": Labels.of(raw).without_bookkeeping}


def renew(jobs: Sequence[Job]) -> None:
    """Write longer leases: one list of a project's deployments for all of its stacks, then a PATCH each."""
    for api in {id(job.api): job.api for job in jobs}.values():
        try:
            listed = {raw["name"]: raw for raw in api.deployments()}
        except (ApiError, Interrupted):
            continue  # tried again before the leases run out
        for job in jobs:
            if job.api is api:
                _renew_one(job, listed.get(job.deployment))


def _renew_one(job: Job, listed: Json | None) -> None:
    address = deployment_address(job.deployment)
    with job.lock:
        # What was written since the list was made must not be written over.
        current = listed
        if listed is None or fingerprint(address, listed, job.plan.wanted.state) != job.seen.get(address):
            try:
                current = job.api.deployment(job.deployment)
            except (ApiError, Interrupted):
                return
        if current is not None and job.held:
            job.lease = renewed(job.lease)
            _write(job, current, job.lease)


def give_back(job: Job) -> None:
    """Remove the lease of a plan that was not sealed: a failed or interrupted apply holds up nobody.

    An apply that wrote nothing also puts back the labels that went with its lease: it is not one that did not finish.
    """
    if not job.held:
        return
    with job.lock:
        try:
            current = job.api.deployment(job.deployment)
        except (ApiError, Interrupted):
            return  # it runs out by itself, and is free at once when this process has ended
        if current is not None:
            _write(job, current if job.touched else _as_before(job, current), None)
        job.held = False


def _as_before(job: Job, raw: Json) -> Json:
    labels = Labels.of(raw)
    return {**raw, "labels": merged(labels.all, labels.bookkeeping_of(job.before))}


def _write(job: Job, raw: Json, lease: LeaseHolder | None) -> None:
    labels = Labels.of(raw)
    holder = labels.lease
    if holder is None or holder.nonce != job.lease.nonce:
        if holder is not None:
            job.lost.set()
        return
    try:
        job.api.update_deployment(job.deployment, {"labels": labels.written(lease=lease)})
    except (ApiError, Interrupted):
        return  # as above
