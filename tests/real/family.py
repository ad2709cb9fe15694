"""The processes that a process has started, and whether they are gone, by /proc."""

from __future__ import annotations

import re
import time
from pathlib import Path

END_TIMEOUT = 60.0


def descendants(ancestor: int) -> set[int]:
    """Every process that this one started, directly or not."""
    parents = {pid: parent for pid, (_, parent) in processes().items()}
    collected = {ancestor}
    while more := {pid for pid, parent in parents.items() if parent in collected} - collected:
        collected |= more
    return collected - {ancestor}


def remaining(family: set[int]) -> list[int]:
    """Those that still run, or ended unmourned by a parent of this test's, after a moment to go."""
    deadline = time.monotonic() + END_TIMEOUT
    while left := [pid for pid, state in processes().items() if pid in family and state != ("Z", 1)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return left


def processes() -> dict[int, tuple[str, int]]:
    """State and parent of every process on this machine."""
    collected = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = re.fullmatch(r"(\d+) \(.*\) (\S) (\d+) .*", stat.read_text(), re.DOTALL)
        except (FileNotFoundError, ProcessLookupError):
            continue
        assert fields is not None
        collected[int(fields[1])] = (fields[2], int(fields[3]))
    return collected
