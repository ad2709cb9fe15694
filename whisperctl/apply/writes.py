"""Create and change the object behind one operation of a plan. Decides nothing that the plan did not decide.

Before each write the object is read again and compared with what the plan was made from; a create that lost its answer
is resolved by reading its name. Renames are in `renames`, deletions in `deletions`, labels that remember in
`bookkeeping`; waits for builds are in `builds`, for the endpoint in `proof`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import assert_never

from whisperctl.apply.context import ApplyContext
from whisperctl.apply.first_read import FirstRead
from whisperctl.apply.fresh import access_to, change_unchanged, create_once, read_now, unchanged, write_labels
from whisperctl.apply.payloads import change, creation, desired_labels
from whisperctl.control.api import Json
from whisperctl.errors import ApiError, Contended, NotFound, StalePlan
from whisperctl.plan.operations import Operation
from whisperctl.state.labels import Labels
from whisperctl.state.live import LABELLED
from whisperctl.state.ownership import owner
from whisperctl.state.resources import Address, Kind, deployment_address


def create(context: ApplyContext, operation: Operation) -> None:
    """Make the object behind the operation's address."""
    address = operation.address
    match address.kind:
        case Kind.DEPLOYMENT:
            _create_deployment(context, address)
        case Kind.INSTANCE_TYPE_GROUP:
            _create_group(context, address)
        case Kind.ENVIRONMENT | Kind.ENVIRONMENT_TAG | Kind.VERSION | Kind.ENV_VAR | Kind.PACKAGE | Kind.SERVICE:
            _create_simply(context, address)
        case _ as kind:
            assert_never(kind)
    context.created.add(address)


def _create_simply(context: ApplyContext, address: Address) -> None:
    if unchanged(context, address) is not None:
        return  # the shared environment: another stack was quicker
    raw = _made(context, address)
    context.saw(address, raw)
    _write_id(context, address, raw)


def _made(context: ApplyContext, address: Address) -> Json | None:
    body, calls = creation(context, address), access_to(context, address)
    return create_once(context, address, lambda: calls.create(body), calls.read)


def _write_id(context: ApplyContext, address: Address, raw: Json | None) -> None:
    """Write the object's own id on it: a copy of its labels then tells another's."""
    if raw is None or address.kind not in LABELLED or Labels.of(raw).id == raw["id"]:
        return
    with context.lock, suppress(NotFound):  # it is not seen everywhere yet: its id is written when all is done
        if address.kind is not Kind.DEPLOYMENT:
            write_labels(context, address, lambda raw: Labels.of(raw).written(id=raw["id"]))
        elif now := read_now(context, address):  # again: to get the lock may have taken a while
            context.saw(address, context.lease.update(now, {"labels": Labels.of(now).written(id=now["id"])}))


def _create_deployment(context: ApplyContext, address: Address) -> None:
    """The deployment, born with our lease on it.

    Raises:
        Contended: another apply of the same stack has just created it.
    """
    sent = context.clock.boottime()
    try:
        unchanged(context, address)
        raw = _made(context, address)
    except (ApiError, StalePlan) as error:
        existing = read_now(context, address)
        if existing is None or owner(existing) != context.plan.stack:
            raise
        raise Contended(str(error)) from error
    holder = Labels.of(raw).lease
    if raw is not None and (holder is None or holder.nonce != context.lease.label.holder.nonce):
        raise Contended(f"{address} was created by another apply of this stack.")
    context.lease.begin(sent)
    context.saw(address, raw)
    _write_id(context, address, raw)


def _create_group(context: ApplyContext, address: Address) -> None:
    """A managed group: its intent, then the group, then its id on the deployment, so that a crash leaves it ours."""
    unchanged(context, address)
    deployment = deployment_address(context.deployment)
    _patch_group_label(context, deployment, address, None)
    raw = _made(context, address)
    context.saw(address, raw)
    _patch_group_label(context, deployment, address, str((raw or {}).get("id")))


def _patch_group_label(context: ApplyContext, deployment: Address, group: Address, ident: str | None) -> None:
    """Note that the group is about to be created, or its id once it is."""
    with context.lock:
        raw = context.api.deployment(context.deployment) or {}
        labels = Labels.of(raw)
        begun = [name for name in labels.groups_begun if name != group.names[0]]
        if ident is None:
            body = labels.written(groups_begun=[*begun, group.names[0]])
        else:
            body = labels.written(group_ids=[*labels.group_ids, ident], groups_begun=begun)
        if body != labels.all:
            context.saw(deployment, context.lease.update(raw, {"labels": body}))


def update(context: ApplyContext, operation: Operation) -> None:
    """Patch the object behind the operation's address with what differs.

    Raises:
        StalePlan: it is gone, or somebody has changed it since the plan was made.
    """
    address = operation.address
    with context.lock:
        began, raw = context.clock.boottime(), unchanged(context, address)
        if raw is None:
            raise StalePlan(f"{address} disappeared on UbiOps since the plan was made.\n  Plan again.")
        body = change(context, address, raw)
        if address.kind is Kind.DEPLOYMENT:
            context.saw(address, context.lease.update(raw, body))
        elif "labels" in body:

            def body_of(now: Json) -> Json:
                return {**body, "labels": desired_labels(context, address, now)}

            change_unchanged(context, address, body_of, FirstRead(raw, began, context.clock))
        else:
            context.saw(address, access_to(context, address).change(raw, body))
