"""The checks of a smoke run for people: a table on a terminal, aligned lines elsewhere, JSON for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click

from whisperctl.endpoint.smoke import SmokeCheck
from whisperctl.output import json_text
from whisperctl.views.fitting import fitted
from whisperctl.views.history import aligned


def as_json(stack: str, endpoint: str, checks: Sequence[SmokeCheck]) -> str:
    """One JSON document; seconds are null for skipped checks."""
    listed = [{**asdict(check), "seconds": check.seconds and round(check.seconds, 3)} for check in checks]
    document = {
        "format_version": "1",
        "stack": stack,
        "endpoint": endpoint,
        "passed": passed(checks),
        "checks": listed,
    }
    return json_text(document)


def as_lines(checks: Sequence[SmokeCheck]) -> str:
    """A line per check in columns, then the sum."""
    wide = max(len(check.name) for check in checks)
    lines = [
        f"{check.name:<{wide}}  {check.verdict:<7}  {_seconds(check):>8}  {_wer(check):>8}  {detail}".replace(
            "\n", "\n    "
        )
        for check, detail in zip(checks, _details(checks), strict=True)
    ]
    return "\n".join([*lines, summary(checks)])


def for_terminal(checks: Sequence[SmokeCheck], columns: int, *, color: bool) -> str:
    """A table, or where the terminal is too narrow what was seen below each check; then the sum."""
    cells = [(check.name, check.verdict, _seconds(check), _wer(check)) for check in checks]
    rows = [(*cell, detail) for cell, detail in zip(cells, _details(checks), strict=True)]
    head, *lines = aligned([("check", "", "seconds", "errors", "seen"), *rows])
    if any(len(line) > columns or "\n" in line for line in lines):
        head, lines = "", [fitted(_block(row), columns) for row in rows]
    if color:
        lines = [click.style(line, **STYLES[check.verdict]) for line, check in zip(lines, checks, strict=True)]
    return "\n".join([*([head] if head else []), *lines, summary(checks)])


STYLES: Mapping[str, Mapping[str, Any]] = {
    "ok": {"fg": "green"},
    "failed": {"fg": "red", "bold": True},
    "skipped": {"dim": True},
}


def _block(row: Sequence[str]) -> str:
    name, *short, seen = row
    below = "\n".join(f"    {line}" for line in seen.splitlines())
    return f"{name}: {', '.join(filter(None, short))}\n{below}"


def _details(checks: Sequence[SmokeCheck]) -> Iterator[str]:
    """What each check saw; why it was skipped once for all that were skipped for that reason, at the first of them."""
    reasons: dict[str, str] = {}
    for check in checks:
        first = reasons.setdefault(check.detail, check.name) if check.verdict == "skipped" else check.name
        yield check.detail if first == check.name else f"as {first}"


def passed(checks: Sequence[SmokeCheck]) -> bool:
    """Whether no check of the smoke test failed."""
    return all(check.verdict != "failed" for check in checks)


def summary(checks: Sequence[SmokeCheck]) -> str:
    """`11 checks: 9 ok, 0 failed, 2 skipped`."""
    counts = Counter(check.verdict for check in checks)
    return f"{len(checks)} checks: {counts['ok']} ok, {counts['failed']} failed, {counts['skipped']} skipped"


def _wer(check: SmokeCheck) -> str:
    return "" if check.wer is None else f"WER {check.wer:.2f}"


def _seconds(check: SmokeCheck) -> str:
    return "" if check.seconds is None else f"{check.seconds:.2f} s"
