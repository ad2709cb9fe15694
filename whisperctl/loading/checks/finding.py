"""One thing that a check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from whisperctl.spec import Path_


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong at `path`, and what to do about it."""

    path: Path_
    message: str
    hint: str = ""
    severity: Literal["error", "warning"] = "error"


def warning(path: Path_, message: str, hint: str = "") -> Finding:
    """Something that may be meant."""
    return Finding(path, message, hint, "warning")
