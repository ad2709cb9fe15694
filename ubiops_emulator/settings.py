"""How this emulator runs things: fixed at its start, unlike the switches."""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Flags of the command line.

    Attributes:
        speed: times UbiOps' own pace.
        runtime: `process`, or `none` to keep only the books.
        builds: `check` what is installed, or install it into a `venv`.
        python: the interpreter that runs packages.
    """

    speed: float = 1.0
    runtime: str = "process"
    builds: str = "check"
    python: str = sys.executable
