"""The values of a stack file as they were written: data, place and look; and how messages name them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whisperctl.errors import Mark

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Value:
    """A value as written: its data, its place, and how it looked."""

    data: Scalar | dict[str, Value] | list[Value]
    mark: Mark
    folder: Path
    """Folder of the file that holds it: relative paths count from here."""
    key: Mark | None = None
    """Place of its key, when it stands in a mapping."""
    written: str | None = None
    """A scalar's own text, before anything was put in for `${NAME}`."""
    quoted: bool = False
    substituted: bool = False
    names: tuple[str, ...] = ()
    """The environment variables that were put in, in their order."""
    removes: bool = False
    """A null that takes away what the extended file has."""

    @property
    def place(self) -> Mark:
        """Where to point: at the key of a collection, at the value otherwise."""
        return self.key if self.key is not None and isinstance(self.data, dict | list) else self.mark


def plain(value: Value) -> Any:
    """The tree as plain Python data."""
    match value.data:
        case dict(entries):
            return {key: plain(entry) for key, entry in entries.items()}
        case list(items):
            return [plain(item) for item in items]
        case scalar:
            return scalar


def shown(data: Any) -> str:
    """How a scalar is named in a message."""
    match data:
        case bool():
            return "true" if data else "false"
        case None:
            return "nothing (null)"
        case int() | float():
            return f"the number {data}"
        case _:
            return f"`{data}`"


def kind(data: Any) -> str:
    """What sort of value this is, in words."""
    match data:
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case bool():
            return "true or false"
        case int():
            return "a whole number"
        case float():
            return "a number"
        case None:
            return "nothing"
        case _:
            return "text"
