"""Performs the operations of plans in the order of their needs and says what became of each.

Independent operations run at the same time, also across stacks. Each stack starts with its lease: who waits for another
apply holds up nobody else, and plans again afterwards. A failure stops what needs the failed operation and nothing
else. Interrupting starts nothing more and ends the waits. Decides neither what to do nor how one thing is done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from whisperctl.apply import bake, builds, gate, proof, switch, writes
from whisperctl.apply.job import Job
from whisperctl.apply.lease import Lease, renewing
from whisperctl.apply.locking import begin, give_back
from whisperctl.apply.outcome import Listen, Outcome, Result, Status, told
from whisperctl.clock import StoppableClock
from whisperctl.errors import Contended, Interrupted, StalePlan, WhisperctlError
from whisperctl.plan.operations import Operation, OperationKind, after_other_stacks
from whisperctl.plan.plan import Plan

THREADS = 192
"""Most operations are waits, which take no request slot: enough threads for the builds of a whole project."""


Perform = Callable[[Job, Operation, str], None]
"""Does one operation; the text is the token for endpoints."""


def _without_token(perform: Callable[[Job, Operation], None]) -> Perform:
    return lambda job, operation, _token: perform(job, operation)


PERFORM: Mapping[OperationKind, Perform] = {
    "create": _without_token(writes.create),
    "update": _without_token(writes.update),
    "delete": _without_token(writes.delete),
    "claim": _without_token(writes.claim),
    "record": _without_token(writes.record),
    "build": _without_token(builds.build),
    "upload": _without_token(builds.upload),
    "gate": gate.gate,
    "switch": _without_token(switch.switch),
    "bake": bake.bake,
    "retire": _without_token(switch.retire),
    "probe": proof.prove,
    "seal": _without_token(writes.seal),
}

Replan = Callable[[Plan, int], Plan]
"""Plans a stack again; the number is the first free operation id."""


@dataclass(kw_only=True)
class Run:
    """The jobs of one apply. Only the thread that calls `perform` changes the bookkeeping."""

    jobs: Sequence[Job]
    token: str
    clock: StoppableClock
    listen: Listen
    replan: Replan | None = None
    """None: a saved plan, which is performed exactly or not at all."""
    results: dict[int, Result] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)
    """Position of a job that could not begin -> why."""
    waiting: dict[int, tuple[Job, Operation]] = field(default_factory=dict)
    running: dict[Future[Result | bool], Job] = field(default_factory=dict)
    ids: int = 1_000_000
    lock: threading.Lock = field(default_factory=threading.Lock)

    def perform(self) -> list[Outcome]:
        """Do it all; an interrupt ends it early and is told in the results."""
        with renewing(self._leases):
            self._perform()
        return [self._outcome(position, job) for position, job in enumerate(self.jobs)]

    def _perform(self) -> None:
        pool = ThreadPoolExecutor(THREADS)
        try:
            for job in self.jobs:
                self.running[pool.submit(self._begin, job)] = job
            while self.waiting or self.running:
                self._launch(pool)
                if not self.running:
                    continue
                done, _ = wait(self.running, return_when=FIRST_COMPLETED)
                for future in done:
                    self._take_in(pool, self.running.pop(future), future)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            for job in self.jobs:
                for awake in job.awake:
                    awake.stop()
                give_back(job)

    def _leases(self) -> list[Lease]:
        """Those to keep alive while the run lasts."""
        return [job.lease for job in self.jobs]

    def _begin(self, job: Job) -> bool:
        """Whether the stack had to be planned again."""
        planned = job.plan
        begin(job, self._free_id() if self.replan else 0, self.replan)
        return job.plan is not planned

    def _free_id(self) -> int:
        """The first of a thousand ids that nobody else gets."""
        with self.lock:
            self.ids += 1000
            return self.ids

    def _launch(self, pool: ThreadPoolExecutor) -> None:
        known = {o.id for job in self.jobs for o in job.plan.operations}
        for number, (job, operation) in list(self.waiting.items()):
            needs = [need for need in operation.needs if need in known]
            if any(self._lost(need) for need in needs):
                self.results[number] = Result(operation=operation, status="not tried")
                del self.waiting[number]
            elif all(need in self.results for need in needs):
                self.running[pool.submit(self._do, job, operation)] = job
                del self.waiting[number]

    def _lost(self, number: int) -> bool:
        return number in self.results and self.results[number].status != "done"

    def _take_in(self, pool: ThreadPoolExecutor, job: Job, future: Future[Result | bool]) -> None:
        """What a thread brought back: a job that has begun, one to begin again, or an operation's result."""
        try:
            result = future.result()
        except Contended:
            # Nothing of this job is done yet: everything needs its deployment.
            job.created_elsewhere = True
            self.waiting = {n: entry for n, entry in self.waiting.items() if entry[0] is not job}
            self.running[pool.submit(self._begin, job)] = job
            return
        except WhisperctlError as error:
            self.errors[self.jobs.index(job)] = str(error)
            status: Status = "interrupted" if isinstance(error, Interrupted) else "not tried"
            self.results |= {o.id: Result(operation=o, status=status) for o in job.plan.operations}
            return
        if isinstance(result, Result):
            self.results[result.operation.id] = result
            return
        self.waiting |= {o.id: (job, o) for o in job.plan.operations}
        if result:
            self._order_again(job)

    def _order_again(self, job: Job) -> None:
        """What the other stacks delete of the environment waits for the operations of the new plan, too."""
        jobs = [other for other in self.jobs if other.plan.project == job.plan.project]
        ordered = after_other_stacks([other.plan.operations for other in jobs])
        for other, operations in zip(jobs, ordered, strict=True):
            self.waiting |= {o.id: (other, o) for o in operations if o.id in self.waiting}

    def _do(self, job: Job, operation: Operation) -> Result:
        stops = (Interrupted,) if self.replan is None else (Interrupted, Contended)
        start = self.clock.monotonic()
        status: Status = "done"
        reason = ""
        try:
            with told(operation, job.plan.stack, self.clock, self.listen, stops):
                self._dispatch(job, operation)
            job.touched = True
        except WhisperctlError as error:
            if not isinstance(error, StalePlan):  # which is raised before an operation's first write
                job.touched = True
            if isinstance(error, Contended) and self.replan is not None:
                raise
            status, reason = "interrupted" if isinstance(error, Interrupted) else "failed", str(error)
        seconds = round(self.clock.monotonic() - start, 3)
        return Result(operation=operation, status=status, seconds=seconds, error=reason)

    def _dispatch(self, job: Job, operation: Operation) -> None:
        if self.clock.stop.is_set():
            raise Interrupted("interrupted before it began")
        job.lease.fence()
        PERFORM[operation.kind](job, operation, self.token)

    def _outcome(self, position: int, job: Job) -> Outcome:
        results = tuple(self.results[o.id] for o in job.plan.operations)
        interrupted = any(result.status == "interrupted" for result in results)
        error = "" if interrupted else self.errors.get(position, "")
        return Outcome(plan=job.plan, results=results, error=error, interrupted=interrupted)
