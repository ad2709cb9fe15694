"""What `watch` tells, as lines, as JSON lines and as the text of a webhook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from whisperctl.operate.watch.conditions import Notice
from whisperctl.operate.watch.heal import Healing
from whisperctl.output import json_text


def watch_lines(notices: Sequence[Notice], healings: Sequence[Healing], now: float, color: bool) -> Iterator[str]:
    """`2026-01-31T09:05:00Z speech (project demo) drift version/speech/v1: maximum_instances 1 -> 2`."""
    stamp = _stamp(now)
    for notice in notices:
        line = f"{stamp} {_in_words(notice)}"
        yield click.style(line, fg="red" if notice.state == "begins" else "green") if color else line
    for healing in healings:
        line = f"{stamp} {_healed(healing)}"
        yield click.style(line, fg="green" if healing.done else "yellow") if color else line


def watch_json_lines(notices: Sequence[Notice], healings: Sequence[Healing], now: float) -> Iterator[str]:
    """One JSON object a line: time, project, stack, kind, state (begins, over, healed, not healed), about, text."""
    for notice in notices:
        condition = notice.condition
        yield _line(
            now, condition.project, condition.stack, condition.kind, notice.state, condition.about, condition.text
        )
    for healing in healings:
        state = "healed" if healing.done else "not healed"
        yield _line(now, healing.project, healing.stack, "drift", state, "", healing.text)


def _line(now: float, project: str, stack: str, kind: str, state: str, about: str, text: str) -> str:
    document: dict[str, Any] = {"time": _stamp(now), "project": project, "stack": stack, "kind": kind, "state": state}
    return json_text(document | {"about": about or None, "text": text}, indent=None)


def watch_message(notices: Sequence[Notice], healings: Sequence[Healing]) -> str:
    """One text for all that is new."""
    return "\n".join([*(_in_words(notice) for notice in notices), *(_healed(healing) for healing in healings)])


def _in_words(notice: Notice) -> str:
    condition = notice.condition
    about = f" {condition.about}" if condition.about else ""
    over = "over: " if notice.state == "over" else ""
    return f"{condition.stack} (project {condition.project}) {over}{condition.kind}{about}: {condition.text}"


def _healed(healing: Healing) -> str:
    word = "healed" if healing.done else "not healed"
    return f"{healing.stack} (project {healing.project}) {word}: {healing.text}"


def _stamp(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
