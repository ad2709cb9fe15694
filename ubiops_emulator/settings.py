"""How this emulator runs things: fixed at its start, unlike the switches."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Flags of the command line.

    Attributes:
        speed: times UbiOps' own pace.
        runtime: `process`, or `none` to keep only the books.
        builds: `check` what is installed, or install it into a `venv`.
        python: the interpreter that runs packages.
        capacity: how many instances of a type there is room for at first, by its name; any number of those not named.
    """

    speed: float = 1.0
    runtime: str = "process"
    builds: str = "check"
    python: str = sys.executable
    capacity: Mapping[str, int] = field(default_factory=dict)
