"""Which process holds a lease, whether it is known to have ended; when another may take it, and what that finds.

A process is looked for only on the same boot of the same machine and in the same pid namespace: two containers may
share a host's name, and a number means nothing in another namespace.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from whisperctl.control.api import Json
from whisperctl.state.records import LeaseHolder

SECONDS = 60.0
"""How long a lease holds without being renewed."""
OVER = "Another apply of this stack has taken over: this one could not renew its lease in time.\n  Plan again."
GONE = (
    "The lease of this stack is gone: another apply has taken over and ended, or somebody has removed its label or the "
    "deployment.\n  Plan again."
)


class Sightings:
    """The leases of others as whoever waits sees them, one after the other on one deployment."""

    def __init__(self) -> None:
        self._text, self._since = "", 0.0

    def may_be_taken(self, holder: LeaseHolder, now: float) -> bool:
        """Whether a lease seen when the clock was at `now` is nobody's any more: ended, or unchanged for `SECONDS`."""
        if holder.text != self._text:
            self._text, self._since = holder.text, now
        return is_gone(holder) or now - self._since >= SECONDS


class NotFree(Exception):
    """Somebody else's lease is on the deployment after all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """What was found when the lease was taken."""

    waited: bool
    """Whether somebody else's had to be waited for."""
    slow: bool
    """Whether writing it took so long that somebody may have come, worked and gone meanwhile."""
    before: Json | None
    """The deployment right before our lease was written; None: there is none, and the lease is written nowhere."""
    now: Json | None
    """The deployment with our lease on it."""


def new_holder() -> LeaseHolder:
    """This process, with a nonce of its own."""
    pid = os.getpid()
    return LeaseHolder("", secrets.token_hex(8), 0, _boot(), _namespace(), pid, process_started(pid))


def renewed(holder: LeaseHolder) -> LeaseHolder:
    """The same holder once more: the label's text differs from every one before."""
    return replace(holder, renewals=holder.renewals + 1)


def is_gone(holder: LeaseHolder) -> bool:
    """Whether the holder's process is known to have ended."""
    return _is_here(holder) and process_started(holder.pid) != holder.started


def is_at_work(holder: LeaseHolder | None, ours: LeaseHolder) -> bool:
    """Whether somebody else holds a lease for good that is `ours`, and whose time has not run out.

    They were slow to see that it was taken, or an edit of the labels dropped it. One that was renewed is of a holder
    that works.
    """
    return holder is not None and holder.nonce != ours.nonce and holder.renewals > 0


def holder_in_words(holder: LeaseHolder) -> str:
    """`process 4711 of this machine`, as far as one can tell."""
    if not holder.nonce:
        return "another version of whisperctl"
    return f"process {holder.pid} of {'this' if _is_here(holder) else 'another'} machine"


def _is_here(holder: LeaseHolder) -> bool:
    return bool(holder.boot and holder.namespace) and (holder.boot, holder.namespace) == (_boot(), _namespace())


def _boot() -> str:
    """The kernel's boot id; empty where there is none, so that nobody is looked for."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def _namespace() -> str:
    """The number of this process's pid namespace; empty where there is none."""
    with suppress(OSError):
        return "".join(char for char in str(Path("/proc/self/ns/pid").readlink()) if char.isdecimal())
    return ""


def process_started(pid: int) -> str:
    """When a process started, in the kernel's ticks since the boot (proc(5)); `-` when there is no such process."""
    with suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return "-" if fields[0] in "ZX" else fields[19]  # one that only waits to be reaped has ended
    return "-"
