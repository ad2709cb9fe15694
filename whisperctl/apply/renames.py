"""Give objects that moved their new name or owner, in place: their ids and what leads to them stay."""

from __future__ import annotations

from whisperctl.apply.context import ApplyContext
from whisperctl.apply.fresh import change_now
from whisperctl.control.api import Json
from whisperctl.errors import ApiError, StalePlan
from whisperctl.plan.operations import Operation
from whisperctl.state.fingerprints import fingerprint
from whisperctl.state.labels import Labels
from whisperctl.state.moves import other_owners
from whisperctl.state.objects import access
from whisperctl.state.ownership import owner
from whisperctl.state.resources import Address, Kind


def rename(context: ApplyContext, operation: Operation) -> None:
    """Give an object its new name, and with the deployment all objects of a renamed stack their owner's.

    What leads to it, or names it, is read again afterwards.
    """
    new, pending = operation.address, dict(context.plan.live.renamed)
    if new in pending:
        _give_name(context, pending[new], new)
    context.named.add(new)
    if new.kind is Kind.DEPLOYMENT:
        for address in other_owners(context.plan.desired.stack, context.plan.live.owned):
            _give_owner(context, address)
    done = all(address in context.named for address in pending)
    for address, planned in context.plan.live.owned.items():
        if address.kind in (Kind.DEPLOYMENT, Kind.VERSION, Kind.SERVICE):
            raw = _read_by_name(context, address)
            if done and raw is not None and address.kind is Kind.SERVICE:
                raw = _led_again(context, address, raw, planned)
            context.saw(address, raw)


def _led_again(context: ApplyContext, address: Address, raw: Json, planned: Json) -> Json:
    """Point a service again that has lost what was renamed: UbiOps is not documented to follow names or ids."""
    route = {field: planned[field] for field in ("deployment", "version") if planned.get(field)}
    if planned.get("deployment") != context.deployment or all(raw.get(field) == name for field, name in route.items()):
        return raw
    return context.api.update_service(address.names[0], route)


def _give_name(context: ApplyContext, old: Address, new: Address) -> None:
    calls, there = access(context.api, old), access(context.api, new)
    raw = calls.read() if calls else None
    if raw is None or calls is None or fingerprint(new, raw, context.plan.desired.state) != context.seen.get(new):
        raise StalePlan(f"{old} changed on UbiOps since the plan was made.\n  Nothing was written to it. Plan again.")
    field = "version" if new.kind is Kind.VERSION else "name"
    if new.kind is Kind.DEPLOYMENT:
        context.lease.rename(raw, new.names[0])
        return
    try:
        calls.change(raw, {field: new.names[-1]})
    except ApiError:
        # Its answer may have been lost, and the repeated request then finds nothing under the old name.
        after = there.read() if there else None
        if after is None or after["id"] != raw["id"]:
            raise


def _read_by_name(context: ApplyContext, address: Address) -> Json | None:
    """The object under the name that it has at this moment."""
    calls = access(context.api, _name_now(context, address))
    return calls.read() if calls else None


def _name_now(context: ApplyContext, address: Address) -> Address:
    waiting = address in context.plan.live.renamed and address not in context.named
    return context.plan.live.renamed[address] if waiting else address


def _give_owner(context: ApplyContext, address: Address) -> None:
    """Write the stack's new name on an object of its own."""

    def body_of(raw: Json | None) -> Json:
        if raw is None or owner(raw) not in context.plan.desired.stack.owners:
            raise StalePlan(f"{address} changed on UbiOps since the plan was made.\n  Plan again.")
        return {"labels": Labels.of(raw).written(owner=context.plan.stack)}

    with context.lock:
        name = _name_now(context, address)
        lease = context.lease_of(name.names[0]) if name.kind is Kind.DEPLOYMENT else None
        if lease and (raw := _read_by_name(context, address)):
            lease.update(raw, body_of(raw))
        else:
            change_now(context.api, name, body_of)
