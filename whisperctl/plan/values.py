"""The values of a change in words: one line each, and nothing of what is masked."""

from __future__ import annotations

from typing import Any

from whisperctl.output import json_text
from whisperctl.state.diff import FieldChange
from whisperctl.state.resources import Masked

LONGEST = 120
"""Characters of a value that are shown."""


def step(field: FieldChange) -> str:
    """`448 -> 440`."""
    return f"{shown(field.before)} -> {planned(field)}"


def planned(field: FieldChange) -> str:
    """The value as it will be, and the environment variables that it was taken from."""
    if not field.names:
        return shown(field.after)
    source = f"(from {', '.join(f'${{{name}}}' for name in field.names)})"
    return source if field.after is Masked.UNMARKED else f"{shown(field.after)} {source}"


def shown(value: Any) -> str:
    """A value in one line; nothing of a long text but its start."""
    if value is None:
        return "(not set)"
    if isinstance(value, Masked):
        return str(value)
    text = json_text(value, indent=None)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
