"""Drift as text and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from whisperctl.operate.drift import Drift
from whisperctl.plan.document import stack_document, stacks_document
from whisperctl.views.plan import plan_text

_BASIS = {
    "applied": "The stack file is what was last applied: every difference was made on UbiOps.",
    "moved on": (
        "The stack file has moved on since the last apply. Each difference may be its change, one on UbiOps, or both:\n"
        "of what was applied only digests are kept. The file as it was then tells the changes on UbiOps apart."
    ),
    "unfinished": "The last apply did not finish: what it left undone is among the differences.",
}
_ADVICE = {
    "applied": "`whisperctl apply` puts the stack file's state back.",
    "moved on": "`whisperctl apply` makes the project what the stack file says now.",
    "unfinished": "`whisperctl apply` goes on with it.",
}

_NONE = {
    "applied": "No drift: the project is as it was last applied.",
    "moved on": "No drift: the stack file has moved on since the last apply, and the project is as it says.",
    "unfinished": "No drift: the last apply did not finish, and the project is as the stack file says.",
    "absent": "Nothing of this stack is on UbiOps: it was never applied, was destroyed, or was deleted by hand.",
}

_AS_APPLIED = (
    "No drift: the project is as it was last applied. The stack file has moved on since: `whisperctl plan` shows how."
)


def drift_text(found: Sequence[Drift], color: bool) -> str:
    """What differs, who changed it last, and what to do; one block a stack."""
    return "\n\n".join(_text(entry, color) for entry in found)


def _text(entry: Drift, color: bool) -> str:
    name = f"{entry.plan.stack} in project {entry.plan.project}"
    culprits = [f"  {address}: last changed {who}" for address, who in sorted(entry.culprits.items())]
    if entry.as_applied and entry.plan.changes:
        return f"{name}\n{_AS_APPLIED}"
    if not entry.drifted:
        # Where the stack is absent, the audit trail may still know who deleted it.
        return "\n".join([name, _NONE[entry.basis], *culprits])
    return "\n".join([plan_text([entry.plan], color), "", _BASIS[entry.basis], *culprits, _ADVICE[entry.basis]])


def drift_document(found: Sequence[Drift]) -> dict[str, Any]:
    """The document of `drift --format json`; schemas/drift.schema.json describes it."""
    return stacks_document([_stack_document(entry) for entry in found])


def _stack_document(entry: Drift) -> dict[str, Any]:
    return stack_document(entry.plan) | {
        "drifted": entry.drifted,
        "basis": entry.basis,
        "last_changed": {str(address): who for address, who in sorted(entry.culprits.items())},
    }
