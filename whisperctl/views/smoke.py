"""The checks of a smoke run for people: a table on a terminal, aligned lines elsewhere, JSON for programs."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from whisperctl.endpoint.smoke import Check
from whisperctl.output import json_text


def as_json(stack: str, endpoint: str, checks: Sequence[Check]) -> str:
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


def as_lines(checks: Sequence[Check]) -> str:
    """A line per check in columns, then the sum."""
    wide = max(len(check.name) for check in checks)
    lines = [
        f"{check.name:<{wide}}  {check.verdict:<7}  {_seconds(check):>8}  {_wer(check):>8}  {check.detail}".replace(
            "\n", "\n    "
        )
        for check in checks
    ]
    return "\n".join([*lines, summary(checks)])


def print_table(checks: Sequence[Check], *, color: bool) -> None:
    """A table on stdout, in the terminal's width."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    styles = {"ok": "green", "failed": "bold red", "skipped": "dim"}
    table = Table("check", "", "seconds", "errors", "seen", box=None, pad_edge=False, header_style="bold")
    table.columns[2].justify = table.columns[3].justify = "right"
    for check in checks:
        style = styles[check.verdict]
        verdict, detail = Text(check.verdict, style), Text(check.detail, "dim" if style == "dim" else "")
        table.add_row(check.name, verdict, _seconds(check), _wer(check), detail)
    console = Console(file=sys.stdout, no_color=not color, highlight=False)
    console.print(table)
    console.print(summary(checks))


def passed(checks: Sequence[Check]) -> bool:
    """Whether no check of the smoke test failed."""
    return all(check.verdict != "failed" for check in checks)


def summary(checks: Sequence[Check]) -> str:
    """`11 checks: 9 ok, 0 failed, 2 skipped`."""
    counts = Counter(check.verdict for check in checks)
    return f"{len(checks)} checks: {counts['ok']} ok, {counts['failed']} failed, {counts['skipped']} skipped"


def _wer(check: Check) -> str:
    return "" if check.wer is None else f"WER {check.wer:.2f}"


def _seconds(check: Check) -> str:
    return "" if check.seconds is None else f"{check.seconds:.2f} s"
