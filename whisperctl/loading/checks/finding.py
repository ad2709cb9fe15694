"""One thing that a check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from whisperctl.loading.warnings import WarningName
from whisperctl.serving import catalog
from whisperctl.spec import Path_, Stack


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong at `path`, and what to do about it."""

    path: Path_
    message: str
    hint: str = ""
    severity: Literal["error", "warning"] = "error"
    name: str = ""
    """Of a warning: its name in `warnings.NAMES`."""


def warning(path: Path_, name: WarningName, message: str, hint: str = "") -> Finding:
    """A finding that stops nothing, since it may be meant; the file can `acknowledge` its name."""
    return Finding(path, message, hint, "warning", name)


def is_hidden(stack: Stack, path: Path_) -> bool:
    """Whether a value holds what an environment variable held: no message shows or describes that."""
    return any(each[: len(path)] == path for each in stack.substituted)


def in_message(stack: Stack, path: Path_, text: str) -> str:
    """A value as a message shows it, in short."""
    if is_hidden(stack, path):
        return "what `${…}` stands for"
    return f"`{text if len(text) <= 60 else text[:57] + '…'}`"


def history(ranges: tuple[tuple[str, str | None], ...]) -> str:
    """`it came with 0.13.0`, `it was removed in 0.13.0`."""
    sentences = []
    for first, below in ranges:
        came = "" if first == catalog.releases()[0].version else f"it came with {first}"
        gone = f"it was removed in {below}" if below else ""
        sentences.append(" and ".join(part for part in (came, gone) if part))
    return "; ".join(sentences)
