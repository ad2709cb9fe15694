"""The lease of a stack: who may write to it. A label on its deployment that shows the holder to all others.

Two commands that write never work on one stack at once. A lease lasts 60 s and is renewed while its holder works.

- Taken: when there is none, when its process is known to have ended, or when it was seen unchanged for 60 s by the
  clock of whoever waits. No other clock is believed. UbiOps has no compare-and-swap: whoever takes a lease waits for
  as long as a rival's write may take, and reads it back.
- Kept: `Lease.api` asks `fence` before every write. Its clock counts sleep (CLOCK_BOOTTIME) and starts when the last
  renewal was sent, so that a process that was stopped, suspended or cut off notices. It then reads first: with its own
  nonce there it renews, reads back and goes on; with another's, or none, it writes nothing more.
- Renewed by a thread (`renewals`) that waits for no other request, slot or lock. A renewal reads the labels and writes
  them back with the holder's own changes over them, so that neither overwrites the other.
- Written, with every other label of the deployment, in single tries: each reads the labels right before it writes them,
  and none begins without the fence. What a rate limit, a 5xx or a time-out holds up is read again before it is sent
  again, and renewals go on in between.
- Of every deployment that a plan changes or deletes. Without a deployment there is none: what is made then, UbiOps does
  not make twice; what is adopted is read right before each try; what is left to delete is a tag or an environment that
  stacks share, which no lease keeps from others: who uses it is asked right before.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from whisperctl.apply.first_read import FRESH, FirstRead
from whisperctl.apply.holder import GONE, OVER, SECONDS, NotFree, Sightings, Taken, holder_in_words, is_at_work
from whisperctl.apply.lease_label import LeaseLabel
from whisperctl.apply.taking import FIRST_LOOK, SETTLE, Taking
from whisperctl.clock import StoppableClock
from whisperctl.control.api import Api, Json
from whisperctl.errors import ApiError, Interrupted, StalePlan
from whisperctl.state.label_text import merged
from whisperctl.state.labels import Labels, lease_change

MARGIN = 10.0
"""Seconds that it must have left for a write to begin."""
RENEW_EVERY = 25.0
"""Seconds between renewals: one may be lost before the margin is reached."""
RETRY_EVERY = 3.0
"""Seconds after which a renewal that failed is tried again."""
LOOK_EVERY = 2.0
"""Seconds between looks at a lease that somebody else holds."""
GIVE_UP = 3600.0
"""Seconds for which a holder whose time ran out asks UbiOps who holds the lease now."""


class Lease:
    """The lease of one deployment, as this process takes, keeps and gives it back. Safe to use from several threads."""

    def __init__(self, api: Api, deployment: str, clock: StoppableClock, say: Callable[[str], None]) -> None:
        self.label = LeaseLabel(api, deployment, clock)
        self.api = api.fenced(self.fence)
        """The control plane through which the holder writes."""
        self.project = (api.host, api.project)
        self.placed = False
        """Whether it is written on the deployment."""
        self.lost = ""
        """Why it is not ours any more, in words; empty while it is."""
        self.also: Sequence[Lease] = ()
        """Leases of further deployments without which nothing may be written either."""
        self._urgent = api.urgent()
        self._fenced = self.api.urgent()
        self._api = api
        self._clock = clock
        self._say = say
        self._sent = -math.inf
        self._next_renewal = self._first_look = 0.0
        self._may_be_removed = self._may_be_deleted = False
        self._renewing = threading.Lock()
        self._recovering = threading.RLock()

    @property
    def deployment(self) -> str:
        """The deployment's name."""
        return self.label.deployment

    @deployment.setter
    def deployment(self, name: str) -> None:
        self.label.deployment = name

    # --- taking it ----------------------------------------------------------------------------------------------------

    def take(self) -> Taken:
        """Wait until the lease is free, and write ours; it is given back if that ends early.

        Raises:
            ApiError: UbiOps cannot be asked.
        """
        waited = announced = False
        others = Sightings()
        while True:
            start = self._clock.boottime()
            raw = self._api.deployment(self.deployment)
            if raw is None:
                return Taken(waited=waited, slow=False, before=None, now=None)
            other = Labels.of(raw).lease
            if other is not None and not others.may_be_taken(other, start):
                if not announced:
                    self._say(f"waiting for another apply of deployment/{self.deployment} ({holder_in_words(other)})")
                waited = announced = True
                self._clock.sleep(LOOK_EVERY)
                continue
            taking = self._new_taking()
            try:
                taken = taking.take(raw, start)
            except NotFree:
                waited = True
                continue
            except BaseException:
                self._give_up(taking.sent)
                raise
            self._is_ours_since(taking.sent)
            self.placed = True
            return replace(taken, waited=waited)

    def _new_taking(self) -> Taking:
        self.label.new_holder()
        self._may_be_removed = self._may_be_deleted = False
        return Taking(self.label, self._api, self._clock)

    def _give_up(self, sent: float) -> None:
        """Give back what was written, or may have been, by a `take` that ends early, and nobody else's."""
        self._is_ours_since(sent)
        if self._left() < MARGIN:
            return  # nothing was written, or it runs out soon
        self.placed = self._may_be_removed = True
        self.give_back()

    def _is_ours_since(self, sent: float) -> None:
        self._sent = sent
        self._next_renewal = self._first_look = sent + FIRST_LOOK

    # --- keeping it ---------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Between the polls of a wait.

        Raises:
            StalePlan: the lease is known to be lost: what is waited for may never come.
        """
        for lease in (self, *self.also):
            if lease.lost:
                raise StalePlan(lease.lost)

    def fence(self) -> float:
        """Seconds that a write which begins now may take.

        Raises:
            StalePlan: the lease is lost.
            ApiError: the time has run out, and UbiOps does not tell who has it now.
        """
        self.check()
        leases = (self, *self.also)
        while late := [lease for lease in leases if lease.placed and lease._left() < MARGIN]:
            late[0]._recover()  # which may take longer than the others have left
            self.check()
        return min((lease._left() - 1.0 for lease in leases if lease.placed), default=math.inf)

    def _left(self) -> float:
        return self._sent + SECONDS - self._clock.boottime()

    def _recover(self) -> None:
        """Go on with a lease whose time ran out, if it is still ours."""
        start = self._clock.boottime()
        with self._recovering:
            while self.placed and self._left() < MARGIN:
                try:
                    self._recover_once()
                    self.check()
                except ApiError as error:
                    passing = error.status in (0, 429) or error.status >= 500
                    if not passing or self._clock.boottime() - start > GIVE_UP:
                        raise
                    self._clock.sleep(RETRY_EVERY)

    def _recover_once(self) -> None:
        """Renew it if it is there; if not, either we have removed it, and it is not placed any more, or it is lost."""
        raw = self.label.read()
        if self.label.is_on(raw):
            sent = self.label.write_again(raw)
            self._clock.sleep(SETTLE)
            raw = self.label.read()
            if self.label.is_on(raw):
                self._is_ours_since(sent)
                return
        holder = Labels.of(raw).lease
        if holder is None and (self._may_be_removed or (self._may_be_deleted and raw is None)):
            self.placed = False
        else:
            self.lost = OVER if holder else GONE

    def renew(self, listed: Json | None = None) -> None:
        """Write the lease again; `listed` is the deployment as it was read a moment ago.

        That this fails is no failure of the work: it is tried again, and no write begins without time left.
        """
        if not self._renewing.acquire(blocking=False):
            return  # a renewal is on its way
        try:
            if self.placed and not self.lost:
                self._renew(listed)
        except ApiError as error:
            if error.status == 429:  # and the next window may begin right before the lease runs out
                again = self._clock.boottime() + max(error.reset, 1.0)
                self._next_renewal = min(self._next_renewal, again)
        except Interrupted:
            pass
        finally:
            self._renewing.release()

    def _renew(self, listed: Json | None) -> None:
        if self._left() < MARGIN:
            with self._recovering:
                if self.placed and not self.lost:
                    self._recover_once()
            return
        raw = listed or self.label.read()
        if raw is None or (self._may_be_removed and not self.label.is_on(raw)):
            return
        if is_at_work(Labels.of(raw).lease, self.label.holder):
            self.lost = OVER
            return
        self._sent = self.label.write_again(raw)
        # One that was due before it was taken or come back to is no look at it.
        self._next_renewal = self._sent + RENEW_EVERY if self._sent >= self._first_look else self._first_look

    # --- writing labels beside it, and giving it back -----------------------------------------------------------------

    def update(self, raw: Json, body: Json) -> Json:
        """Change the deployment, read as `raw` a moment ago, as `body` says: of its labels those that differ there.

        Returns it as it is then.

        Raises:
            ApiError, StalePlan: it could not be written, or may not be any more.
        """
        first = FirstRead(raw, self._clock.boottime(), self._clock)
        before, labels = Labels.of(raw).all, body["labels"]
        changed = {name: labels.get(name) for name in {*before, *labels} if before.get(name) != labels.get(name)}
        with self._renewing:
            earlier = dict(self.label.changes)
            self.label.changes |= {name: text for name, text in changed.items() if name not in lease_change(None)}

        def attempt() -> Json:
            with self._one_try():
                now = first.take() or self.label.read()
                return self._fenced.update_deployment(self.deployment, {**body, "labels": self.label.over(now)})

        try:
            return self._api.retried(attempt)
        except ApiError as error:
            if 400 <= error.status < 500 and error.status != 429:  # refused for good, and so would each renewal be
                with self._renewing:
                    self.label.changes = earlier
            raise

    @contextmanager
    def _one_try(self) -> Iterator[None]:
        """Around one try of a write, from the fence to its answer; renewals come in between two tries."""
        self.fence()
        with self._renewing:
            yield

    def begin(self, sent: float) -> None:
        """The deployment was just created with our lease in it; `sent` is `boottime` before that was asked for."""
        self._is_ours_since(sent)
        self.placed, self._may_be_removed, self._may_be_deleted = True, False, False

    def another(self, deployment: str) -> Lease:
        """The lease of another deployment of the same project, not taken yet."""
        return Lease(self._api, deployment, self._clock, self._say)

    def expect_end(self) -> None:
        """We are about to delete the deployment: once it is gone, so is our lease, though no answer may tell."""
        self._may_be_deleted = True

    def end(self) -> None:
        """The deployment is gone, and our lease with it."""
        with self._renewing:
            self.placed = False
            self.label.changes.clear()

    def rename(self, raw: Json, name: str) -> None:
        """Give the deployment, read as `raw`, a new name: the lease goes on under that.

        Raises:
            ApiError, StalePlan: as with `update`.
        """

        def attempt() -> None:
            with self._one_try(), self._recovering:
                try:
                    self._fenced.update_deployment(self.deployment, {"name": name})
                except ApiError:
                    # Its answer, or that of an earlier try, may have been lost.
                    after = self._urgent.deployment(name)
                    if after is None or after["id"] != raw["id"]:
                        raise
                self.deployment = name

        self._api.retried(attempt)

    def remove(self, changes_of: Callable[[Json], Mapping[str, str | None]]) -> Json | None:
        """Remove the lease and change other labels, as `changes_of` the deployment right before each try tells.

        Returns the deployment as it is then; None if there is none.

        Raises:
            ApiError, StalePlan: as with `update`.
        """

        def attempt() -> Json | None:
            with self._one_try():
                raw = self._removed(changes_of)
                self.placed = False
                self.label.changes.clear()
                return raw

        return self._api.retried(attempt)

    def _removed(self, changes_of: Callable[[Json], Mapping[str, str | None]]) -> Json | None:
        raw = self.label.read()
        if raw is None or (self._may_be_removed and not self.label.is_on(raw)):
            return raw  # an earlier try has arrived, though not its answer
        if is_at_work(Labels.of(raw).lease, self.label.holder):
            self.lost = OVER
            raise StalePlan(OVER)
        labels = merged(Labels.of(raw).all, {**changes_of(raw), **lease_change(None)})
        try:
            return self._fenced.update_deployment(self.deployment, {"labels": labels})
        except ApiError as error:
            self._may_be_removed = self._may_be_removed or error.status != 429
            raise

    def give_back(self, changes_of: Callable[[Json], Mapping[str, str | None]] = lambda _raw: {}) -> None:
        """Remove the lease, and make further changes of labels; one that cannot be removed runs out by itself."""
        if not self.placed or self.lost:
            return
        try:
            self.remove(changes_of)
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
