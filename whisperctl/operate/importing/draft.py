"""A stack file in the making: its data, and what is to be said beside it. Mutable, in memory, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from whisperctl.operate.importing.text import MISSING, yaml_text
from whisperctl.spec import Path_


@dataclass(slots=True)
class Draft:
    """The data of one stack file; `put` keeps the order in which sections were first put."""

    data: dict[str, Any] = field(default_factory=dict)
    remarks: dict[Path_, list[str]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    """Further files that it names, by their names beside it."""
    questions: list[str] = field(default_factory=list)
    """What could not be told, as `path: question`."""

    @property
    def text(self) -> str:
        """The stack file that describes what was imported."""
        return yaml_text(self.data, self.remarks)

    def put(self, path: Path_, value: Any) -> None:
        """Set the value at `path`, whose sections come to be."""
        where = self.data
        for key in path[:-1]:
            where = where.setdefault(str(key), {})
        where[str(path[-1])] = value

    def note(self, path: Path_, text: str) -> None:
        """Put a comment above the value at `path`."""
        self.remarks.setdefault(path, []).append(text)

    def ask(self, path: Path_, question: str) -> None:
        """Put a question above the value: what is written there is a guess."""
        self.note(path, f"? {question}")
        self.questions.append(f"{'.'.join(map(str, path))}: {question}")

    def unknown(self, path: Path_, question: str) -> None:
        """A value that must be given and cannot be told."""
        self.put(path, MISSING)
        self.ask(path, question)

    def leave_out(self, path: Path_, why: str) -> None:
        """Take a value out, and say so in its place."""
        where, key = self._holder(path), path[-1]
        del where[key]
        if isinstance(where, dict) and isinstance(key, str):
            where[key] = MISSING
            self.note(path, f"{key} is left out: {why}")
        else:
            self.note(path[:-1], f"one of them is left out: {why}")

    def _holder(self, path: Path_) -> Any:
        where: Any = self.data
        for key in path[:-1]:
            where = where[key]
        return where

    def resolved(self, dotted: str) -> Path_ | None:
        """The path that a problem's text names: keys may hold dots themselves. None of what is not written."""
        return _resolved(self.data, dotted)


def _resolved(value: Any, dotted: str) -> Path_ | None:
    if not dotted:
        return ()
    if isinstance(value, Mapping):
        entries = [(str(key), key, item) for key, item in value.items()]
    elif isinstance(value, list):
        entries = [(str(position), position, item) for position, item in enumerate(value)]
    else:
        return ()  # the place of a part of what is written as one value
    for name, key, item in sorted(entries, key=lambda entry: -len(entry[0])):
        if item is not MISSING and (dotted == name or dotted.startswith(f"{name}.")):
            rest = _resolved(item, dotted[len(name) + 1 :])
            return None if rest is None else (key, *rest)
    return None
