"""Performs the operations of plans in the order of their needs and says what became of each.

Independent operations run at the same time, also across stacks. Each stack starts with its lease: who waits for another
apply holds up nobody else, and plans again afterwards. Stacks of a higher wave (`rollout.wave`) start once nothing of
the lower ones goes on any more, and not at all after too many failures. A failure stops what needs the failed operation
and nothing else. Interrupting starts nothing more and ends the waits. Decides neither what to do nor how one thing is
done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import groupby

from whisperctl.apply import bake, bookkeeping, builds, deletions, gate, proof, renames, replacement, switch, writes
from whisperctl.apply.events import Listen, announced, seconds_since
from whisperctl.apply.job import Job
from whisperctl.apply.lease import Lease
from whisperctl.apply.locking import begin, give_back
from whisperctl.apply.outcome import OperationResult, Outcome
from whisperctl.apply.renewals import renewing
from whisperctl.apply.schedule import Schedule
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
    "delete": _without_token(deletions.delete),
    "claim": _without_token(bookkeeping.claim),
    "record": _without_token(bookkeeping.record),
    "rename": _without_token(renames.rename),
    "upload": _without_token(builds.upload),
    "gate": gate.gate,
    "switch": _without_token(switch.switch),
    "bake": bake.bake,
    "retire": _without_token(switch.retire),
    "restart": _without_token(replacement.restart),
    "probe": proof.prove,
    "seal": _without_token(bookkeeping.seal),
}


def wave_of(job: Job) -> int:
    """The stack's wave; what is destroyed goes in one."""
    return job.plan.wave


def waves(jobs: Sequence[Job]) -> list[list[Job]]:
    """The jobs, wave by wave."""
    return [list(group) for _, group in groupby(sorted(jobs, key=wave_of), key=wave_of)]


Replan = Callable[[Plan], Plan]
"""Plans a stack again."""


@dataclass(kw_only=True)
class Run:
    """The jobs of one apply. Only the thread that calls `perform` changes the bookkeeping."""

    jobs: Sequence[Job]
    token: str
    clock: StoppableClock
    listen: Listen
    replan: Replan | None = None
    """None: a saved plan, which is performed exactly or not at all."""
    max_failures: int = 0
    """Stacks that may have failed when the next wave begins."""
    schedule: Schedule[Job] = field(default_factory=Schedule)
    errors: dict[Job, str] = field(default_factory=dict)
    """Why a job could not begin."""
    not_begun: set[Job] = field(default_factory=set)
    """Jobs of waves that were not begun."""
    running: dict[Future[OperationResult | None], Job] = field(default_factory=dict)
    """What threads are at: an operation with its result, or the beginning of a job."""
    tags: builds.TagLocks = field(default_factory=builds.TagLocks)

    def perform(self) -> list[Outcome]:
        """Do it all; an interrupt ends it early and is told in the results."""
        with renewing(self._leases):
            self._perform()
        return [self._outcome(job) for job in self.jobs]

    def _perform(self) -> None:
        pool = ThreadPoolExecutor(THREADS)
        try:
            for job in self.jobs:
                self.schedule.put(job, job.plan.operations)
            for jobs in waves(self.jobs):
                self._perform_wave(pool, jobs)
            self.schedule.check_over()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            for job in self.jobs:
                gate.wind_down(job)
                give_back(job)

    def _perform_wave(self, pool: ThreadPoolExecutor, jobs: Sequence[Job]) -> None:
        """Return when nothing can go on any more but what a later wave has to do first."""
        if reason := self._why_not(jobs):
            self.errors |= dict.fromkeys(jobs, reason)
            self.not_begun |= set(jobs)
            for job in jobs:
                self.schedule.give_up(job, "not tried")
            jobs = ()
        for job in jobs:
            self.running[pool.submit(self._begin, job)] = job
        self._start_ready(pool)
        while self.running:
            done, _ = wait(self.running, return_when=FIRST_COMPLETED)
            for future in done:
                self._take_in(pool, self.running.pop(future), future)
            self._start_ready(pool)

    def _start_ready(self, pool: ThreadPoolExecutor) -> None:
        """Begin every operation whose needs are met."""
        for job, operation in self.schedule.begin():
            self.running[pool.submit(self._do, job, operation)] = job

    def _why_not(self, jobs: Sequence[Job]) -> str:
        """Why a wave does not begin; empty if it does."""
        before = [job for job in self.jobs if wave_of(job) < wave_of(jobs[0])]
        failed = sorted(job.plan.stack for job in before if job not in self.not_begun and self._has_failed(job))
        if not before or len(failed) <= self.max_failures:
            return ""
        return (
            f"Wave {wave_of(jobs[0])} was not begun: {', '.join(failed)} of an earlier wave did not succeed.\n"
            f"  --max-failures {len(failed)} would go on."
        )

    def _has_failed(self, job: Job) -> bool:
        """Whether something of a job did not succeed; what waits for a later wave may still do so."""
        results = (self.schedule.results.get(operation.id) for operation in job.plan.operations)
        return job in self.errors or any(result is not None and result.status != "done" for result in results)

    def _leases(self) -> list[Lease]:
        """Those to keep alive while the run lasts."""
        return [lease for job in self.jobs for lease in (job.lease, *job.lease.also)]

    def _begin(self, job: Job) -> None:
        begin(job, self.replan)

    def _take_in(self, pool: ThreadPoolExecutor, job: Job, future: Future[OperationResult | None]) -> None:
        """What a thread brought back: a job that has begun, one to begin again, or an operation's result."""
        try:
            result = future.result()
        except Contended:
            # Nothing of this job is done yet: everything needs its deployment.
            job.created_elsewhere = True
            self.schedule.withdraw(job)
            self.running[pool.submit(self._begin, job)] = job
        except Interrupted:
            self.schedule.give_up(job, "interrupted")
        except WhisperctlError as error:
            self.errors[job] = str(error)
            self.schedule.give_up(job, "not tried")
        else:
            if result is None:
                self._release(job)
            else:
                self.schedule.end(result)

    def _release(self, job: Job) -> None:
        """Let a job's operations begin; what other stacks delete of the environment waits for those of a new plan."""
        if job.plan.operations != self.schedule.plans[job]:
            jobs = [other for other in self.jobs if other.plan.project == job.plan.project]
            plans = [job.plan.operations if other is job else self.schedule.plans[other] for other in jobs]
            for other, operations in zip(jobs, after_other_stacks(plans), strict=True):
                self.schedule.put(other, operations)
        self.schedule.release(job)

    def _do(self, job: Job, operation: Operation) -> OperationResult:
        stops = (Interrupted,) if self.replan is None else (Interrupted, Contended)
        start = self.clock.monotonic()
        try:
            with announced(operation, job.plan.stack, self.clock, self.listen, stops):
                self._dispatch(job, operation)
            job.touched = True
        except Interrupted as error:
            job.touched = True
            return OperationResult(
                operation=operation,
                status="interrupted",
                seconds=seconds_since(start, self.clock),
                error=str(error),
            )
        except WhisperctlError as error:
            if not isinstance(error, StalePlan):  # which is raised before an operation's first write
                job.touched = True
            if isinstance(error, Contended) and self.replan is not None:
                raise
            return OperationResult(
                operation=operation, status="failed", seconds=seconds_since(start, self.clock), error=str(error)
            )
        return OperationResult(operation=operation, status="done", seconds=seconds_since(start, self.clock))

    def _dispatch(self, job: Job, operation: Operation) -> None:
        if self.clock.stop.is_set():
            raise Interrupted("interrupted before it began")
        job.lease.fence()
        perform = self._build if operation.kind == "build" else PERFORM[operation.kind]
        perform(job, operation, job.api.token)

    def _build(self, job: Job, operation: Operation, _token: str) -> None:
        builds.build(job, operation, self.tags)

    def _outcome(self, job: Job) -> Outcome:
        results = tuple(self.schedule.results[operation.id] for operation in job.plan.operations)
        interrupted = any(result.status == "interrupted" for result in results)
        error = "" if interrupted else self.errors.get(job, "")
        return Outcome(plan=job.plan, results=results, error=error, interrupted=interrupted, proved=job.proved)
