"""A plan as the JSON document of `plan --format json`, and as saved plans store it. Not its text for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from whisperctl.output import json_text
from whisperctl.plan.changes import Change
from whisperctl.plan.package_changes import NOT_SHOWN
from whisperctl.plan.plan import Plan
from whisperctl.state.diff import FieldChange
from whisperctl.state.resources import SECRET

FORMAT_VERSION = "1"


def operation_document(field: FieldChange) -> str:
    return f"{shown(field.before)} -> {shown(field.after)}"


def shown(value: Any) -> str:
    """A value in one line; nothing of a long text but its start."""
    if value is None:
        return "(not set)"
    if isinstance(value, str) and (value == NOT_SHOWN or value.startswith(SECRET[:-1])):
        return value
    text = json_text(value, indent=None)
    return text if len(text) <= 120 else text[:117] + "..."


def plan_document(plans: Sequence[Plan]) -> dict[str, Any]:
    """The JSON form: one stack's document, or `{"plans": [...]}` for several."""
    documents = [_document(plan) for plan in plans]
    return documents[0] if len(documents) == 1 else {"format_version": FORMAT_VERSION, "plans": documents}


def _document(plan: Plan) -> dict[str, Any]:
    counts = {action: plan.count(action) for action in ("create", "update", "replace", "delete")}
    return {
        "format_version": FORMAT_VERSION,
        "stack": plan.stack,
        "project": plan.project,
        "fingerprint": plan.fingerprint,
        "summary": counts | {"unchanged": plan.unchanged},
        "changes": [
            {
                "address": str(change.address),
                "action": change.action,
                "fields": [_field(field) for field in change.fields],
                "reason": _full_reason(change),
                "effect": change.effect,
                "source": change.source,
            }
            for change in plan.changes
        ],
        "operations": [
            {"id": o.id, "kind": o.kind, "address": str(o.address), "needs": list(o.needs)} for o in plan.operations
        ],
        "warnings": list(plan.warnings),
    }


def _full_reason(change: Change) -> str:
    """The reason with what the text form has as lines: `fields` are UbiOps' own, and a package has but a digest."""
    steps = [f"{field.path} {operation_document(field)}" for field in change.contents]
    return f"{change.reason}: {'; '.join(steps)}" if steps else change.reason


def _field(field: FieldChange) -> dict[str, Any]:
    return {"path": field.path, "before": field.before, "after": field.after}
