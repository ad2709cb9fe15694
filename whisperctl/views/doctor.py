"""The doctor's checks as a table with a fix under each that needs one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from textwrap import wrap

import click

from whisperctl.operate.doctor import Check, Verdict

COLORS: Mapping[Verdict, str] = {"ok": "green", "warning": "yellow", "failed": "red", "skipped": "bright_black"}


LEAST = 30
"""Columns that what was found needs beside the names; where there are fewer, it stands below them."""


def checks_text(checks: Sequence[Check], color: bool, columns: int | None = None) -> str:
    """One line a check, its fix below it, and how many ended how; folded to `columns`, those of a terminal."""
    width = max(len(check.name) for check in checks)
    below = columns is not None and columns - width - 11 < LEAST
    indent = 4 if below else width + 11
    lines = []
    for check in checks:
        verdict = f"{check.verdict:<7}"
        head = f"{click.style(verdict, fg=COLORS[check.verdict]) if color else verdict}  {check.name:<{width}}"
        detail = _folded(check.detail, columns, indent)
        lines.append(head.rstrip() if below else f"{head}  {detail.pop(0)}")
        detail += _folded(f"fix: {check.fix}", columns, indent) if check.fix else []
        lines += [" " * indent + line for line in detail]
    counts = Counter(check.verdict for check in checks)
    lines.append(", ".join(f"{counts[verdict]} {verdict}" for verdict in COLORS if counts[verdict]) + ".")
    return "\n".join(lines)


def _folded(text: str, columns: int | None, indent: int) -> list[str]:
    """The text in lines that fit beside an indent; as one line where no width is given."""
    if columns is None:
        return [text]
    return wrap(text, max(columns - indent, LEAST), break_long_words=False, break_on_hyphens=False) or [""]
