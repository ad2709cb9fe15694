"""The old name of `ubiops_emulator.testing`."""

from __future__ import annotations

from pathlib import Path

from ubiops_emulator import testing
from ubiops_emulator.testing import Emulator as EmulatorProcess

__all__ = ["EmulatorProcess", "start_emulator"]


def start_emulator(data_dir: Path, *args: str) -> EmulatorProcess:
    return testing.start(*args, data=data_dir)
