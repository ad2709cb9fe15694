"""The processes that are instances: started, watched, restarted after a crash, ended.

Contract: an instance's document is changed here or in `lifecycle`, each time in a transaction without `await`.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ubiops_emulator.api import lifecycle
from ubiops_emulator.api.rules import records
from ubiops_emulator.clock import Clock
from ubiops_emulator.platform import health, launching
from ubiops_emulator.platform.builder import BuildFaults, Log
from ubiops_emulator.platform.lineage import instance_event, instance_labels, site
from ubiops_emulator.runtime import orphans, sockets
from ubiops_emulator.runtime.process import InstanceProcess, Listener
from ubiops_emulator.settings import Settings
from ubiops_emulator.store import Doc, Store

LOG = logging.getLogger("emulator.fleet")
CRASH_PAUSE = 10.0
LONGEST_PAUSE = 300.0
LEAST_PAUSE = 0.2
# After this time of running a crash counts as the first again.
STEADY = 600.0
HALT_GRACE = 5.0


@dataclass(slots=True, kw_only=True)
class Fleet:
    """All instance processes of a store. `changed` is told the version whose instances changed."""

    store: Store
    clock: Clock
    settings: Settings
    log: Log
    changed: Callable[[str], None]
    spawn: Callable[[Any], None]
    faults: BuildFaults
    processes: dict[str, InstanceProcess] = field(default_factory=dict)
    ports: health.Ports = field(init=False)
    _crashes: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    _starts: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.ports = health.Ports(self.store)

    def end_orphans(self) -> None:
        """End the processes that an earlier emulator left behind."""
        ended = orphans.end(launching.mark(self.store))
        if ended:
            LOG.warning("ended %d processes that an earlier emulator left behind", ended)

    def recover(self) -> None:
        """No instance lives on whose process has ended."""
        shutil.rmtree(self.store.folder / "instances", ignore_errors=True)
        for doc in self.store.every("instance"):
            lifecycle.remove_instance(self.store, doc, self.clock.now())

    async def start(self, ident: str) -> None:
        """Unpack an instance's package and start its process."""
        doc = self.store.by_id("instance", ident)
        if doc is None or doc.body["status"] != "initialising":
            return
        where = site(self.store, doc)
        launch = await launching.launch(self.store, self.settings, doc, where, next(self._starts))
        if launch is None:
            # In the process runtime an instance without a process serves nobody.
            self._update(ident, {"_healthy": False, "_pid": None})
            self._ready(ident)
            return
        listener = Listener(
            lines=lambda level, lines: self.log(
                where.project, lines, instance_labels(self.store, where, ident) | {"system": False}, level
            ),
            ready=lambda: self._ready(ident),
            ended=lambda code: self._ended(ident, code),
        )
        process = InstanceProcess(launch, listener)
        self.processes[ident] = process
        await process.start()
        doc = self._update(ident, {"_pid": process.pid, "_process_port": launch.port, "_mark": launch.mark})
        if doc is None or doc.body["status"] == "stopping":
            await self.stop(ident)
            return
        self.spawn(self._watch(ident, process))

    async def stop(self, ident: str) -> None:
        """End an instance's process, and the instance with it."""
        process = self.processes.get(ident)
        if process is not None:
            await process.stop()
        self._gone(ident)

    async def halt(self) -> None:
        """End every process soon, also one that was just being started."""
        await asyncio.gather(*(process.stop(HALT_GRACE) for process in list(self.processes.values())))
        self.processes.clear()
        await asyncio.to_thread(orphans.end, launching.mark(self.store))

    async def _watch(self, ident: str, process: InstanceProcess) -> None:
        await health.watch(
            self.store,
            self.ports,
            ident,
            alive=lambda: self.processes.get(ident) is process,
            tell=lambda good: self._set_health(ident, good),
            sick=lambda: self.faults.unhealthy,
        )

    def check_books(self, version_id: str) -> None:
        """Without processes (`--runtime none`) whoever runs is healthy, unless a fault has it that nobody is."""
        version = self.store.by_id("version", version_id)
        good = version is None or version.body["health_check"] is None or not self.faults.unhealthy
        for doc in self.store.children("instance", version_id):
            if doc.body["status"] == "running":
                self._set_health(doc.id, good)

    def _set_health(self, ident: str, good: bool) -> None:
        doc = self.store.by_id("instance", ident)
        if doc is None or doc.body["_healthy"] == good:
            return
        with self.store.transaction():
            doc.body["_healthy"] = good
            self.store.save(doc)
            text = "Instance is healthy" if good else "Health check failed: no traffic is routed to the instance"
            records.instance_event(self.store, doc, text, self.clock.now())
        self.changed(doc.parent)

    def _update(self, ident: str, changes: dict[str, Any]) -> Doc | None:
        doc = self.store.by_id("instance", ident)
        if doc is not None:
            doc.body |= changes
            with self.store.transaction():
                self.store.save(doc)
        return doc

    def _ready(self, ident: str) -> None:
        doc = self.store.by_id("instance", ident)
        if doc is None or doc.body["status"] != "initialising":
            return
        with self.store.transaction():
            lifecycle.enter(self.store, doc, "running", self.clock.now())
            doc.due = None
            self.store.save(doc)
        self.changed(doc.parent)

    def _ended(self, ident: str, code: int) -> None:
        process = self.processes.pop(ident, None)
        self.ports.forget(ident)
        if process is not None:
            sockets.release(process.launch.port)
        doc = self.store.by_id("instance", ident)
        if doc is None or process is None or process.stopping or doc.body["status"] == "stopping":
            self._gone(ident)
        else:
            self._crashed(doc, code)

    def _crashed(self, doc: Doc, code: int) -> None:
        now = self.clock.now()
        steady = doc.body["status"] == "running" and now - doc.body["_used"] > STEADY
        self._crashes[doc.id] = 1 if steady else self._crashes[doc.id] + 1
        pause = min(LONGEST_PAUSE, CRASH_PAUSE * 2 ** (self._crashes[doc.id] - 1)) / self.settings.speed
        text = f"Process ended with code {code}; it is started again in {max(pause, LEAST_PAUSE):.1f} s"
        where = site(self.store, doc)
        with self.store.transaction():
            records.instance_event(self.store, doc, text, now)
            records.event(self.store, where.project, instance_event(where, doc.id, text, now, "crashed"))
            doc.body |= {"_healthy": where.version.body["health_check"] is None, "_busy": False}
            lifecycle.enter(self.store, doc, "initialising", now)
            doc.due = None
            self.store.save(doc)
        self.log(where.project, [text], instance_labels(self.store, where, doc.id), "error")
        self.changed(doc.parent)
        self.spawn(self._restart(doc.id, max(pause, LEAST_PAUSE)))

    async def _restart(self, ident: str, pause: float) -> None:
        await asyncio.sleep(pause)
        await self.start(ident)

    def _gone(self, ident: str) -> None:
        self._crashes.pop(ident, None)
        shutil.rmtree(self.store.folder / "instances" / ident, ignore_errors=True)
        doc = self.store.by_id("instance", ident)
        if doc is not None:
            with self.store.transaction():
                lifecycle.remove_instance(self.store, doc, self.clock.now())
            self.changed(doc.parent)
