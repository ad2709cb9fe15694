"""The platform behind the API: lets time pass over the documents, and performs what that sets off.

Contract: one asyncio task looks at what is due; builds and instances are tasks of their own. Documents are only changed
inside store transactions that hold no `await`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections import defaultdict, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whisperctl.emulator import lifecycle, work
from whisperctl.emulator.clock import Clock, stamp
from whisperctl.emulator.lifecycle import Effect, Pace
from whisperctl.emulator.rules import records
from whisperctl.emulator.runtime import orphans, sockets
from whisperctl.emulator.runtime.process import InstanceProcess, Listener
from whisperctl.emulator.store import Doc, LogLine, Store
from whisperctl.emulator.switches import Switches

LOG = logging.getLogger("emulator.platform")
CRASH_PAUSE = 10.0
LONGEST_PAUSE = 300.0
FAST_PAUSE = 0.2
STOP_GRACE = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the platform runs things."""

    speed: float = 1.0
    runtime: str = "process"
    builds: str = "check"
    python: str = ""


class Platform:
    """Time, builds, instances and requests of one store."""

    def __init__(self, store: Store, clock: Clock, settings: Settings) -> None:
        self.store = store
        self.clock = clock
        self.settings = settings
        self.switches = Switches()
        self.pace = Pace(speed=settings.speed, processes=settings.runtime == "process")
        self.processes: dict[str, InstanceProcess] = {}
        self.busy: set[str] = set()
        self.faults: work.BuildFaults = work.BuildFaults()
        self._queues: defaultdict[str, deque[str]] = defaultdict(deque)
        self._waiters: dict[str, asyncio.Future[None]] = {}
        self._dirty: set[str] = set()
        self._wanted: set[str] = set()
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._crashes: defaultdict[str, int] = defaultdict(int)

    @property
    def mark(self) -> str:
        """What processes of this data folder carry in their environment."""
        return str(self.store.folder.resolve())

    def recover(self) -> None:
        """After a start: end orphans, forget their instances, take up builds where they stood."""
        ended = orphans.end(f"{self.mark}#")
        if ended:
            LOG.warning("ended %d processes that an earlier emulator left behind", ended)
        shutil.rmtree(self.store.folder / "instances", ignore_errors=True)
        with self.store.transaction():
            for doc in self.store.every("instance"):
                lifecycle.remove_instance(self.store, doc)
            for doc in self.store.every("request"):
                self._recover_request(doc)
            for kind in ("tag", "revision"):
                for doc in self.store.every(kind):
                    if doc.body["status"] == "building" and "_result" not in doc.body:
                        self._perform(Effect(f"build_{kind}", doc.id))
        self._dirty.update(doc.id for doc in self.store.every("version"))

    def _recover_request(self, doc: Doc) -> None:
        if doc.body["status"] not in {"pending", "processing"}:
            return
        if doc.body["_kind"] == "batch":
            doc.body["status"] = "pending"
            self._queues[doc.parent].append(doc.id)
        else:
            doc.body |= {"status": "failed", "error_message": "The request was interrupted"}
        self.store.save(doc)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._wake.clear()
            try:
                self.step()
            except Exception:
                LOG.exception("the platform stumbled")
            due = self.store.next_due()
            pause = 3600.0 if due is None else max(0.0, due - self.clock.now())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), min(pause, 3600.0) or 0.001)

    def step(self) -> None:
        """Everything that is due now."""
        now = self.clock.now()
        with self.store.transaction():
            effects = lifecycle.advance(self.store, now, self.pace)
            effects += lifecycle.advance(self.store, now, self.pace) if effects else []
            self._dirty.update(effect.id for effect in effects if effect.kind == "touch")
            dirty, self._dirty = self._dirty, set()
            for ident in dirty:
                effects += self._scale(ident, now)
        for effect in effects:
            if effect.kind != "touch":
                self._perform(effect)
        for ident in dirty | {key for key, queue in self._queues.items() if queue}:
            self._dispatch(ident)

    def _scale(self, ident: str, now: float) -> list[Effect]:
        busy = self.busy & {doc.id for doc in self.store.children("instance", ident)}
        waiting = len(self._queues[ident]) + (ident in self._wanted)
        self._wanted.discard(ident)
        return lifecycle.scale(self.store, ident, waiting, busy, now)

    def touch(self, touched: set[str]) -> None:
        """A call has changed these: version ids, or `request:VERSION:ID`, `stop:ID`, `cancel:ID`."""
        for item in touched:
            match item.split(":"):
                case ["request", version, ident]:
                    self._queues[version].append(ident)
                    self._dirty.add(version)
                case ["stop", ident]:
                    self._perform(Effect("stop", ident))
                case ["cancel", ident]:
                    self._done(ident)
                case ["services"]:
                    pass
                case _:
                    self._dirty.add(item)
        self._wake.set()

    def wanted(self, version_id: str) -> None:
        """Service traffic wants an instance (only asked where a switch lets traffic wake one)."""
        self._wanted.add(version_id)
        self._dirty.add(version_id)
        self._wake.set()

    def wake(self) -> None:
        self._wake.set()

    async def outcome(self, ident: str, limit: float) -> None:
        """Wait until a request is done, or fail it when its time is over."""
        doc = self.store.by_id("request", ident)
        if doc is None or doc.body["status"] not in {"pending", "processing"}:
            return
        future = self._waiters.setdefault(ident, asyncio.get_running_loop().create_future())
        try:
            await asyncio.wait_for(asyncio.shield(future), limit)
        except TimeoutError:
            self._finish_request(ident, None, f"The request timed out after {limit:g} seconds")
        finally:
            self._waiters.pop(ident, None)

    def log(self, project: str, lines: list[str], labels: dict[str, Any], *, level: str, system: bool) -> None:
        """Lines of output; each gets a time of its own, so that their order holds."""
        now = int(self.clock.now() * 1e9)
        tagged = labels | {"level": level, "system": system}
        with self.store.transaction():
            self.store.log(project, [LogLine(now + i, line, tagged) for i, line in enumerate(lines)])

    async def halt(self) -> None:
        """End every build and instance, at once: the books are about to change."""
        processes = list(self.processes.values())
        await asyncio.gather(*(process.stop(grace=STOP_GRACE) for process in processes))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._queues.clear()
        self.busy.clear()

    def _perform(self, effect: Effect) -> None:
        match effect.kind:
            case "build_tag" | "build_revision":
                self._spawn(self._build(effect))
            case "start" if self.pace.processes:
                self._spawn(self._start(effect.id))
            case "stop" if effect.id in self.processes:
                self._spawn(self._stop(effect.id))
            case "stop" if self.pace.processes:
                self._gone(effect.id)

    def _spawn(self, job: Any) -> None:
        task = asyncio.ensure_future(job)
        self._tasks.add(task)
        task.add_done_callback(self._reap)

    def _reap(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception():
            LOG.error("a task of the platform failed", exc_info=task.exception())

    async def _build(self, effect: Effect) -> None:
        kind = effect.kind.removeprefix("build_")
        verdict = await work.build(self, kind, effect.id)
        if verdict is None:
            return
        with self.store.transaction():
            lifecycle.built(self.store, kind, effect.id, verdict.error, verdict.facts, self.clock.now())
        self._wake.set()

    async def _start(self, ident: str) -> None:
        doc = self.store.by_id("instance", ident)
        if doc is None or doc.body["status"] != "initialising":
            return
        site = work.site(self.store, doc)
        listener = Listener(
            lines=lambda level, lines: self.log(
                site.project, lines, work.instance_labels(self.store, site, ident), level=level, system=False
            ),
            ready=lambda: self._ready(ident),
            ended=lambda code: self._ended(ident, code),
        )
        launch = await work.launch(self, doc, site)
        if launch is None:
            # An app's image, or an empty revision: there is nothing here that could run it.
            self._ready(ident)
            return
        process = InstanceProcess(launch, listener)
        self.processes[ident] = process
        await process.start()
        latest = self.store.by_id("instance", ident)
        if latest is None or latest.body["status"] == "stopping":
            await self._stop(ident)
            return
        latest.body |= {"_pid": process.pid, "_process_port": launch.port}
        with self.store.transaction():
            self.store.save(latest)
        if work.health_check(self.store, doc):
            self._spawn(work.watch_health(self, ident))

    def _ready(self, ident: str) -> None:
        doc = self.store.by_id("instance", ident)
        if doc is None or doc.body["status"] != "initialising":
            return
        with self.store.transaction():
            lifecycle.enter(self.store, doc, "running", self.clock.now())
            doc.due = None
            self.store.save(doc)
        self._dirty.add(doc.parent)
        self._wake.set()

    def _ended(self, ident: str, code: int) -> None:
        process = self.processes.pop(ident, None)
        self.busy.discard(ident)
        if process is not None:
            sockets.release(process.launch.port)
        doc = self.store.by_id("instance", ident)
        if doc is None or process is None or process.stopping or doc.body["status"] == "stopping":
            self._gone(ident)
            return
        self._crashed(doc, code)

    def _crashed(self, doc: Doc, code: int) -> None:
        now = self.clock.now()
        self._crashes[doc.id] += 1
        pause = min(LONGEST_PAUSE, CRASH_PAUSE * 2 ** (self._crashes[doc.id] - 1)) / self.settings.speed
        text = f"Instance process ended with code {code}; it is started again in {pause:.1f} s"
        site = work.site(self.store, doc)
        with self.store.transaction():
            records.instance_event(self.store, doc, text, now)
            records.event(self.store, site.project, work.crash_event(site, doc, text, now))
            doc.body["_healthy"] = work.health_check(self.store, doc) is None
            lifecycle.enter(self.store, doc, "initialising", now)
            doc.due = None
            self.store.save(doc)
        labels = work.instance_labels(self.store, site, doc.id)
        self.log(site.project, [text], labels, level="error", system=True)
        self._dirty.add(doc.parent)
        self._spawn(self._restart(doc.id, max(pause, FAST_PAUSE)))

    async def _restart(self, ident: str, pause: float) -> None:
        await asyncio.sleep(pause)
        await self._start(ident)

    async def _stop(self, ident: str) -> None:
        process = self.processes.get(ident)
        if process is not None:
            await process.stop()
        self._gone(ident)

    def _gone(self, ident: str) -> None:
        self._crashes.pop(ident, None)
        shutil.rmtree(self.store.folder / "instances" / ident, ignore_errors=True)
        doc = self.store.by_id("instance", ident)
        if doc is not None:
            with self.store.transaction():
                lifecycle.remove_instance(self.store, doc)
            self._dirty.add(doc.parent)
            self._wake.set()

    def _dispatch(self, version_id: str) -> None:
        queue = self._queues[version_id]
        idle = [
            doc
            for doc in self.store.children("instance", version_id)
            if doc.body["status"] == "running" and doc.id not in self.busy
        ]
        while queue and idle:
            request = self.store.by_id("request", queue.popleft())
            if request is None or request.body["status"] != "pending":
                continue
            instance = idle.pop()
            self.busy.add(instance.id)
            self._spawn(self._process(request, instance))
        if not queue:
            self._queues.pop(version_id, None)

    async def _process(self, request: Doc, instance: Doc) -> None:
        with self.store.transaction():
            request.body |= {"status": "processing", "time_started": stamp(self.clock.now())}
            self.store.save(request)
            instance.body |= {"_busy": True, "_request": request.id}
            self.store.save(instance)
        process = self.processes.get(instance.id)
        if process is None:
            answer: dict[str, Any] = work.absent_answer(self.pace.processes)
        else:
            answer = await process.request(request.id, request.body["request_data"])
        self.busy.discard(instance.id)
        latest = self.store.by_id("instance", instance.id)
        if latest is not None:
            latest.body |= {"_busy": False, "_request": None, "_used": self.clock.now()}
            with self.store.transaction():
                self.store.save(latest)
        self._finish_request(request.id, answer.get("result"), answer.get("error"))
        self._dirty.add(request.parent)
        self._wake.set()

    def _finish_request(self, ident: str, result: Any, error: str | None) -> None:
        doc = self.store.by_id("request", ident)
        if doc is not None and doc.body["status"] in {"pending", "processing"}:
            doc.body |= {
                "status": "failed" if error else "completed",
                "result": result,
                "error_message": error,
                "time_completed": stamp(self.clock.now()),
                "output_size": len(str(result)) if result is not None else 0,
            }
            with self.store.transaction():
                self.store.save(doc)
        self._done(ident)

    def _done(self, ident: str) -> None:
        future = self._waiters.get(ident)
        if future is not None and not future.done():
            future.set_result(None)


def instance_folder(store: Store, ident: str) -> Path:
    """Where an instance's package is unpacked."""
    return store.folder / "instances" / ident
