"""The thread that renews leases in time, and holding one around what a command writes.

One list of a project's deployments for all leases that are due, then a PATCH each, side by side.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from whisperctl.apply.lease import Lease
from whisperctl.clock import StoppableClock
from whisperctl.control.api import Api, Json
from whisperctl.errors import ApiError, Interrupted

RENEWERS = 8
"""Leases that are renewed at the same moment."""
TICK = 0.5
"""Seconds between looks at which leases are due."""


@contextmanager
def leased(api: Api, deployment: str, clock: StoppableClock, say: Callable[[str], None]) -> Iterator[Lease]:
    """Hold the lease of `deployment`, and write through its `api`: nobody else does meanwhile.

    Waits for whoever holds it, and says so.
    """
    lease = Lease(api, deployment, clock, say)
    with renewing(lambda: [lease]):
        try:
            lease.take()
            yield lease
        finally:
            lease.give_back()


@contextmanager
def renewing(leases: Callable[[], Sequence[Lease]]) -> Iterator[None]:
    """Renew the leases in time while this lasts."""
    over = threading.Event()
    threading.Thread(target=_renew_in_time, args=(leases, over), daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _renew_in_time(leases: Callable[[], Sequence[Lease]], over: threading.Event) -> None:
    pool = ThreadPoolExecutor(RENEWERS)
    while not over.wait(TICK):
        due: dict[tuple[str, str], list[Lease]] = {}
        for lease in leases():
            if lease.comes_due():
                due.setdefault(lease.project, []).append(lease)
        for together in due.values():
            pool.submit(_renew_together, pool, together)
    pool.shutdown(wait=False)


def _renew_together(pool: ThreadPoolExecutor, leases: Sequence[Lease]) -> None:
    first, *others = leases
    if not others:
        first.renew()
        return
    with suppress(ApiError, Interrupted):  # tried again in a moment, before any of them has run out
        known = first.read_all()
        for lease in leases:
            pool.submit(_renew_one, lease, known)


def _renew_one(lease: Lease, known: Callable[[Lease], Json | None]) -> None:
    lease.renew(known(lease))
