"""One log line as a person reads it: when, from where, what; and that there is none."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import click

from whisperctl.operate.logs import SECOND, Line
from whisperctl.output import SECRET

SHORT = 8
"""Digits of an id that tell instances apart."""
A_WEEK = 7 * 86400
COLORS = {"environment": "blue", "build": "magenta", "instance": "cyan"}


def line_text(line: Line, color: bool, secrets: Iterable[str] = ()) -> str:
    """`2026-01-31T09:05:00.123456Z instance 0d3c9f1a | text`; secrets that a program printed are blanked."""
    text = line.text
    for secret in secrets:
        text = text.replace(secret, SECRET)
    ident = line.id if line.source == "environment" else line.id[:SHORT]
    origin = f"{line.source} {ident}".rstrip()
    if color:
        origin = click.style(origin, fg=COLORS[line.source])
        text = click.style(text, fg="red") if line.error else text
    return f"{stamp(line.moment)} {origin} | {text}"


def no_lines_text(since: float, now: float) -> str:
    """That nothing was logged from `since` on, and how to look further back; both in seconds since 1970."""
    return f"No log lines in that time.{' `--since 7d` looks further back.' if since > now - A_WEEK else ''}"


def stamp(moment: int) -> str:
    """Nanoseconds since 1970 as ISO-8601 in UTC with microseconds."""
    when = datetime.fromtimestamp(moment // SECOND, UTC)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{moment % SECOND // 1000:06d}Z"
