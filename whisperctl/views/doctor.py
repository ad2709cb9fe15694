"""The doctor's checks as a table with a fix under each that needs one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import click

from whisperctl.operate.doctor import Check, Verdict

COLORS: Mapping[Verdict, str] = {"ok": "green", "warning": "yellow", "failed": "red", "skipped": "bright_black"}


def checks_text(checks: Sequence[Check], color: bool) -> str:
    """One line a check, its fix below it, and how many ended how."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        verdict = f"{check.verdict:<7}"
        head = click.style(verdict, fg=COLORS[check.verdict]) if color else verdict
        lines.append(f"{head}  {check.name:<{width}}  {check.found}")
        if check.fix:
            lines.append(f"{'':<{width + 11}}fix: {check.fix}")
    counts = Counter(check.verdict for check in checks)
    lines.append(", ".join(f"{counts[verdict]} {verdict}" for verdict in COLORS if counts[verdict]) + ".")
    return "\n".join(lines)
