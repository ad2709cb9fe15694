"""Usage as a table, JSON and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

import click

from whisperctl.operate.usage import Figures, Usage
from whisperctl.plan.document import stacks_document
from whisperctl.views.history import aligned

HEADINGS = ("DAY", "CREDITS", "REQUESTS", "FAILED", "INSTANCE HOURS", "AUDIO HOURS", "CREDITS/AUDIO HOUR")
COLUMNS = ("stack", "project", "day", "credits", "requests", "failed", "instance_hours", "audio_hours")
UNKNOWN = "unknown"


def usage_text(usages: Sequence[Usage], color: bool, columns: int | None = None) -> str:
    """One table a stack, its last line the total. Fits a terminal of `columns`."""
    return "\n\n".join("\n".join(_lines(usage, color, columns)) for usage in usages)


def _lines(usage: Usage, color: bool, columns: int | None) -> Iterator[str]:
    yield (click.style(usage.stack, bold=True) if color else usage.stack) + f" in project {usage.project}"
    rows = [HEADINGS, *(_row(day.isoformat(), figures) for day, figures in usage.days.items())]
    yield from (f"  {line}" for line in aligned([*rows, _row("total", usage.total)], columns and columns - 2))
    if usage.audio_unknown:
        yield f"  Audio hours are unknown: {usage.audio_unknown}."
    elif (price := usage.total.credits_per_audio_hour) is not None:
        yield f"  An hour of audio cost {price:.2f} credits."


def _row(day: str, figures: Figures) -> tuple[str, ...]:
    price, audio = figures.credits_per_audio_hour, figures.audio_hours
    return (
        day,
        f"{figures.credits:.2f}",
        str(figures.requests),
        str(figures.failed),
        f"{figures.instance_hours:.2f}",
        UNKNOWN if audio is None else f"{audio:.2f}",
        "-" if price is None else f"{price:.2f}",
    )


def usage_document(usages: Sequence[Usage]) -> dict[str, Any]:
    """The document of `usage --format json`; schemas/usage.schema.json describes it."""
    return stacks_document([_document(usage) for usage in usages])


def _document(usage: Usage) -> dict[str, Any]:
    return {
        "stack": usage.stack,
        "project": usage.project,
        "days": [{"day": day.isoformat(), **_figures(figures)} for day, figures in usage.days.items()],
        "total": _figures(usage.total),
        "audio_unknown": usage.audio_unknown or None,
        "warnings": [],
    }


def _figures(figures: Figures) -> dict[str, Any]:
    return {
        "credits": round(figures.credits, 6),
        "requests": figures.requests,
        "failed": figures.failed,
        "instance_hours": round(figures.instance_hours, 6),
        "audio_hours": None if figures.audio_hours is None else round(figures.audio_hours, 6),
        "credits_per_audio_hour": (
            None if figures.credits_per_audio_hour is None else round(figures.credits_per_audio_hour, 6)
        ),
    }


def usage_csv(usages: Sequence[Usage]) -> str:
    """A row for each stack and day under a row of names; an unknown figure is an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for document in map(_document, usages):
        for day in document["days"]:
            writer.writerow({"stack": document["stack"], "project": document["project"], **day})
    return text.getvalue().rstrip("\n")
