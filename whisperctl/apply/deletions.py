"""Delete one object and wait until it is gone, unless somebody uses it after all, or has added to it."""

from __future__ import annotations

from typing import assert_never

from whisperctl.apply.fresh import LOOK_PAUSES, access_to, read_now, unchanged
from whisperctl.apply.job import FAILED, Job
from whisperctl.apply.polling import wait_for
from whisperctl.apply.versions import keep_what_is_used
from whisperctl.control.api import Json
from whisperctl.errors import ApiError, NotFound, StalePlan
from whisperctl.plan.operations import Operation
from whisperctl.state.ownership import owner
from whisperctl.state.resources import Address, Kind, deployment_address, hangs_on, version_address


def delete(job: Job, operation: Operation) -> None:
    """Delete the object behind the operation's address and wait until it is gone."""
    address = operation.address
    match address.kind:
        case Kind.ENVIRONMENT_TAG:
            _delete_tag(job, address)
        case Kind.ENVIRONMENT:
            if not job.api.tags(*address.names):
                job.api.delete_environment(*address.names)
        case Kind.INSTANCE_TYPE_GROUP | Kind.DEPLOYMENT | Kind.VERSION | Kind.ENV_VAR | Kind.PACKAGE | Kind.SERVICE:
            _delete_own(job, address)
        case _ as kind:
            assert_never(kind)


def _delete_own(job: Job, address: Address) -> None:
    """An object that is this stack's alone."""
    raw = read_now(job, address)
    if raw is None:
        _forget(job, address)  # somebody has deleted it meanwhile, or what it hung on is gone
        return
    unchanged(job, address)
    if address.kind is Kind.VERSION and raw.get("default"):
        _hand_on_default(job, address)
    if not _deleted(job, address, raw):
        return
    wait_for(
        lambda: read_now(job, address),
        lambda now: now is None or now.get("id") != raw["id"],
        clock=job.clock,
        timeout=job.timeout,
        what=f"{address} to be gone",
    )
    _forget(job, address)


def _deleted(job: Job, address: Address, raw: Json) -> bool:
    """Whether UbiOps took the deletion; an earlier version of a line that something uses is kept instead."""
    for pause in LOOK_PAUSES:
        try:
            if address.kind is Kind.DEPLOYMENT:
                _refuse_foreign_versions(job, address)
            access_to(job, address).delete(raw)
            return True
        except ApiError as error:
            # What used it is gone, but perhaps not everywhere yet.
            if error.status not in (400, 409):
                raise
            if pause is None:
                if not _is_earlier_version(job, address):
                    raise
                keep_what_is_used(job, address.names[1])
                job.warn(address, f"is kept, since something uses it: {error.reason}")
                return False
            job.clock.sleep(pause)
    return False


def _forget(job: Job, address: Address) -> None:
    """The object is gone, and all that hung on it."""
    for known in list(job.seen):
        if known == address or hangs_on(known, address):
            job.saw(known, None)
    for lease in (job.lease, *job.lease.also):
        if address == deployment_address(lease.deployment):
            lease.end()


def _is_earlier_version(job: Job, address: Address) -> bool:
    """Whether it is a version of the line that is only to be deleted because there are enough of them."""
    rollout = job.plan.rollout
    return rollout is not None and address.kind is Kind.VERSION and address.names[1] in rollout.leaving


def _delete_tag(job: Job, address: Address) -> None:
    """Unless something uses it after all. A build that was left running is cancelled: UbiOps deletes none."""
    if job.api.tag_usage(*address.names):
        return
    if _is_building(job.api.tag(*address.names)):
        job.say(address, "cancelling its build")
        try:
            job.api.cancel_tag(*address.names)
        except ApiError as error:
            if error.status not in (400, 409):  # it has just ended
                raise
        wait_for(
            lambda: job.api.tag(*address.names),
            lambda tag: not _is_building(tag),
            clock=job.clock,
            timeout=job.timeout,
            what=f"the build of {address} to end",
        )
    job.api.delete_tag(*address.names)


def _is_building(tag: Json | None) -> bool:
    return tag is not None and tag["status"] not in ("pending", "available", *FAILED)


def _refuse_foreign_versions(job: Job, address: Address) -> None:
    """UbiOps deletes a deployment with all of its versions: nobody's may have been added since the plan was made."""
    foreign = [raw["version"] for raw in job.api.versions(address.names[0]) if owner(raw) != job.plan.stack]
    if foreign:
        raise StalePlan(f"{address} holds {', '.join(foreign)} now, not ours: it was not deleted.\n  Plan again.")


def _hand_on_default(job: Job, leaving: Address) -> None:
    """Make the stack's version the deployment's default before the default is deleted."""
    successor = version_address(job.deployment, job.version)
    if job.plan.destroy or leaving == successor or leaving.names[0] != job.deployment:
        return
    try:
        with job.lock:
            raw = job.api.update_deployment(job.deployment, {"default_version": job.version})
            job.saw(deployment_address(job.deployment), raw)
    except ApiError as error:
        if error.status != 400 and not isinstance(error, NotFound):
            raise
        # A paused successor is not available: UbiOps then chooses the default itself, or has none.
        job.warn(leaving, f"{job.version} did not become the default version: {error.reason}")
