"""Plans as the JSON document of `plan --format json`; schemas/plan.schema.json describes it.

Not their text for people, and not how plans are saved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from whisperctl.plan.changes import Change, Remark
from whisperctl.plan.cost import Cost
from whisperctl.plan.operations import Operation
from whisperctl.plan.proposal import Proposal
from whisperctl.plan.values import step
from whisperctl.state.diff import FieldChange
from whisperctl.state.resources import Masked

FORMAT_VERSION = "2"


def stacks_document(stacks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The one shape of every document about stacks, whatever their number."""
    return {"format_version": FORMAT_VERSION, "stacks": list(stacks)}


def plan_document(plans: Sequence[Proposal]) -> dict[str, Any]:
    """The document of `plan --format json`."""
    return stacks_document([stack_document(plan) for plan in plans])


def stack_document(plan: Proposal) -> dict[str, Any]:
    """The plan of one stack."""
    counts = {action: plan.count(action) for action in ("create", "update", "replace", "delete")}
    selects = bool(plan.selection)
    return {
        "stack": plan.stack,
        "project": plan.project,
        "origin": plan.origin,
        **({"wave": plan.wave} if plan.wave > 1 else {}),
        "fingerprint": plan.fingerprint,
        "summary": counts | {"unchanged": plan.unchanged, **({"left_out": len(plan.left_out)} if selects else {})},
        "changes": changes_document(plan.changes),
        "operations": [_operation(operation) for operation in plan.operations],
        **({"ignored": [{"address": str(a), "path": path} for a, path in plan.ignored]} if plan.ignored else {}),
        **({"selection": _selection(plan)} if selects else {}),
        **({"cost": _cost(plan.cost)} if plan.cost else {}),
        "warnings": remarks_document((*plan.file_warnings, *plan.warnings)),
        "refused": remarks_document(plan.refused),
    }


def _selection(plan: Proposal) -> dict[str, list[str]]:
    addresses = {"left_out": plan.left_out, "along": plan.along}
    globs = {"only": list(plan.selection.only), "exclude": list(plan.selection.exclude)}
    return globs | {name: [str(address) for address in listed] for name, listed in addresses.items()}


def changes_document(changes: Iterable[Change]) -> list[dict[str, Any]]:
    """The JSON form of changes."""
    return [_change(change) for change in changes]


def _cost(cost: Cost) -> dict[str, Any]:
    prices = {"minimum": cost.minimum, "maximum": cost.maximum}
    credits_ = {name: {"before": price.before, "after": price.after} for name, price in prices.items()}
    return {"credits_per_hour": credits_, "surge": cost.surge}


def _change(change: Change) -> dict[str, Any]:
    return {
        "address": str(change.address),
        "action": change.action,
        "fields": [_field(field) for field in change.fields],
        "reason": _full_reason(change),
        "effect": change.effect,
        "source": change.source,
    }


def _operation(operation: Operation) -> dict[str, Any]:
    return {
        "id": operation.id,
        "kind": operation.kind,
        "address": str(operation.address),
        "needs": list(operation.needs),
        "reason": operation.reason,
        "effect": operation.effect,
        "expected_seconds": operation.seconds,
    }


def _full_reason(change: Change) -> str:
    """The reason with what the text form has as lines: `fields` are UbiOps' own, and a package has but a digest."""
    steps = [f"{field.path} {step(field)}" for field in change.contents]
    return f"{change.reason}: {'; '.join(steps)}" if steps else change.reason


def _field(field: FieldChange) -> dict[str, Any]:
    document = {"path": field.path, "before": _plain(field.before), "after": _plain(field.after)}
    return document | ({"from": list(field.names)} if field.names else {})


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Masked) else value


def remarks_document(remarks: Iterable[Remark]) -> list[dict[str, str]]:
    """The JSON form of warnings or refusals."""
    return [{"source": remark.source, "text": remark.text} for remark in remarks]
