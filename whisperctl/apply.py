"""Performs the operations of plans in the order of their needs and says what became of each.

Independent operations run at the same time. A failure stops what needs the failed operation and nothing else.
Interrupting starts nothing more and ends the waits. Decides neither what to do nor how one thing is done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Literal

from whisperctl import builds, perform, proving
from whisperctl.errors import ApiError, Interrupted, WhisperctlError
from whisperctl.lease import RENEW_EVERY, renewed
from whisperctl.perform import Job
from whisperctl.plan import Operation
from whisperctl.resources import LEASE_LABEL, Address, deployment_address
from whisperctl.waiting import StoppableClock

Status = Literal["done", "failed", "interrupted", "not tried"]
THREADS = 128
"""Most operations are waits, which take no request slot: enough threads for the builds of a whole project."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something to show while an apply runs."""

    stack: str
    address: Address
    state: Literal["start", "say", "done", "failed"]
    text: str
    seconds: float = 0.0


Listen = Callable[[Event], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What became of one operation."""

    operation: Operation
    status: Status
    seconds: float = 0.0
    error: str = ""


@dataclass(kw_only=True, slots=True)
class Outcome:
    """What became of every operation of one plan, in the plan's order."""

    stack: str
    results: tuple[Result, ...] = ()
    remaining: tuple[str, ...] = ()
    """Addresses that still differ after everything was done; empty when it converged."""
    stale: bool = False
    error: str = ""
    """What went wrong outside any operation."""

    @property
    def succeeded(self) -> bool:
        """Whether everything was done and nothing differs any more."""
        return all(result.status == "done" for result in self.results) and not self.remaining and not self.error


@dataclass(kw_only=True)
class Run:
    """The jobs of one apply."""

    jobs: Sequence[Job]
    token: str
    clock: StoppableClock
    listen: Listen
    results: dict[int, Result] = field(default_factory=dict)

    def perform(self) -> list[Outcome]:
        """Do it all; an interrupt ends it early and is told in the results."""
        owners = {operation.id: job for job in self.jobs for operation in job.plan.operations}
        operations = {operation.id: operation for job in self.jobs for operation in job.plan.operations}
        renewing = threading.Thread(target=self._renew, daemon=True)
        renewing.start()
        # Not a `with` block: leaving it would wait for threads that an interrupt must not wait for.
        pool = ThreadPoolExecutor(THREADS)
        try:
            self._schedule(pool, operations, owners)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            self._give_back()
        return [self._outcome(job) for job in self.jobs]

    def _schedule(
        self, pool: ThreadPoolExecutor, operations: Mapping[int, Operation], owners: Mapping[int, Job]
    ) -> None:
        waiting = dict(operations)
        running: dict[Future[Result], int] = {}
        while waiting or running:
            for number, operation in list(waiting.items()):
                needs = [need for need in operation.needs if need in operations]
                if any(self._lost(need) for need in needs):
                    self.results[number] = Result(operation=operation, status="not tried")
                    del waiting[number]
                elif all(need in self.results for need in needs):
                    running[pool.submit(self._do, owners[number], operation)] = number
                    del waiting[number]
            if not running:
                continue
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                self.results[running.pop(future)] = future.result()

    def _lost(self, number: int) -> bool:
        return number in self.results and self.results[number].status != "done"

    def _do(self, job: Job, operation: Operation) -> Result:
        start = self.clock.monotonic()
        self._tell(job, operation.address, "start", operation.kind)
        try:
            self._dispatch(job, operation)
        except Interrupted as error:
            return Result(operation=operation, status="interrupted", seconds=self._since(start), error=str(error))
        except WhisperctlError as error:
            self._tell(job, operation.address, "failed", str(error), self._since(start))
            return Result(operation=operation, status="failed", seconds=self._since(start), error=str(error))
        self._tell(job, operation.address, "done", operation.kind, self._since(start))
        return Result(operation=operation, status="done", seconds=self._since(start))

    def _dispatch(self, job: Job, operation: Operation) -> None:
        if self.clock.stop.is_set():
            raise Interrupted("interrupted before it began")
        match operation.kind:
            case "create":
                perform.create(job, operation)
            case "update":
                perform.update(job, operation)
            case "delete":
                perform.delete(job, operation)
            case "claim":
                perform.claim(job, operation)
            case "record":
                perform.record(job, operation)
            case "build":
                builds.build(job, operation)
            case "upload":
                builds.upload(job, operation)
            case "probe":
                proving.prove(job, operation, self.token)
            case "seal":
                perform.seal(job, operation)

    def _since(self, start: float) -> float:
        return round(self.clock.monotonic() - start, 3)

    def _tell(
        self, job: Job, address: Address, state: Literal["start", "say", "done", "failed"], text: str, s: float = 0.0
    ) -> None:
        self.listen(Event(stack=job.plan.stack, address=address, state=state, text=text, seconds=s))

    def _renew(self) -> None:
        """Keep the leases alive while the run lasts; one that cannot be renewed now is tried again in time."""
        while not self.clock.stop.wait(RENEW_EVERY):
            for job in self.jobs:
                if len([n for n in job.plan.operations if n.id in self.results]) == len(job.plan.operations):
                    continue
                with job.lock:
                    job.lease = renewed(job.lease, self.clock.time())
                    _patch_lease(job, str(job.lease))

    def _give_back(self) -> None:
        """Remove the leases of plans that were not sealed: a failed or interrupted apply holds up nobody."""
        for job in self.jobs:
            sealed = any(
                self.results[o.id].status == "done"
                for o in job.plan.operations
                if o.kind == "seal" and o.id in self.results
            )
            if not sealed and job.plan.operations:
                with job.lock:
                    _patch_lease(job, None)

    def _outcome(self, job: Job) -> Outcome:
        return Outcome(stack=job.plan.stack, results=tuple(self.results[o.id] for o in job.plan.operations))


def _patch_lease(job: Job, text: str | None) -> None:
    """Write or remove our lease; that UbiOps does not answer is no reason to fail: the lease runs out by itself."""
    try:
        raw = job.api.deployment(job.deployment)
        labels = dict((raw or {}).get("labels") or {})
        if raw is None or job.lease.nonce not in labels.get(LEASE_LABEL, ""):
            return
        labels.pop(LEASE_LABEL)
        job.api.update_deployment(job.deployment, {"labels": labels | ({LEASE_LABEL: text} if text else {})})
    except ApiError as error:
        job.say(deployment_address(job.deployment), f"the lease could not be written: {error.reason}")


def is_stale(outcome: Outcome) -> bool:
    """Whether an operation found that somebody changed its object."""
    return any("since the plan was made" in result.error for result in outcome.results)
