"""Taking a lease that is free: it is written, and read back for as long as a rival's write may still arrive.

UbiOps has no compare-and-swap. Whoever needed longer than `QUICK` from seeing the lease free until having written it
may have written over a holder: it looks as long as that one needs to write its own again, and its plan is made anew,
since its map of labels may have arrived over somebody's who came and went.
"""

from __future__ import annotations

import math

from whisperctl.apply.first_read import FirstRead
from whisperctl.apply.holder import NotFree, Taken
from whisperctl.apply.lease_label import LeaseLabel
from whisperctl.clock import StoppableClock
from whisperctl.control.api import Api, Json
from whisperctl.errors import ApiError
from whisperctl.state.labels import Labels

FIRST_LOOK = 2.0
"""Seconds after taking it, or coming back to it, until a lease is looked at again, for whoever had seen it free."""
SETTLE = 0.5
"""Seconds before a lease that was written is read back, for another process that wrote at the same moment."""
QUICK = 0.4
"""Seconds from seeing a lease free until having written ours; whoever took longer may have written over a holder."""
SLOW_LOOKS, VERY_SLOW_LOOKS = 3, 15
"""Looks of whoever took longer (than `FIRST_LOOK`), as many seconds apart: a holder renews its own in between."""


class Taking:
    """One attempt to take the lease of a deployment."""

    def __init__(self, label: LeaseLabel, api: Api, clock: StoppableClock) -> None:
        self.sent = -math.inf
        """The clock's `boottime` before the last write that has arrived, or may have; minus infinity without one."""
        self._label, self._api, self._clock = label, api, clock
        self._doubtful = math.inf  # when the first try began that may arrive, or have arrived, at any moment

    def take(self, raw: Json, start: float) -> Taken:
        """Write the lease over one that is free in `raw`, read when the clock's `boottime` was `start`.

        Raises:
            NotFree: somebody else was quicker.
            ApiError: UbiOps cannot be asked.
        """
        before, began = self._written(raw, start)
        took = self._clock.boottime() - began
        self._clock.sleep(SETTLE)
        now = self._read_back()
        if took <= QUICK:
            return Taken(waited=False, slow=False, before=before, now=now)
        # Somebody may have taken and read back theirs before ours arrived: they see it, and write theirs again.
        for _ in range(SLOW_LOOKS if took < FIRST_LOOK else VERY_SLOW_LOOKS):
            self._clock.sleep(FIRST_LOOK)
            self._read_back()
        self._api.retried(self._show_that_it_works)
        now = self._read_back()
        return Taken(waited=False, slow=True, before=before, now=now)

    def _written(self, raw: Json, start: float) -> tuple[Json, float]:
        """The deployment right before the lease was written, and when the first try began that may have done it."""
        free, first = Labels.of(raw).lease, FirstRead(raw, start, self._clock, QUICK / 2)

        def attempt() -> tuple[Json, float]:
            began, before = start, first.take()
            if before is None:
                began, before = self._clock.boottime(), self._label.read()
            holder = Labels.of(before).lease
            if before is None or (holder is not None and holder != free and not self._label.is_on(before)):
                raise NotFree
            try:
                self.sent = self._label.write(before)
            except ApiError as error:
                if error.status != 429:  # which had no effect
                    self._doubtful, self.sent = min(self._doubtful, began), began
                raise
            return before, min(self._doubtful, began)

        return self._api.retried(attempt)

    def _show_that_it_works(self) -> None:
        """Write our lease as one that was renewed: whoever else wrote theirs sees that this one is at work."""
        raw = self._label.read()
        if not self._label.is_on(raw):
            raise NotFree
        self.sent = self._label.write_again(raw)

    def _read_back(self) -> Json:
        """The deployment with our lease on it."""
        raw = self._api.deployment(self._label.deployment)
        if raw is None or not self._label.is_on(raw):
            raise NotFree
        return raw
