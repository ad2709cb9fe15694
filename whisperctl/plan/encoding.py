"""Proposals as JSON and back, for saved plans: no text of a user's is taken for a masked value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from whisperctl.output import json_text
from whisperctl.plan.changes import Change, Remark
from whisperctl.plan.cost import Cost, Price
from whisperctl.plan.operations import Operation
from whisperctl.plan.proposal import Proposal
from whisperctl.plan.selection import Selection
from whisperctl.state.diff import FieldChange
from whisperctl.state.resources import Address, Kind, Masked

_REMARKS = ("file_warnings", "warnings", "refused")
_PLAIN = ("stack", "project", "fingerprint", "destroy", "unchanged", "proven", "origin")


def encode(plan: Proposal) -> dict[str, Any]:
    """The proposal as JSON values."""
    return {
        **{name: getattr(plan, name) for name in _PLAIN},
        **{name: [[item.source, item.text] for item in getattr(plan, name)] for name in _REMARKS},
        "changes": [_encode_change(change) for change in plan.changes],
        "operations": [_encode_operation(operation) for operation in plan.operations],
        "ignored": [[_encode_address(address), path] for address, path in plan.ignored],
        "wave": plan.wave,
        "selection": asdict(plan.selection),
        "left_out": list(map(_encode_address, plan.left_out)),
        "along": list(map(_encode_address, plan.along)),
        "cost": asdict(plan.cost) if plan.cost else None,
    }


def decode(data: Mapping[str, Any]) -> Proposal:
    """What `encode` made it from.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it was not made by `encode`.
    """
    named: dict[str, Any] = {name: data[name] for name in _PLAIN}
    named |= {name: tuple(Remark(source=source, text=text) for source, text in data[name]) for name in _REMARKS}
    return Proposal(
        **named,
        changes=tuple(_decode_change(change) for change in data["changes"]),
        operations=tuple(_decode_operation(operation) for operation in data["operations"]),
        ignored=tuple((_decode_address(address), str(path)) for address, path in data.get("ignored", ())),
        wave=int(data.get("wave", 1)),
        selection=_decode_selection(data.get("selection", {})),
        left_out=tuple(map(_decode_address, data.get("left_out", ()))),
        along=tuple(map(_decode_address, data.get("along", ()))),
        cost=_decode_cost(data["cost"]) if data["cost"] else None,
    )


def _decode_selection(data: Mapping[str, Any]) -> Selection:
    return Selection(**{name: tuple(map(str, globs)) for name, globs in data.items()})


def _decode_cost(data: Mapping[str, Any]) -> Cost:
    return Cost(**{**data, "minimum": Price(**data["minimum"]), "maximum": Price(**data["maximum"])})


def structure(plan: Proposal) -> Any:
    """What would be done, without a word about it: what decides whether a saved plan is stale."""
    bare = [replace(change, reason="", effect="", source="", contents=()) for change in plan.changes]
    silent = [replace(operation, reason="", effect="", seconds=None) for operation in plan.operations]
    plan = replace(plan, changes=tuple(bare), operations=tuple(silent), origin=None, cost=None)
    plan = replace(plan, file_warnings=(), warnings=(), refused=(), ignored=(), left_out=(), along=())
    return json.loads(json_text(encode(plan)))


def _encode_operation(operation: Operation) -> list[Any]:
    words = (operation.reason, operation.effect, operation.seconds)
    return [operation.id, operation.kind, _encode_address(operation.address), list(operation.needs), *words]


def _decode_operation(data: list[Any]) -> Operation:
    number, kind, address, needs, reason, effect, seconds = data
    return Operation(
        id=number,
        kind=kind,
        address=_decode_address(address),
        needs=tuple(needs),
        reason=str(reason),
        effect=str(effect),
        seconds=None if seconds is None else int(seconds),
    )


def _encode_change(change: Change) -> dict[str, Any]:
    return {
        "address": _encode_address(change.address),
        "action": change.action,
        "fields": [_encode_field(field) for field in change.fields],
        "reason": change.reason,
        "effect": change.effect,
        "source": change.source,
        "contents": [_encode_field(field) for field in change.contents],
    }


def _decode_change(data: Mapping[str, Any]) -> Change:
    return Change(
        address=_decode_address(data["address"]),
        action=data["action"],
        fields=tuple(_decode_field(field) for field in data["fields"]),
        reason=data["reason"],
        effect=data["effect"],
        source=data["source"],
        contents=tuple(_decode_field(field) for field in data["contents"]),
    )


def _encode_address(address: Address) -> list[str]:
    return [address.kind.name, *address.names]


def _decode_address(data: list[str]) -> Address:
    return Address(Kind[data[0]], tuple(data[1:]))


def _encode_field(field: FieldChange) -> dict[str, Any]:
    """A masked value stands under a key of its own."""
    sides = {"before": field.before, "after": field.after}
    masked = {f"masked_{side}": value.name for side, value in sides.items() if isinstance(value, Masked)}
    plain = {side: value for side, value in sides.items() if f"masked_{side}" not in masked}
    return {"path": field.path, "names": list(field.names), **plain, **masked}


def _decode_field(data: Mapping[str, Any]) -> FieldChange:
    before, after = (
        Masked[data[f"masked_{side}"]] if f"masked_{side}" in data else data[side] for side in ("before", "after")
    )
    return FieldChange(path=data["path"], before=before, after=after, names=tuple(map(str, data["names"])))
