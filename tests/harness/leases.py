"""Leases of others, as tests write them on a deployment."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from tests.harness.project import QuickClock
from whisperctl.apply.holder import new_holder, process_started
from whisperctl.state.records import LeaseHolder, packed_lease

SOMEWHERE = LeaseHolder("", "feedfeedfeedfeed", 3, "01234567-89ab-cdef-0123-456789abcdef", "4026531836", 4242, "1234")
"""A holder on another machine, at work."""
ELSEWHERE = {"whisperctl-lease": packed_lease(SOMEWHERE)}
NO_PROCESS = 4194303
"""A pid that no process of a test machine has."""


class SkippingClock(QuickClock):
    """Time that a test lets pass: by hand, and some seconds with every sleep."""

    skipped = 0.0
    per_sleep = 0.0

    def sleep(self, seconds: float) -> None:
        self.skipped += self.per_sleep
        super().sleep(seconds)

    def monotonic(self) -> float:
        return super().monotonic() + self.skipped

    def boottime(self) -> float:
        return super().boottime() + self.skipped


class ImpatientClock(SkippingClock):
    """Ten seconds pass with every sleep."""

    per_sleep = 10.0


class WhileItWaits(SkippingClock):
    """Does something once, in the first wait for at least so many seconds."""

    def __init__(self, does: Callable[[], None], seconds: float = 90.0) -> None:
        super().__init__()
        self.does, self.seconds, self.done = does, seconds, False

    def sleep(self, seconds: float) -> None:
        if seconds > self.seconds and not self.done:
            self.done = True
            self.does()
        super().sleep(seconds)


def gone(holder: LeaseHolder | None = None) -> dict[str, str]:
    """The label of a holder of this machine whose process has ended."""
    return {"whisperctl-lease": packed_lease(replace(holder or new_holder(), pid=NO_PROCESS, started="1"))}


@contextmanager
def of_a_process(seconds: float) -> Iterator[dict[str, str]]:
    """The label of a process of this machine that ends after some seconds."""
    with subprocess.Popen(["sleep", str(seconds)]) as process:
        holder = replace(new_holder(), pid=process.pid, started=process_started(process.pid))
        yield {"whisperctl-lease": packed_lease(holder)}
