"""The lease of a stack: who may write to it. A label on its deployment that shows the holder to all others.

Two commands that write never work on one stack at once. A lease lasts 60 s and is renewed while its holder works.

- Taken: when there is none, when its process is known to have ended, or when it was seen unchanged for 60 s by the
  clock of whoever waits. No other clock is believed. UbiOps has no compare-and-swap: whoever takes a lease waits for
  as long as a rival's write may take, and reads it back.
- Kept: `Lease.api` asks `fence` before every write. Its clock counts sleep (CLOCK_BOOTTIME) and starts when the last
  renewal was sent, so that a process that was stopped, suspended or cut off notices. It then reads first: with its own
  nonce there it renews, reads back and goes on; with another's, or none, it writes nothing more.
- Renewed by a thread that waits for no other request, slot or lock. A renewal reads the labels and writes them back
  with the holder's own changes over them, so that neither overwrites the other.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from whisperctl.apply.holder import holder_in_words, is_gone, new_holder, renewed
from whisperctl.clock import StoppableClock
from whisperctl.control.api import Api, Json
from whisperctl.errors import ApiError, Interrupted, StalePlan
from whisperctl.state.label_text import merged
from whisperctl.state.labels import Labels, lease_change
from whisperctl.state.records import LeaseHolder

SECONDS = 60.0
"""How long a lease holds without being renewed."""
MARGIN = 10.0
"""Seconds that it must have left for a write to begin."""
RENEW_EVERY = 25.0
"""Seconds between renewals: one may be lost before the margin is reached."""
RETRY_EVERY = 3.0
"""Seconds after which a renewal that failed is tried again."""
FIRST_LOOK = 2.0
"""Seconds after taking it until a lease is looked at again, for somebody who was slow to see that it was taken."""
SETTLE = 0.5
"""Seconds before a new lease is read back, for another process that wrote at the same moment."""
QUICK = 0.4
"""Seconds from seeing a lease free until having written ours; whoever took longer may have written over a holder."""
SLOW_LOOKS, VERY_SLOW_LOOKS = 3, 15
"""Looks of whoever took longer (than `FIRST_LOOK`), as many seconds apart: a holder renews its own in between."""
RENEWERS = 8
"""Leases that are renewed at the same moment."""
TICK = 0.5
"""Seconds between looks at which leases are due."""
FRESH = 2.0
"""Seconds for which what a list told may be written back."""
LOOK_EVERY = 2.0
"""Seconds between looks at a lease that somebody else holds."""
GIVE_UP = 3600.0
"""Seconds for which a holder whose time ran out asks UbiOps who holds the lease now."""
OVER = "Another apply of this stack has taken over: this one could not renew its lease in time.\n  Plan again."


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """What was found when the lease was taken."""

    waited: bool
    """Whether somebody else's had to be waited for."""
    before: Json | None
    """The deployment right before our lease was written; None: there is none, and the lease is written nowhere."""
    now: Json | None
    """The deployment with our lease on it."""


class Lease:
    """The lease of one deployment, as this process takes, keeps and gives it back. Safe to use from several threads."""

    def __init__(self, api: Api, deployment: str, clock: StoppableClock, say: Callable[[str], None]) -> None:
        self.deployment = deployment
        self.holder: LeaseHolder = new_holder()
        self.api = api.fenced(self.fence)
        """The control plane through which the holder writes."""
        self.project = (api.host, api.project)
        self.placed = False
        """Whether it is written on the deployment."""
        self.lost = False
        """Whether somebody else has it."""
        self._urgent = api.urgent()
        self._api = api
        self._clock = clock
        self._say = say
        self._sent = -math.inf
        self._next_renewal = 0.0
        self._changes: dict[str, str | None] = {}
        self._renewing = threading.Lock()
        self._recovering = threading.RLock()

    # --- taking it ----------------------------------------------------------------------------------------------------

    def take(self) -> Taken:
        """Wait until the lease is free, and write ours.

        Raises:
            ApiError: UbiOps cannot be asked.
        """
        waited = False
        seen, since = "", 0.0
        while True:
            start = self._clock.boottime()
            raw = self._api.deployment(self.deployment)
            if raw is None:
                return Taken(waited=waited, before=None, now=None)
            other = Labels.of(raw).lease
            if other is not None and other.text != seen:
                seen, since = other.text, start
            if other is not None and not is_gone(other) and start - since < SECONDS:
                if not waited:
                    self._say(f"waiting for another apply of deployment/{self.deployment} ({holder_in_words(other)})")
                waited = True
                self._clock.sleep(LOOK_EVERY)
                continue
            now = self._written(raw, start)
            if now is not None:
                self.placed, self._next_renewal = True, self._sent + FIRST_LOOK
                return Taken(waited=waited, before=raw, now=now)
            waited = True

    def _written(self, raw: Json, start: float) -> Json | None:
        """The deployment with our lease on it; None if a rival's is there after all."""
        self.holder = new_holder()
        self._sent = self._clock.boottime()
        labels = merged(Labels.of(raw).all, lease_change(self.holder))
        self._api.update_deployment(self.deployment, {"labels": labels})
        took = self._clock.boottime() - start
        self._clock.sleep(SETTLE)
        now = self._ours()
        if took <= QUICK or now is None:
            return now
        # Somebody may have taken and read back theirs before ours arrived: they see it, and write theirs again.
        for _ in range(SLOW_LOOKS if took < FIRST_LOOK else VERY_SLOW_LOOKS):
            self._clock.sleep(FIRST_LOOK)
            now = self._ours()
            if now is None:
                return None
        self.holder = renewed(self.holder)  # which tells whoever sees it that this one works
        self._sent = self._clock.boottime()
        labels = merged(Labels.of(now).all, lease_change(self.holder))
        self._api.update_deployment(self.deployment, {"labels": labels})
        return self._ours()

    def _ours(self) -> Json | None:
        """The deployment, if our lease is on it."""
        raw = self._api.deployment(self.deployment)
        return raw if self._is_ours(Labels.of(raw).lease) else None

    def _is_ours(self, holder: LeaseHolder | None) -> bool:
        return holder is not None and holder.nonce == self.holder.nonce

    # --- keeping it ---------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Between the polls of a wait.

        Raises:
            StalePlan: somebody else is known to have taken the lease: what is waited for may never come.
        """
        if self.lost:
            raise StalePlan(OVER)

    def fence(self) -> float:
        """Seconds that a write which begins now may take.

        Raises:
            StalePlan: somebody else has taken the lease.
            ApiError: the time has run out, and UbiOps does not tell who has it now.
        """
        self.check()
        if not self.placed:
            return math.inf
        if self._left() < MARGIN:
            with self._recovering:
                if self._left() < MARGIN:
                    self._recover()
        return self._left() - 1.0

    def _left(self) -> float:
        return self._sent + SECONDS - self._clock.boottime()

    def _recover(self) -> None:
        """Go on with a lease whose time ran out, if it is still ours."""
        start = self._clock.boottime()
        while True:
            try:
                if not self._recovered():
                    self.lost = True
                    raise StalePlan(OVER)
            except ApiError as error:
                passing = error.status in (0, 429) or error.status >= 500
                if not passing or self._clock.boottime() - start > GIVE_UP:
                    raise
                self._clock.sleep(RETRY_EVERY)
            else:
                return

    def _recovered(self) -> bool:
        raw = self._urgent.deployment(self.deployment)
        if not self._is_ours(Labels.of(raw).lease):
            return False
        sent = self._write_again(Labels.of(raw))
        self._clock.sleep(SETTLE)
        if not self._is_ours(Labels.of(self._urgent.deployment(self.deployment)).lease):
            return False
        self._sent = sent
        return True

    def _write_again(self, labels: Labels) -> float:
        """Write the lease again beside the labels that were just read; when that was sent."""
        self.holder = renewed(self.holder)
        sent = self._clock.boottime()
        body = {"labels": merged(labels.all, self._changes | lease_change(self.holder))}
        self._urgent.update_deployment(self.deployment, body)
        return sent

    def renew(self, listed: Json | None = None) -> None:
        """Write the lease again; `listed` is the deployment as it was read a moment ago.

        That this fails is no failure of the work: it is tried again, and no write begins without time left.
        """
        if not self._renewing.acquire(blocking=False):
            return  # a renewal is on its way
        try:
            if self.placed and not self.lost:
                self._renew(listed)
        except (ApiError, Interrupted):
            pass
        finally:
            self._renewing.release()

    def _renew(self, listed: Json | None) -> None:
        if self._left() < MARGIN:
            with self._recovering:
                self.lost = self.lost or not self._recovered()
            self._next_renewal = self._sent + RENEW_EVERY
            return
        raw = listed or self._urgent.deployment(self.deployment)
        if raw is None:
            return
        holder = Labels.of(raw).lease
        # While our time has not run out nobody can have taken it: they were slow to see that it was taken, or an edit
        # of the labels dropped it. One that was renewed is of a holder that works.
        if holder is not None and not self._is_ours(holder) and holder.renewals > 0:
            self.lost = True
            return
        self._sent = self._write_again(Labels.of(raw))
        self._next_renewal = self._sent + RENEW_EVERY

    # --- writing labels beside it, and giving it back -----------------------------------------------------------------

    def labels(self, raw: Json, labels: Mapping[str, str]) -> dict[str, str]:
        """The map to send for a deployment that was read as `raw` and is to have `labels`: our lease stays in it.

        Waits for a renewal that is on its way, never the other way round.
        """
        with self._renewing:
            before = Labels.of(raw).all
            changed = {name: labels.get(name) for name in {*before, *labels} if before.get(name) != labels.get(name)}
            self._changes |= {name: text for name, text in changed.items() if name not in lease_change(None)}
            return merged(before, self._changes | lease_change(self.holder))

    def begin(self, sent: float) -> None:
        """The deployment was just created with our lease in it; `sent` is `boottime` before that was asked for."""
        self._sent, self._next_renewal, self.placed = sent, sent + FIRST_LOOK, True

    def end(self) -> None:
        """The deployment is gone, and our lease with it."""
        with self._renewing:
            self.placed = False
            self._changes.clear()

    @contextmanager
    def renaming(self, deployment: str) -> Iterator[None]:
        """Around the write that renames the deployment: the lease goes on under the new name."""
        with self._renewing, self._recovering:
            yield
            self.deployment = deployment

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Around the write after which the lease is no longer on the deployment: no renewal brings it back."""
        with self._renewing:
            yield
            self.placed = False
            self._changes.clear()

    def give_back(self, changes_of: Callable[[Labels], Mapping[str, str | None]] = lambda _labels: {}) -> None:
        """Remove the lease, and make further changes of labels; one that cannot be removed runs out by itself."""
        if not self.placed or self.lost:
            return
        try:
            raw = self._api.deployment(self.deployment)
            labels = Labels.of(raw)
            if self._is_ours(labels.lease):
                with self.ending():
                    body = merged(labels.all, {**changes_of(labels), **lease_change(None)})
                    self.api.update_deployment(self.deployment, {"labels": body})
        except (ApiError, StalePlan) as error:
            self._say(f"the lease of deployment/{self.deployment} could not be given back: {error}")
        except Interrupted:
            pass  # it is free at once on this machine, and within a minute elsewhere
        self.placed = False

    # --- for the thread that renews -----------------------------------------------------------------------------------

    def comes_due(self) -> bool:
        """Whether to renew it now; if so, the next time is not before some seconds have passed."""
        now = self._clock.boottime()
        if not self.placed or self.lost or now < self._next_renewal:
            return False
        self._next_renewal = now + RETRY_EVERY
        return True

    def read_all(self) -> Callable[[Lease], Json | None]:
        """Reads the deployments of the project once; the result tells what it knows of a lease's, while it is fresh."""
        start = self._clock.boottime()
        listed = {raw["name"]: raw for raw in self._urgent.deployments()}
        return lambda lease: listed.get(lease.deployment) if self._clock.boottime() - start < FRESH else None


@contextmanager
def leased(api: Api, deployment: str, clock: StoppableClock, say: Callable[[str], None]) -> Iterator[Lease]:
    """Hold the lease of `deployment`, and write through its `api`: nobody else does meanwhile.

    Waits for whoever holds it, and says so.
    """
    lease = Lease(api, deployment, clock, say)
    lease.take()
    with renewing(lambda: [lease]):
        try:
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
    """One list of a project's deployments for all leases that are due, then a PATCH each, side by side."""
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
