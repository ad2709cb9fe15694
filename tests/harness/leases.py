"""Leases of others, as tests write them on a deployment."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from whisperctl.apply.lease import new_lease, process_started
from whisperctl.state.labels import LeaseHolder, packed_lease

SOMEWHERE = LeaseHolder("", "feedfeedfeedfeed", 3, "01234567-89ab-cdef-0123-456789abcdef", "4026531836", 4242, "123456")
"""A holder on another machine."""
ELSEWHERE = {"whisperctl-lease": packed_lease(SOMEWHERE)}
NO_PROCESS = 4194303
"""A pid that no process of a test machine has."""


def gone(holder: LeaseHolder | None = None) -> dict[str, str]:
    """The label of a holder of this machine whose process has ended."""
    return {"whisperctl-lease": packed_lease(replace(holder or new_lease(), pid=NO_PROCESS, started="1"))}


@contextmanager
def of_a_process(seconds: float) -> Iterator[dict[str, str]]:
    """The label of a process of this machine that ends after some seconds."""
    with subprocess.Popen(["sleep", str(seconds)]) as process:
        holder = replace(new_lease(), pid=process.pid, started=process_started(process.pid))
        yield {"whisperctl-lease": packed_lease(holder)}
