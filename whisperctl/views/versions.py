"""The versions of a line as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from whisperctl.operate.versions import LineVersion
from whisperctl.plan.document import FORMAT_VERSION
from whisperctl.spec import Stack
from whisperctl.state.records import RolloutRecord
from whisperctl.views.history import aligned

HEADINGS = ("", "N", "VERSION", "STATE", "MODEL", "VLLM", "COMMIT", "WORD ERRORS", "SECONDS", "AT", "ROLLBACK")


def versions_text(versions: Sequence[LineVersion], color: bool, columns: int | None = None) -> str:
    """One row a version, newest first; the one that serves is marked with a star. Fits a terminal of `columns`."""
    lines = aligned([HEADINGS, *(_row(version) for version in versions)], columns)
    if color:
        styled = (
            click.style(line, fg=_color(version)) if _color(version) else line
            for line, version in zip(lines[1:], versions, strict=True)
        )
        lines = [click.style(lines[0], bold=True), *styled]
    return "\n".join([*lines, *_flags(versions)])


def _flags(versions: Sequence[LineVersion]) -> list[str]:
    """Each distinct set of flags once, with the versions that it is of."""
    names: dict[str, list[str]] = {}
    for version in versions:
        if version.flags:
            names.setdefault(version.flags, []).append(version.name)
    if not names:
        return []
    return ["Flags of `vllm serve`:", *(f"  {', '.join(names_of)}: {flags}" for flags, names_of in names.items())]


_NOT_GATED = RolloutRecord(state="begun")
"""In place of the record that a version lacks: nothing was measured, at no time."""


def _row(version: LineVersion) -> tuple[str, ...]:
    record = version.record or _NOT_GATED
    return (
        "*" if version.use == "serves" else "",
        str(version.number),
        version.name,
        version.use,
        version.model or "-",
        version.vllm or "-",
        version.commit[:12] or "-",
        _beside(record.wer, record.serving_wer, 3),
        _beside(record.latency, record.serving_latency, 2),
        record.at or version.created[:19] or "-",
        "-" if version.use == "serves" else f"no: {version.obstacle}" if version.obstacle else "possible",
    )


def _beside(own: float | None, serving: float | None, digits: int) -> str:
    if own is None:
        return "-"
    return f"{own:.{digits}f}" + (f" ({serving:.{digits}f})" if serving is not None else "")


def _color(version: LineVersion) -> str | None:
    return {"serves": "green", "failed": "red", "rolled back": "yellow"}.get(version.use)


def versions_document(stack: Stack, project: str, versions: Sequence[LineVersion]) -> dict[str, Any]:
    """The JSON form of a line's versions."""
    return {
        "format_version": FORMAT_VERSION,
        "stack": stack.name,
        "project": project,
        "deployment": stack.deployment.name,
        "versions": [_document(version) for version in versions],
    }


def _document(version: LineVersion) -> dict[str, Any]:
    record = version.record or _NOT_GATED
    return {
        "number": version.number,
        "version": version.name,
        "state": version.use,
        "model": version.model or None,
        "vllm": version.vllm or None,
        "flags": version.flags or None,
        "commit": version.commit or None,
        "word_error_rate": record.wer,
        "serving_word_error_rate": record.serving_wer,
        "latency": record.latency,
        "serving_latency": record.serving_latency,
        "at": record.at or None,
        "environment_tag": version.environment_tag or None,
        "rollback": not version.obstacle,
        "obstacle": version.obstacle or None,
    }
