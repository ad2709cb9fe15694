"""Recordings that are decoded at once: as many as keep the cores busy, however many wait for the server.

A recording has its turn while it is opened, decoded and cut, not while it waits for answers. So a thousand short ones
may be in flight, and of a thousand long ones only a few are open.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


def decoders() -> int:
    """How many on this machine; more than cores, because ffmpeg is a process of its own, and disks make wait."""
    return 2 * len(os.sched_getaffinity(0)) + 2


class Turn:
    """One recording's turn, taken already."""

    def __init__(self, turns: threading.Semaphore) -> None:
        self._turns, self._lasts = turns, True

    def end(self) -> None:
        """Let the next recording have it; a second time does nothing."""
        if self._lasts:
            self._lasts = False
            self._turns.release()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Let another have it meanwhile."""
        self._turns.release()
        try:
            yield
        finally:
            self._turns.acquire()
