"""The revisions of a version as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from whisperctl.operate.history import History, Revision
from whisperctl.spec import Stack

HEADINGS = ("", "REVISION", "CREATED", "BY", "STATUS", "PACKAGE", "ENVIRONMENT TAG", "ROLLBACK")


def history_text(stack: Stack, history: History, color: bool) -> str:
    """One row a revision, newest first; the active one is marked with a star."""
    if not history.revisions:
        return f"version/{stack.deployment.name}/{stack.version.name} has no revision yet."
    rows = [HEADINGS, *(_row(revision) for revision in history.revisions)]
    lines = aligned(rows)
    if color:
        lines = [
            click.style(lines[0], bold=True),
            *(
                click.style(line, fg=_color(revision)) if _color(revision) else line
                for line, revision in zip(lines[1:], history.revisions, strict=True)
            ),
        ]
    return "\n".join(lines)


def _row(revision: Revision) -> tuple[str, ...]:
    tag = {None: "-", "": "(in the package)"}.get(revision.tag, revision.tag or "")
    return (
        "*" if revision.active else "",
        revision.id,
        moment(revision.created),
        revision.created_by,
        revision.status,
        revision.digest[:12] or "-",
        tag,
        "-" if revision.active else "no: " + revision.obstacle if revision.obstacle else "possible",
    )


def _color(revision: Revision) -> str | None:
    if revision.active:
        return "green"
    return "red" if revision.status in ("failed", "cancelled") else None


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the columns of all rows under each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def moment(when: datetime) -> str:
    """`2026-01-31 09:05:00Z`: in UTC, as UbiOps tells it."""
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def history_document(stack: Stack, project: str, history: History) -> dict[str, Any]:
    """The JSON form."""
    return {
        "format_version": "1",
        "stack": stack.name,
        "project": project,
        "version": f"version/{stack.deployment.name}/{stack.version.name}",
        "revisions": [
            {
                "id": revision.id,
                "created": revision.created.isoformat(),
                "created_by": revision.created_by,
                "status": revision.status,
                "error": revision.error,
                "active": revision.active,
                "digest": revision.digest or None,
                "environment_tag": revision.tag,
                "rollback": not revision.obstacle,
                "obstacle": revision.obstacle or None,
            }
            for revision in history.revisions
        ],
    }
