"""The lease of a stack: a label on its deployment, so that two applies of one stack do not run at once.

60 s, renewed while working, given back at the end; taken over at once when its holder was a process of this host
that is gone, and after 60 s without a renewal whatever time its holder's clock tells. UbiOps has no compare-and-swap,
so whoever takes a lease reads it back before going on.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from whisperctl.clock import Clock, StoppableClock
from whisperctl.control.api import Api, Json
from whisperctl.errors import ApiError
from whisperctl.state.labels import Labels, LeaseHolder, lease_change, merged

SECONDS = 60
"""How long a lease holds without being renewed."""
RENEW_EVERY = 25.0
"""Seconds between renewals: two may be lost before the lease runs out."""
SETTLE = 0.2
"""Seconds before a new lease is read back, for another process that wrote at the same moment."""


def new_lease() -> LeaseHolder:
    """A lease for this process."""
    pid = os.getpid()
    return LeaseHolder("", secrets.token_hex(8), 0, _boot(), _namespace(), pid, process_started(pid))


def renewed(lease: LeaseHolder) -> LeaseHolder:
    """The same lease once more: its text differs from every one before."""
    return replace(lease, renewals=lease.renewals + 1)


def is_gone(holder: LeaseHolder) -> bool:
    """Whether the holder's process is known to have ended: one of this boot and pid namespace can be looked for."""
    if not holder.boot or (holder.boot, holder.namespace) != (_boot(), _namespace()):
        return False
    return process_started(holder.pid) != holder.started


def holder_in_words(holder: LeaseHolder) -> str:
    """`process 4711 of this machine`, as far as one can tell."""
    if not holder.boot:
        return "another version of whisperctl"
    here = (holder.boot, holder.namespace) == (_boot(), _namespace())
    return f"process {holder.pid} of {'this' if here else 'another'} machine"


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """A lease that was taken."""

    lease: LeaseHolder
    waited: bool
    """Whether somebody else's had to be waited for."""
    now: Json | None
    """The deployment as it is now; None: it is gone, and the lease is written nowhere."""
    before: Labels
    """Its labels as they were found."""


def take(
    api: Api,
    deployment: str,
    lease: LeaseHolder,
    clock: Clock,
    say: Callable[[str], None],
    *,
    unproven: bool,
    more: Mapping[str, str | None] = MappingProxyType({}),
) -> Taken:
    """Wait until the lease of `deployment` is free and write ours.

    `unproven` also removes the digest label: until it is sealed again, a later plan knows that the proof is missing.
    `more` are other labels to write with it; None removes one. Neither is written after a wait: whoever waited looks
    again at what there is to do, and takes the lease once more before it does that.
    """
    waited = False
    seen, since = "", 0.0
    while True:
        found = api.deployment(deployment)
        if found is None:
            return Taken(lease=lease, waited=waited, now=None, before=Labels({}))
        labels = Labels.of(found)
        holder = labels.lease
        if holder is not None and holder.text != seen:
            seen, since = holder.text, clock.monotonic()
        renewed_lately = clock.monotonic() - since < SECONDS
        if holder is not None and holder.nonce != lease.nonce and not is_gone(holder) and renewed_lately:
            if not waited:
                say(f"waiting for another apply of deployment/{deployment} ({holder_in_words(holder)})")
            waited = True
            clock.sleep(2.0)
            continue
        lease = renewed(lease)
        changes = {} if waited else {**more, **(labels.packed(digest=None) if unproven else {})}
        api.update_deployment(deployment, {"labels": merged(labels.all, changes | lease_change(lease))})
        clock.sleep(SETTLE)  # another may have seen it free as well, and write a moment later
        found = api.deployment(deployment)
        written = Labels.of(found).lease
        if written is not None and written.nonce == lease.nonce:
            return Taken(lease=lease, waited=waited, now=found, before=labels)
        waited = True


def _boot() -> str:
    """The kernel's boot id; empty where there is none, so that nobody can be looked for."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def _namespace() -> str:
    """The number of this process's pid namespace; empty where there is none."""
    with suppress(OSError):
        return "".join(char for char in str(Path("/proc/self/ns/pid").readlink()) if char.isdecimal())
    return ""


def process_started(pid: int) -> str:
    """When a process started, in the kernel's ticks; `-` when there is no such process."""
    with suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return "-" if fields[0] in "ZX" else fields[19]  # one that only waits to be reaped has ended
    return "-"


@contextmanager
def held(api: Api, deployment: str, clock: StoppableClock, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lease of `deployment`: no apply runs meanwhile. Waits for one that does, and says so."""
    lease = take(api, deployment, new_lease(), clock, say, unproven=False).lease
    done = threading.Event()
    renewing = threading.Thread(target=_renew, args=(api, deployment, lease, done), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        done.set()
        renewing.join()
        _write(api, deployment, lease, None, say)


def _renew(api: Api, deployment: str, lease: LeaseHolder, done: threading.Event) -> None:
    while not done.wait(RENEW_EVERY):
        lease = renewed(lease)
        _write(api, deployment, lease, lease, lambda _line: None)


def _write(
    api: Api, deployment: str, lease: LeaseHolder, change: LeaseHolder | None, say: Callable[[str], None]
) -> None:
    """Renew or remove our lease; that this fails is no failure of the work: the lease runs out by itself."""
    try:
        labels = Labels.of(api.deployment(deployment))
        if labels.lease is not None and labels.lease.nonce == lease.nonce:
            api.update_deployment(deployment, {"labels": labels.written(lease=change)})
    except ApiError as error:
        say(f"the lease of deployment/{deployment} could not be written: {error.reason}")
