"""Deployment requests on their way: queued by version, one at a time for an instance, awaited by callers."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from ubiops_emulator.api.lifecycle import OPEN
from ubiops_emulator.clock import Clock, stamp
from ubiops_emulator.runtime.process import InstanceProcess
from ubiops_emulator.store import Doc, Store

UNKEPT = 60.0
END = object()
NO_CODE_RAN = "The emulator runs with --runtime none: no code was executed"


@dataclass(slots=True, kw_only=True)
class Dispatch:
    """The queues of all versions. `changed` is told the version whose load changed."""

    store: Store
    clock: Clock
    processes: dict[str, InstanceProcess]
    books_only: bool
    changed: Callable[[str], None]
    spawn: Callable[[Any], None]
    busy: set[str] = field(default_factory=set)
    _queues: defaultdict[str, deque[str]] = field(default_factory=lambda: defaultdict(deque))
    _streams: dict[str, asyncio.Queue[Any]] = field(default_factory=dict)
    _waiters: dict[str, asyncio.Future[None]] = field(default_factory=dict)

    def recover(self) -> None:
        """Batch requests wait again; whoever waited for a direct one is gone."""
        self._queues.clear()
        self.busy.clear()
        for doc in self.store.every("request"):
            if doc.body["status"] not in OPEN:
                continue
            if doc.body["_kind"] == "batch":
                doc.body["status"] = "pending"
                self._queues[doc.parent].append(doc.id)
            else:
                doc.body |= {"status": "failed", "error_message": "The request was interrupted"}
                retain(self.store, doc, self.clock.now())
            self.store.save(doc)

    def add(self, version_id: str, ident: str) -> None:
        """Put a request at the end of its version's queue."""
        self._queues[version_id].append(ident)
        self.changed(version_id)

    def waiting(self, version_id: str) -> int:
        """How many requests wait for an instance of a version."""
        return len(self._queues.get(version_id, ()))

    def versions(self) -> set[str]:
        """Those with requests waiting."""
        return {ident for ident, queue in self._queues.items() if queue}

    async def outcome(self, ident: str) -> None:
        """Wait until a request is done."""
        doc = self.store.by_id("request", ident)
        if doc is None or doc.body["status"] not in OPEN:
            return
        future = self._waiters.setdefault(ident, asyncio.get_running_loop().create_future())
        try:
            await asyncio.shield(future)
        finally:
            self._waiters.pop(ident, None)

    async def updates(self, ident: str) -> AsyncIterator[Any]:
        """What a request streams, until it is done."""
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self._streams[ident] = queue
        done = asyncio.ensure_future(self.outcome(ident))
        done.add_done_callback(lambda _: queue.put_nowait(END))
        try:
            while (data := await queue.get()) is not END:
                yield data
        finally:
            self._streams.pop(ident, None)
            done.cancel()

    def expire(self, ident: str) -> None:
        """A request's time is over."""
        doc = self.store.by_id("request", ident)
        if doc is not None:
            self._finish(ident, None, f"The request timed out after {doc.body['timeout']} seconds")

    def run(self, version_id: str) -> None:
        """Give waiting requests to idle instances."""
        queue = self._queues.get(version_id)
        if not queue:
            return
        instances = self.store.children("instance", version_id)
        idle = [doc for doc in instances if doc.body["status"] == "running" and doc.id not in self.busy]
        while queue and idle:
            request = self.store.by_id("request", queue.popleft())
            if request is None or request.body["status"] != "pending":
                continue
            instance = idle.pop()
            self.busy.add(instance.id)
            self.spawn(self._process(request, instance))
        if not queue:
            self._queues.pop(version_id, None)

    def release(self) -> None:
        """Let go of everyone who waits: nothing will be done any more."""
        for ident in list(self._waiters):
            self.settled(ident)

    def settled(self, ident: str) -> None:
        """Whoever waits for this request shall look again."""
        future = self._waiters.get(ident)
        if future is not None and not future.done():
            future.set_result(None)

    async def _process(self, request: Doc, instance: Doc) -> None:
        with self.store.transaction():
            request.body |= {"status": "processing", "time_started": stamp(self.clock.now())}
            self.store.save(request)
            instance.body |= {"_busy": True, "_request": request.id}
            self.store.save(instance)
        try:
            answer = await self._answer(request, instance)
        finally:
            self.busy.discard(instance.id)
        latest = self.store.by_id("instance", instance.id)
        if latest is not None:
            latest.body |= {"_busy": False, "_request": None, "_used": self.clock.now()}
            with self.store.transaction():
                self.store.save(latest)
        self._finish(request.id, answer.get("result"), answer.get("error"))
        self.changed(request.parent)

    async def _answer(self, request: Doc, instance: Doc) -> dict[str, Any]:
        process = self.processes.get(instance.id)
        if process is not None:
            return await process.request(request.id, request.body["request_data"], self._updated(request.id))
        if self.books_only:
            return {"result": json.dumps({"status": "healthy", "note": NO_CODE_RAN})}
        return {"error": "The instance has no package that could answer"}

    def _updated(self, ident: str) -> Callable[[Any], None]:
        def tell(data: Any) -> None:
            queue = self._streams.get(ident)
            if queue is not None:
                queue.put_nowait(data)

        return tell

    def _finish(self, ident: str, result: Any, error: str | None) -> None:
        doc = self.store.by_id("request", ident)
        if doc is not None and doc.body["status"] in OPEN:
            doc.body |= {
                "status": "failed" if error else "completed",
                "result": result,
                "error_message": error,
                "time_completed": stamp(self.clock.now()),
                "output_size": len(json.dumps(result)) if result is not None else 0,
            }
            with self.store.transaction():
                retain(self.store, doc, self.clock.now())
                self.store.save(doc)
        self.settled(ident)


def retain(store: Store, doc: Doc, now: float) -> None:
    """Set when a done request is forgotten, and note how much of it its version keeps."""
    version = store.by_id("version", doc.parent)
    if version is None:
        return
    doc.due = now + version.body["request_retention_time"]
    mode = version.body["request_retention_mode"]
    doc.body["_mode"] = mode
    if mode == "none":
        # Its caller reads it once more; after that nothing of it is kept.
        doc.due = now + UNKEPT
