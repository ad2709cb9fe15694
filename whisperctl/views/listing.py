"""The stacks of a project as a table and as JSON, with what leaks and what no file declares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click

from whisperctl.operate.inventory import StackEntry, VersionUse
from whisperctl.plan.document import stacks_document
from whisperctl.state.resources import version_address
from whisperctl.views.history import aligned

HEADINGS = ("STACK", "STATE", "VERSION", "CREDITS/H", "TOOL", "ENDPOINT", "ORIGIN")
COLORS = {"ok": "green", "failed": "red", "paused": "yellow", "building": "blue"}


def inventory_text(
    projects: Sequence[str], entries: Sequence[StackEntry], color: bool, columns: int | None = None
) -> str:
    """A table a project, then a line for each leak and orphan. Fits a terminal of `columns`."""
    return "\n\n".join(
        "\n".join(_project(project, [entry for entry in entries if entry.project == project], color, columns))
        for project in projects
    )


def _project(project: str, entries: Sequence[StackEntry], color: bool, columns: int | None) -> Iterator[str]:
    if not entries:
        yield f"No stack is in project {project}."
        return
    head, *lines = aligned([HEADINGS, *(_row(entry) for entry in entries)], columns)
    yield f"In project {project}:"
    yield click.style(head, bold=True) if color else head
    for line, entry in zip(lines, entries, strict=True):
        yield click.style(line, fg=COLORS[entry.state]) if color and entry.state != "ok" else line
    for entry in entries:
        yield from (f"leak: {leak_text(entry.deployment or '', version)}" for version in entry.leaks)
    for entry in entries:
        if entry.orphan:
            yield f"orphan: {orphan_text(entry)}"


def _row(entry: StackEntry) -> tuple[str, ...]:
    version = f"{entry.deployment}/{entry.version}" if entry.deployment and entry.version else entry.deployment
    return (
        entry.stack,
        entry.state,
        version or "-",
        credits_text(entry.credits_per_hour),
        entry.tool or "-",
        entry.endpoint or "-",
        entry.origin or "-",
    )


def credits_text(value: float | None) -> str:
    """A number without needless digits, or `unknown`."""
    return "unknown" if value is None else f"{value:g}"


def leak_text(deployment: str, version: VersionUse) -> str:
    """`version/whisper/v0 costs 720 credits per day and serves nobody (…)`."""
    why = [f"minimum_instances {version.minimum_instances}"] if version.minimum_instances else []
    why += [f"{version.running} running"] if version.running else []
    address = version_address(deployment, version.name)
    return (
        f"{address} costs {credits_text(version.credits_per_day)} credits per day and serves nobody ({', '.join(why)})"
    )


def orphan_text(entry: StackEntry) -> str:
    """What is on UbiOps and in none of the files, and how it is deleted."""
    origin = f", applied from {entry.origin}" if entry.origin else ""
    return (
        f"{entry.stack} is in project {entry.project} and in none of these files{origin}: "
        f"{credits_text(entry.credits_per_hour)} credits per hour; "
        f"`whisperctl destroy --stack {entry.stack}` deletes it"
    )


def inventory_document(entries: Sequence[StackEntry]) -> dict[str, Any]:
    """The document of `list --format json`; schemas/list.schema.json describes it."""
    return stacks_document([_document(entry) for entry in entries])


def _document(entry: StackEntry) -> dict[str, Any]:
    return {
        "stack": entry.stack,
        "project": entry.project,
        "origin": entry.origin,
        "deployment": entry.deployment,
        "version": entry.version,
        "endpoint": entry.endpoint,
        "state": entry.state,
        "credits_per_hour": entry.credits_per_hour,
        "tool": entry.tool,
        "orphan": entry.orphan,
        "leak": bool(entry.leaks),
        "versions": [version_document(version) for version in entry.versions],
    }


def version_document(version: VersionUse) -> dict[str, Any]:
    """One version, and what it is there for."""
    return {
        "name": version.name,
        "serves": version.serves,
        "minimum_instances": version.minimum_instances,
        "running": version.running,
        "credits_per_hour": version.credits_per_hour,
        "credits_per_day": version.credits_per_day,
        "leak": version.leak,
    }
