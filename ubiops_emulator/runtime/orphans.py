"""Processes of instances that outlived what should have ended them, found by a mark in their environment.

Contract: Linux's /proc; elsewhere nothing is found, and process groups must do.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

MARK = "UBIOPS_EMULATOR_INSTANCE"


def marked(mark: str) -> Iterator[int]:
    """Ids of processes whose environment holds a mark that begins so."""
    variable = f"{MARK}={mark}".encode()
    proc = Path("/proc")
    if not proc.is_dir():
        return
    for entry in proc.iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if any(item.startswith(variable) for item in (entry / "environ").read_bytes().split(b"\0")):
                yield int(entry.name)


def end(mark: str) -> int:
    """Kill them; how many there were."""
    count = 0
    for pid in list(marked(mark)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
            count += 1
    return count
