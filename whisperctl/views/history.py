"""The revisions of a version as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from whisperctl.operate.history import History, Revision
from whisperctl.spec import Stack

HEADINGS = ("", "REVISION", "CREATED", "BY", "STATUS", "COMMIT", "PACKAGE", "ENVIRONMENT TAG", "ROLLBACK")


def history_text(stack: Stack, history: History, color: bool, columns: int | None = None) -> str:
    """One row a revision, newest first; the active one is marked with a star. Fits a terminal of `columns`."""
    if not history.revisions:
        return f"version/{stack.deployment.name}/{stack.version.name} has no revision yet."
    rows = [HEADINGS, *(_row(history, revision) for revision in history.revisions)]
    lines = aligned(rows, columns)
    if color:
        lines = [
            click.style(lines[0], bold=True),
            *(
                click.style(line, fg=_color(revision)) if _color(revision) else line
                for line, revision in zip(lines[1:], history.revisions, strict=True)
            ),
        ]
    return "\n".join(lines)


def _row(history: History, revision: Revision) -> tuple[str, ...]:
    earlier = history.same_package_as(revision)
    tag = {None: "-", "": "(in the package)"}.get(revision.tag, revision.tag or "")
    return (
        "*" if revision.active else "",
        revision.id,
        moment(revision.created),
        revision.created_by,
        revision.status,
        revision.commit[:12] or "-",
        (revision.digest[:12] or "-") + (f" as in {earlier.id[:8]}" if earlier else ""),
        tag,
        "-" if revision.active else "no: " + revision.obstacle if revision.obstacle else "possible",
    )


def _color(revision: Revision) -> str | None:
    if revision.active:
        return "green"
    return "red" if revision.status in ("failed", "cancelled") else None


def aligned(rows: Sequence[Sequence[str]], columns: int | None = None) -> list[str]:
    """Lines with the columns of all rows under each other; headings first.

    Where a line would be wider than `columns`, those of a terminal, each row has a line for each of its cells instead.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if columns is None or max(map(len, lines)) <= columns:
        return lines
    return _stacked(rows)


def _stacked(rows: Sequence[Sequence[str]]) -> list[str]:
    """The first named cell of a row with the mark before it, the others below with their headings."""
    headings = rows[0]
    first = next(position for position, heading in enumerate(headings) if heading)
    width = max(map(len, headings))
    blocks = []
    for row in rows[1:]:
        below = zip(headings[first + 1 :], row[first + 1 :], strict=True)
        top = "  ".join(f"{cell:<1}" for cell in row[: first + 1])
        blocks.append("\n".join([top, *(f"     {heading:<{width}}  {cell}" for heading, cell in below)]))
    return ["  ".join(f"{heading:<1}" for heading in headings[: first + 1]), *blocks]


def moment(when: datetime) -> str:
    """`2026-01-31 09:05:00Z`: in UTC, as UbiOps tells it."""
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def history_document(stack: Stack, project: str, history: History) -> dict[str, Any]:
    """The JSON form of a version's revisions."""
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
                "commit": revision.commit or None,
                "active": revision.active,
                "digest": revision.digest or None,
                "same_package_as": earlier.id if (earlier := history.same_package_as(revision)) else None,
                "environment_tag": revision.tag,
                "rollback": not revision.obstacle,
                "obstacle": revision.obstacle or None,
            }
            for revision in history.revisions
        ],
    }
