"""The platform behind the API: lets time pass over the documents, and performs what that sets off.

Contract: one asyncio task looks at what is due; builds and instances are tasks of their own. Documents are only changed
inside store transactions that hold no `await`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ubiops_emulator.api import lifecycle, scheduling
from ubiops_emulator.api.call import Signal
from ubiops_emulator.api.lifecycle import Effect, Pace
from ubiops_emulator.api.rules import records
from ubiops_emulator.clock import Clock
from ubiops_emulator.platform import lineage
from ubiops_emulator.platform.builder import Builder, BuildFaults
from ubiops_emulator.platform.dispatch import Dispatch
from ubiops_emulator.platform.fleet import Fleet
from ubiops_emulator.settings import Settings
from ubiops_emulator.store import LogLine, Store
from ubiops_emulator.switches import Switches

LOG = logging.getLogger("emulator.platform")
LONGEST_PAUSE = 3600.0
LEAST_PAUSE = 0.001


class Platform:
    """Time, builds, instances and requests of one store."""

    def __init__(self, store: Store, clock: Clock, settings: Settings) -> None:
        self.store = store
        self.clock = clock
        self.settings = settings
        self.switches = Switches()
        self.pace = Pace(speed=settings.speed, processes=settings.runtime == "process", capacity=settings.capacity)
        self.faults = BuildFaults()
        self.builder = Builder(store=store, settings=settings, log=self.log, faults=self.faults)
        self.fleet = Fleet(
            store=store,
            clock=clock,
            settings=settings,
            log=self.log,
            changed=self.changed,
            spawn=self.spawn,
            faults=self.faults,
        )
        self.dispatch = Dispatch(
            store=store,
            clock=clock,
            processes=self.fleet.processes,
            books_only=not self.pace.processes,
            changed=self.changed,
            spawn=self.spawn,
        )
        self._halted = False
        self._dirty: set[str] = set()
        self._needed: set[str] = set()
        self._served: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def recover(self) -> None:
        """After a start, or another state: no instance lives on, builds go on where they stood."""
        for path in (self.store.folder / "files").glob("incoming-*"):
            # An upload that the end of an earlier emulator cut off: nobody was told that it had arrived.
            path.unlink()
        self._halted = False
        with self.store.transaction():
            self.fleet.recover()
            self.dispatch.recover()
        for kind in ("tag", "revision"):
            for doc in self.store.every(kind):
                if doc.body["status"] == "building" and "_result" not in doc.body:
                    self._perform(Effect(f"build_{kind}", doc.id))
        self._dirty.update(doc.id for doc in self.store.every("version"))

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._wake.clear()
            try:
                self.step()
            except Exception:
                LOG.exception("the platform stumbled")
            due = self.store.next_due()
            pause = LONGEST_PAUSE if due is None else due - self.clock.now()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), min(max(pause, LEAST_PAUSE), LONGEST_PAUSE))

    def step(self) -> None:
        """Everything that is due now."""
        if self._halted:
            return
        now = self.clock.now()
        with self.store.transaction():
            effects = lifecycle.advance(self.store, now, self.pace, self._served)
            self._dirty.update(effect.id for effect in effects if effect.kind == "touch")
            dirty, self._dirty = self._dirty, set()
            for ident in dirty:
                effects += self._scaled(ident, now)
        for effect in effects:
            self._perform(effect)
        self._check_books(dirty)
        for ident in dirty | self.dispatch.versions():
            self.dispatch.run(ident)

    def signalled(self, signals: set[Signal]) -> None:
        """A call has been performed that concerns these."""
        for signal in signals:
            match signal.kind:
                case "request":
                    self.dispatch.add(signal.parent, signal.id)
                case "cancel":
                    self.dispatch.settled(signal.id)
                case "stop":
                    self._perform(Effect("stop", signal.id))
                case "version":
                    self._dirty.add(signal.id)
        self._wake.set()

    def changed(self, version_id: str) -> None:
        """Instances or load of a version changed."""
        self._dirty.add(version_id)
        self._wake.set()

    def needed(self, version_id: str) -> None:
        """Service traffic wants an instance (only asked where a switch lets traffic wake one)."""
        self._needed.add(version_id)
        self.changed(version_id)

    def served(self, instance_id: str) -> None:
        """Service traffic keeps an instance awake (only told where a switch lets it)."""
        self._served[instance_id] = self.clock.now()

    def faults_changed(self) -> None:
        """Where processes are asked, their next health check tells; the books are corrected at once."""
        self._check_books({doc.id for doc in self.store.every("version")})

    def set_capacity(self, capacity: Mapping[str, int]) -> None:
        """Room for so many instances of each named type from now on; who is there already stays."""
        self.pace = replace(self.pace, capacity=capacity)
        with self.store.transaction():
            scheduling.room_changed(self.store)
        self.wake()

    def wake(self) -> None:
        """The clock has leapt, or the state was replaced."""
        self._wake.set()

    def log(self, project: str, lines: list[str], labels: dict[str, Any], level: str) -> None:
        """Lines of output; each gets a nanosecond of its own, so that their order holds."""
        now = int(self.clock.now() * 1e9)
        tagged = {"system": True} | labels | {"level": level}
        with self.store.transaction():
            self.store.log(project, [LogLine(now + i, line, tagged) for i, line in enumerate(lines)])

    async def halt(self) -> None:
        """End every build and instance; nothing moves until `recover`."""
        self._halted = True
        self.dispatch.release()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.fleet.halt()
        # Whoever came while instances were being stopped waits in vain, too.
        self.dispatch.release()
        self._served.clear()

    def spawn(self, job: Any) -> None:
        """Run a coroutine beside everything else."""
        task = asyncio.ensure_future(job)
        self._tasks.add(task)
        task.add_done_callback(self._reap)

    def _check_books(self, version_ids: set[str]) -> None:
        if not self.pace.processes:
            for ident in version_ids:
                self.fleet.check_books(ident)

    def _scaled(self, ident: str, now: float) -> list[Effect]:
        busy = self.dispatch.busy & {doc.id for doc in self.store.children("instance", ident)}
        waiting = self.dispatch.waiting(ident) + (ident in self._needed)
        self._needed.discard(ident)
        return lifecycle.scale(self.store, ident, waiting, busy, now)

    def _perform(self, effect: Effect) -> None:
        match effect.kind:
            case "build_tag" | "build_revision":
                self.spawn(self._build(effect.kind.removeprefix("build_"), effect.id))
            case "expire":
                self.dispatch.expire(effect.id)
            case "unscheduled":
                self._unscheduled(effect.id)
            case "start" if self.pace.processes:
                self.spawn(self.fleet.start(effect.id))
            case "stop" if self.pace.processes:
                self.spawn(self.fleet.stop(effect.id))

    def _unscheduled(self, ident: str) -> None:
        """No instance type of its group had room for an instance: it disappears."""
        doc = self.store.by_id("instance", ident)
        if doc is None:
            return
        where, now = lineage.site(self.store, doc), self.clock.now()
        text = f"Instance could not be scheduled: no capacity for instance type {scheduling.tried(self.store, doc)}"
        self.log(where.project, [text], lineage.instance_labels(self.store, where, ident), "error")
        with self.store.transaction():
            records.event(self.store, where.project, lineage.instance_event(where, doc.id, text, now, "unscheduled"))
            lifecycle.stop(self.store, doc, now)
        self.changed(doc.parent)

    async def _build(self, kind: str, ident: str) -> None:
        verdict = await self.builder.build(kind, ident)
        if verdict is None:
            return
        with self.store.transaction():
            lifecycle.built(self.store, kind, ident, verdict.error, verdict.facts, self.clock.now())
        self._wake.set()

    def _reap(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception():
            LOG.error("a task of the platform failed", exc_info=task.exception())
