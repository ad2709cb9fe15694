"""The lease of a stack: a label on its deployment, so that two applies of one stack do not run at once.

60 s, renewed while working, given back at the end; taken over at once when its holder was a process of this host
that is gone, and after 60 s without a renewal whatever time its holder's clock tells. UbiOps has no compare-and-swap,
so whoever takes a lease reads it back before going on.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from whisperctl.clock import Clock, StoppableClock
from whisperctl.control.api import Api, Json
from whisperctl.errors import ApiError
from whisperctl.state.labels import DIGEST_LABEL, LEASE_LABEL

SECONDS = 60
"""How long a lease holds without being renewed."""
RENEW_EVERY = 25.0
"""Seconds between renewals: two may be lost before the lease runs out."""
SETTLE = 0.2
"""Seconds before a new lease is read back, for another process that wrote at the same moment."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds it and until when (seconds since 1970)."""

    host: str
    pid: int
    started: str
    nonce: str
    until: int

    def __str__(self) -> str:
        return f"{self.host} {self.pid} {self.started} {self.nonce} {self.until}"


def new_lease(now: float) -> Lease:
    """A lease for this process from now on."""
    pid = os.getpid()
    return Lease(socket.gethostname(), pid, _started(pid), secrets.token_hex(4), int(now) + SECONDS)


def renewed(lease: Lease, now: float) -> Lease:
    """The same lease, longer."""
    return Lease(lease.host, lease.pid, lease.started, lease.nonce, int(now) + SECONDS)


def parse(text: str | None) -> Lease | None:
    """The lease that a label tells; None when there is none or it is malformed."""
    parts = (text or "").split(" ")
    if len(parts) != 5 or not parts[1].isdigit() or not parts[4].isdigit():
        return None
    return Lease(parts[0], int(parts[1]), parts[2], parts[3], int(parts[4]))


def is_held(lease: Lease | None, now: float) -> bool:
    """Whether somebody works under `lease`: it has not run out, and its process is not known to be gone."""
    if lease is None or lease.until <= now:
        return False
    return lease.host != socket.gethostname() or _started(lease.pid) == lease.started


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """A lease that was taken."""

    lease: Lease
    waited: bool
    """Whether somebody else's had to be waited for."""
    now: Json | None
    """The deployment as it is now; None: it is gone, and the lease is written nowhere."""
    before: Mapping[str, str]
    """Its labels as they were found."""


def take(
    api: Api,
    deployment: str,
    lease: Lease,
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
            return Taken(lease=lease, waited=waited, now=None, before={})
        labels = found.get("labels") or {}
        holder = parse(labels.get(LEASE_LABEL))
        if str(holder) != seen:
            seen, since = str(holder), clock.monotonic()
        renewed_lately = clock.monotonic() - since < SECONDS
        if holder is not None and holder.nonce != lease.nonce and is_held(holder, clock.time()) and renewed_lately:
            if not waited:
                say(f"waiting for another apply of deployment/{deployment} (process {holder.pid} on {holder.host})")
            waited = True
            clock.sleep(2.0)
            continue
        lease = renewed(lease, clock.time())
        api.update_deployment(
            deployment,
            {"labels": {**labels, LEASE_LABEL: str(lease)} if waited else _with(labels, lease, unproven, more)},
        )
        clock.sleep(SETTLE)  # another may have seen it free as well, and write a moment later
        found = api.deployment(deployment)
        written = parse(((found or {}).get("labels") or {}).get(LEASE_LABEL))
        if written is not None and written.nonce == lease.nonce:
            return Taken(lease=lease, waited=waited, now=found, before=labels)
        waited = True


def _with(labels: Mapping[str, str], lease: Lease, unproven: bool, more: Mapping[str, str | None]) -> dict[str, str]:
    wanted: dict[str, str | None] = {**labels, **more, LEASE_LABEL: str(lease)}
    if unproven:
        wanted[DIGEST_LABEL] = None
    return {key: value for key, value in wanted.items() if value is not None}


def _started(pid: int) -> str:
    """When a process of this host started, in the kernel's ticks; `-` when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        pass
    try:  # no /proc: a process that can be signalled is taken for the same one
        os.kill(pid, 0)
    except OSError:
        return "-"
    return "running"


@contextmanager
def held(api: Api, deployment: str, clock: StoppableClock, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lease of `deployment`: no apply runs meanwhile. Waits for one that does, and says so."""
    lease = take(api, deployment, new_lease(clock.time()), clock, say, unproven=False).lease
    done = threading.Event()
    renewing = threading.Thread(target=_renew, args=(api, deployment, lease, clock, done), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        done.set()
        renewing.join()
        _write(api, deployment, lease, None, say)


def _renew(api: Api, deployment: str, lease: Lease, clock: StoppableClock, done: threading.Event) -> None:
    while not done.wait(RENEW_EVERY):
        _write(api, deployment, lease, str(renewed(lease, clock.time())), lambda _line: None)


def _write(api: Api, deployment: str, lease: Lease, text: str | None, say: Callable[[str], None]) -> None:
    """Renew or remove our lease; that this fails is no failure of the work: the lease runs out by itself."""
    try:
        labels = dict((api.deployment(deployment) or {}).get("labels") or {})
        if lease.nonce in labels.pop(LEASE_LABEL, ""):
            api.update_deployment(deployment, {"labels": labels | ({LEASE_LABEL: text} if text else {})})
    except ApiError as error:
        say(f"the lease of deployment/{deployment} could not be written: {error.reason}")
