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
    return f"{shown(field.before)} -> {shown(field.after)}"


def shown(value: Any) -> str:
    """A value in one line; nothing of a long text but its start."""
    if value is None:
        return "(not set)"
    if isinstance(value, Masked):
        return str(value)
    text = json_text(value, indent=None)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
