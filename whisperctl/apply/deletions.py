"""Delete one object and wait until it is gone, unless somebody uses it after all, or has added to it."""

from __future__ import annotations

from typing import assert_never

from whisperctl.apply.context import FAILED, ApplyContext
from whisperctl.apply.fresh import LOOK_PAUSES, access_to, read_now, unchanged
from whisperctl.apply.polling import wait_for
from whisperctl.apply.versions import keep_what_is_used
from whisperctl.control.api import Json
from whisperctl.errors import ApiError, NotFound, StalePlan
from whisperctl.plan.operations import Operation
from whisperctl.state.ownership import owner
from whisperctl.state.resources import Address, Kind, deployment_address, hangs_on, version_address


def delete(context: ApplyContext, operation: Operation) -> None:
    """Delete the object behind the operation's address and wait until it is gone."""
    address = operation.address
    match address.kind:
        case Kind.ENVIRONMENT_TAG:
            _delete_tag(context, address)
        case Kind.ENVIRONMENT:
            if not context.api.tags(*address.names):
                context.api.delete_environment(*address.names)
        case Kind.INSTANCE_TYPE_GROUP | Kind.DEPLOYMENT | Kind.VERSION | Kind.ENV_VAR | Kind.PACKAGE | Kind.SERVICE:
            _delete_own(context, address)
        case _ as kind:
            assert_never(kind)


def _delete_own(context: ApplyContext, address: Address) -> None:
    """An object that is this stack's alone."""
    raw = read_now(context, address)
    if raw is None:
        _forget(context, address)  # somebody has deleted it meanwhile, or what it hung on is gone
        return
    unchanged(context, address)
    if address.kind is Kind.VERSION and raw.get("default"):
        _hand_on_default(context, address)
    if not _deleted(context, address, raw):
        return
    wait_for(
        lambda: read_now(context, address),
        lambda now: now is None or now.get("id") != raw["id"],
        clock=context.clock,
        timeout=context.timeout,
        what=f"{address} to be gone",
    )
    _forget(context, address)


def _deleted(context: ApplyContext, address: Address, raw: Json) -> bool:
    """Whether UbiOps took the deletion; an earlier version of a line that something uses is kept instead."""
    for pause in LOOK_PAUSES:
        try:
            if address.kind is Kind.DEPLOYMENT:
                _refuse_foreign_versions(context, address)
                if lease := context.lease_of(address.names[0]):
                    lease.expect_end()
            access_to(context, address).delete(raw)
            return True
        except ApiError as error:
            # What used it is gone, but perhaps not everywhere yet.
            if error.status not in (400, 409):
                raise
            if pause is None:
                if not _is_earlier_version(context, address):
                    raise
                keep_what_is_used(context, address.names[1])
                context.warn(address, f"is kept, since something uses it: {error.reason}")
                return False
            context.clock.sleep(pause)
    return False


def _forget(context: ApplyContext, address: Address) -> None:
    """The object is gone, and all that hung on it."""
    for known in list(context.seen):
        if known == address or hangs_on(known, address):
            context.saw(known, None)
    for lease in (context.lease, *context.lease.also):
        if address == deployment_address(lease.deployment):
            lease.end()


def _is_earlier_version(context: ApplyContext, address: Address) -> bool:
    """Whether it is a version of the line that is only to be deleted because there are enough of them."""
    rollout = context.plan.rollout
    return rollout is not None and address.kind is Kind.VERSION and address.names[1] in rollout.leaving


def _delete_tag(context: ApplyContext, address: Address) -> None:
    """Unless something uses it after all. A build that was left running is cancelled: UbiOps deletes none."""
    if context.api.tag_usage(*address.names):
        return
    if _is_building(context.api.tag(*address.names)):
        context.say(address, "cancelling its build")
        try:
            context.api.cancel_tag(*address.names)
        except ApiError as error:
            if error.status not in (400, 409):  # it has just ended
                raise
        wait_for(
            lambda: context.api.tag(*address.names),
            lambda tag: not _is_building(tag),
            clock=context.clock,
            timeout=context.timeout,
            what=f"the build of {address} to end",
        )
    context.api.delete_tag(*address.names)


def _is_building(tag: Json | None) -> bool:
    return tag is not None and tag["status"] not in ("pending", "available", *FAILED)


def _refuse_foreign_versions(context: ApplyContext, address: Address) -> None:
    """UbiOps deletes a deployment with all of its versions: nobody's may have been added since the plan was made."""
    foreign = [raw["version"] for raw in context.api.versions(address.names[0]) if owner(raw) != context.plan.stack]
    if foreign:
        raise StalePlan(f"{address} holds {', '.join(foreign)} now, not ours: it was not deleted.\n  Plan again.")


def _hand_on_default(context: ApplyContext, leaving: Address) -> None:
    """Make the stack's version the deployment's default before the default is deleted."""
    successor = version_address(context.deployment, context.version)
    if context.plan.destroy or leaving == successor or leaving.names[0] != context.deployment:
        return
    try:
        with context.lock:
            raw = context.api.update_deployment(context.deployment, {"default_version": context.version})
            context.saw(deployment_address(context.deployment), raw)
    except ApiError as error:
        if error.status != 400 and not isinstance(error, NotFound):
            raise
        # A paused successor is not available: UbiOps then chooses the default itself, or has none.
        context.warn(leaving, f"{context.version} did not become the default version: {error.reason}")
