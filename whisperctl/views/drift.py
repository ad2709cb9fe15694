"""Drift as text, Markdown and JSON: each difference as `applied -> live`, with who made it and when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import click

from whisperctl.operate.drift import Drift
from whisperctl.operate.trail import LastChange
from whisperctl.plan.changes import ORDER, Change
from whisperctl.plan.document import changes_document, remarks_document, stack_document, stacks_document
from whisperctl.plan.values import planned, shown
from whisperctl.state.diff import FieldChange
from whisperctl.state.resources import Masked
from whisperctl.views.plan import SIGNS, left_out_text, reason_text
from whisperctl.views.plan_markdown import fenced, quoted

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
}
_AS_APPLIED = (
    "No drift: the project is as it was last applied. The stack file has moved on since: `whisperctl plan` shows how."
)
_ABSENT = "Nothing of this stack is on UbiOps"
_HAPPENED = {"create": "added", "update": "changed", "delete": "deleted"}


def drift_text(drifts: Sequence[Drift], color: bool) -> str:
    """What differs, who changed it last, and what to do; one block a stack."""
    return "\n\n".join("\n".join([_name(entry), *_lines(entry, color)]) for entry in drifts)


def drift_markdown(drifts: Sequence[Drift]) -> str:
    """The same for a comment or an issue: a section a stack, the details fenced."""
    return "\n\n".join(_section(entry) for entry in drifts)


def _name(entry: Drift) -> str:
    return f"{entry.plan.stack} in project {entry.plan.project}"


def _lines(entry: Drift, color: bool) -> Iterator[str]:
    yield from (f"warning: {remark.text}" for remark in entry.plan.warnings)
    if not entry.drifted:
        yield _nothing(entry)
        return
    for change in entry.changes:
        yield ""
        yield from _change_lines(change, entry.last_changes.get(change.address), color)
    yield ""
    yield from left_out_text(entry.plan)
    yield from _conclusion(entry)


def _nothing(entry: Drift) -> str:
    if entry.basis == "absent":
        return _absent(entry)
    if entry.plan.left_out:
        return " ".join(["No drift in what was asked for.", *left_out_text(entry.plan)])
    return _AS_APPLIED if entry.as_applied and entry.plan.changes else _NONE[entry.basis]


def _absent(entry: Drift) -> str:
    name = entry.plan.desired.stack.deployment.name
    if entry.unread:
        cause = f"whether it ever was, the audit trail would tell, which cannot be read: {entry.unread}"
    elif (deleted := entry.deployment_deleted) is not None:
        cause = f"deployment/{name} was deleted at {deleted.time} by {deleted.user}"
    else:
        cause = f"it was never applied, as far as the audit trail goes back: that knows of no deleted deployment/{name}"
    return f"{_ABSENT}: {cause}."


def _conclusion(entry: Drift) -> Iterator[str]:
    yield _summary(entry)
    if entry.unread:
        yield f"Who made them cannot be told: the audit trail cannot be read: {entry.unread}"
    yield _BASIS[entry.basis]
    yield _ADVICE[entry.basis]


def _summary(entry: Drift) -> str:
    counts = {action: sum(change.action == action for change in entry.changes) for action in _HAPPENED}
    words = [f"{counts[action]} {word}" for action, word in _HAPPENED.items() if counts[action]]
    return f"Differs: {', '.join(words)}, {entry.compared.unchanged} unchanged."


def _change_lines(change: Change, last: LastChange | None, color: bool) -> Iterator[str]:
    """One difference: where, since which line, every field as it was applied and as it is, and who did it."""
    sign, name = SIGNS[change.action]
    head = f"{sign:>3} {change.address}"
    yield click.style(head, fg=name, bold=True) if color else head
    yield f"      {reason_text(change)}"
    fields = (*change.fields, *change.contents)
    width = max((len(field.path) for field in fields), default=0)
    for field in fields:
        yield f"      {field.path:<{width}} : {_step(field)}"
    if last is not None:
        yield f"      last changed {last.time} by {last.user}: {last.event}"


def _step(field: FieldChange) -> str:
    """`1 -> 2`: as applied, with the variables that the value was taken from, and as it is."""
    if isinstance(field.before, Masked) and isinstance(field.after, Masked):
        return f"{shown(field.before)} -> {shown(field.after)}"
    return f"{planned(replace(field, before=None, after=field.before))} -> {shown(field.after)}"


def _section(entry: Drift) -> str:
    icon = "⚠️" if entry.drifted else "🟰"
    parts = [f"### {icon} `{entry.plan.stack}` in project `{entry.plan.project}`"]
    parts += [quoted(f"warning: {remark.text}") for remark in entry.plan.warnings]
    if not entry.drifted:
        return "\n\n".join([*parts, _nothing(entry)])
    body = "\n".join(
        line
        for change in entry.changes
        for line in _change_lines(change, entry.last_changes.get(change.address), color=False)
    )
    return "\n\n".join([*parts, fenced(body), *left_out_text(entry.plan), *_conclusion(entry)])


def drift_document(drifts: Sequence[Drift]) -> dict[str, Any]:
    """The document of `drift --format json`; schemas/drift.schema.json describes it."""
    return stacks_document([_stack_document(entry) for entry in drifts])


def _stack_document(entry: Drift) -> dict[str, Any]:
    plan = stack_document(entry.plan)
    counts = {action: sum(change.action == action for change in entry.changes) for action in ORDER}
    warnings = remarks_document((*entry.plan.file_warnings, *entry.plan.warnings))
    if entry.unread:
        warnings.append({"source": "audit", "text": f"the audit trail cannot be read: {entry.unread}"})
    return plan | {
        "summary": plan["summary"] | counts | {"unchanged": entry.compared.unchanged},
        "changes": [
            document | _who(entry.last_changes.get(change.address))
            for change, document in zip(entry.changes, changes_document(entry.changes), strict=True)
        ],
        "warnings": warnings,
        "drifted": entry.drifted,
        "basis": entry.basis,
        "last_changed": {str(address): str(last) for address, last in sorted(entry.last_changes.items())},
    }


def _who(last: LastChange | None) -> dict[str, str | None]:
    return {"user": last.user if last else None, "time": last.time if last else None}
