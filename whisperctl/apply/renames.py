"""Give objects that moved their new name or owner, in place: their ids and what leads to them stay."""

from __future__ import annotations

from whisperctl.apply.job import Job
from whisperctl.control.api import Json
from whisperctl.errors import ApiError, StalePlan
from whisperctl.plan.operations import Operation
from whisperctl.state.fingerprints import fingerprint
from whisperctl.state.labels import Labels
from whisperctl.state.moves import other_owners
from whisperctl.state.objects import access
from whisperctl.state.ownership import owner
from whisperctl.state.resources import Address, Kind


def rename(job: Job, operation: Operation) -> None:
    """Give an object its new name, and with the deployment all objects of a renamed stack their owner's.

    What leads to it, or names it, is read again afterwards.
    """
    new, pending = operation.address, dict(job.plan.live.renamed)
    if new in pending:
        _give_name(job, pending[new], new)
    job.named.add(new)
    if new.kind is Kind.DEPLOYMENT:
        for address in other_owners(job.plan.wanted.stack, job.plan.live.owned):
            _give_owner(job, address)
    done = all(address in job.named for address in pending)
    for address, planned in job.plan.live.owned.items():
        if address.kind in (Kind.DEPLOYMENT, Kind.VERSION, Kind.SERVICE):
            raw = _read_by_name(job, address)
            if done and raw is not None and address.kind is Kind.SERVICE:
                raw = _led_again(job, address, raw, planned)
            job.saw(address, raw)


def _led_again(job: Job, address: Address, raw: Json, planned: Json) -> Json:
    """Point a service again that has lost what was renamed: UbiOps is not documented to follow names or ids."""
    route = {field: planned[field] for field in ("deployment", "version") if planned.get(field)}
    if planned.get("deployment") != job.deployment or all(raw.get(field) == name for field, name in route.items()):
        return raw
    return job.api.update_service(address.names[0], route)


def _give_name(job: Job, old: Address, new: Address) -> None:
    calls, there = access(job.api, old), access(job.api, new)
    raw = calls.read() if calls else None
    if raw is None or calls is None or fingerprint(new, raw, job.plan.wanted.state) != job.seen.get(new):
        raise StalePlan(f"{old} changed on UbiOps since the plan was made.\n  Nothing was written to it. Plan again.")
    field = "version" if new.kind is Kind.VERSION else "name"
    if new.kind is Kind.DEPLOYMENT:
        job.lease.rename(raw, new.names[0])
        return
    try:
        calls.change(raw, {field: new.names[-1]})
    except ApiError:
        # Its answer may have been lost, and the repeated request then finds nothing under the old name.
        after = there.read() if there else None
        if after is None or after["id"] != raw["id"]:
            raise


def _read_by_name(job: Job, address: Address) -> Json | None:
    """The object under the name that it has at this moment."""
    waiting = address in job.plan.live.renamed and address not in job.named
    calls = access(job.api, job.plan.live.renamed[address] if waiting else address)
    return calls.read() if calls else None


def _give_owner(job: Job, address: Address) -> None:
    """Write the stack's new name on an object of its own."""
    with job.lock:
        raw = _read_by_name(job, address)
        waiting = address in job.plan.live.renamed and address not in job.named
        calls = access(job.api, job.plan.live.renamed[address] if waiting else address)
        if raw is None or calls is None or owner(raw) not in job.plan.wanted.stack.owners:
            raise StalePlan(f"{address} changed on UbiOps since the plan was made.\n  Plan again.")
        labels = Labels.of(raw).written(owner=job.plan.stack)
        if address.kind is Kind.DEPLOYMENT and (lease := job.lease_of(raw["name"])):
            lease.update(raw, {"labels": labels})
        else:
            calls.change(raw, {"labels": labels})
