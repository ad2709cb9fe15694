"""The levels of a load run for people: a table; and JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from whisperctl.output import json_text
from whisperctl.transcribe.load import LoadLevel

_HEADINGS = ("at a time", "requests", "audio s/s", "p50", "p95", "WER", "errors")


def as_json(stack: str, endpoint: str, audio: str, seconds: float, levels: Sequence[LoadLevel]) -> str:
    """One JSON document; latencies are seconds, and null where nothing was answered."""
    return json_text(
        {
            "format_version": "1",
            "stack": stack,
            "endpoint": endpoint,
            "audio": audio,
            "audio_seconds": round(seconds, 3),
            "levels": [_rounded(level) for level in levels],
        }
    )


def as_table(levels: Sequence[LoadLevel]) -> str:
    """A line for each level, in columns."""
    rows = [_HEADINGS, *map(_row, levels)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row[:-1], widths, strict=False)) + f"  {row[-1]}"
        for row in rows
    )


def _row(level: LoadLevel) -> tuple[str, ...]:
    listed = ", ".join(f"{count} × {kind}" for kind, count in level.errors.items())
    return (
        str(level.concurrency),
        str(level.requests),
        f"{level.audio_seconds_per_second:.1f}",
        _seconds(level.p50),
        _seconds(level.p95),
        "" if level.wer is None else f"{level.wer:.3f}",
        f"{sum(level.errors.values())}" + (f" ({listed})" if listed else ""),
    )


def _rounded(level: LoadLevel) -> dict[str, Any]:
    document = {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(level).items()}
    return {**document, "errors": sum(level.errors.values()), "errors_by_kind": level.errors}


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3f} s"
