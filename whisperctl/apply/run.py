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
from whisperctl.apply.context import ApplyContext
from whisperctl.apply.events import Listen, announced, seconds_since
from whisperctl.apply.lease import Lease
from whisperctl.apply.locking import begin, give_back
from whisperctl.apply.outcome import OperationResult, Outcome, ResultStatus
from whisperctl.apply.renewals import renewing
from whisperctl.apply.schedule import Schedule
from whisperctl.clock import StoppableClock
from whisperctl.errors import Contended, Interrupted, StalePlan, WhisperctlError
from whisperctl.plan.operations import Operation, OperationKind, after_other_stacks
from whisperctl.plan.plan import Plan

THREADS = 192
"""Most operations are waits, which take no request slot: enough threads for the builds of a whole project."""


Perform = Callable[[ApplyContext, Operation, str], None]
"""Does one operation; the text is the token for endpoints."""


def _without_token(perform: Callable[[ApplyContext, Operation], None]) -> Perform:
    return lambda context, operation, _token: perform(context, operation)


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


def wave_of(context: ApplyContext) -> int:
    """The stack's wave; what is destroyed goes in one."""
    return context.plan.wave


def waves(contexts: Sequence[ApplyContext]) -> list[list[ApplyContext]]:
    """The plans being applied, wave by wave."""
    return [list(group) for _, group in groupby(sorted(contexts, key=wave_of), key=wave_of)]


def end(context: ApplyContext) -> None:
    """Leave a plan of which nothing runs or waits any more: nothing is kept awake for it, and its leases are free."""
    gate.wind_down(context)
    give_back(context)


Replan = Callable[[Plan], Plan]
"""Plans a stack again."""


@dataclass(kw_only=True)
class Run:
    """The plans of one run. Only the thread that calls `perform` changes the bookkeeping."""

    contexts: Sequence[ApplyContext]
    token: str
    clock: StoppableClock
    listen: Listen
    replan: Replan | None = None
    """None: a saved plan, which is performed exactly or not at all."""
    max_failures: int = 0
    """Stacks that may have failed when the next wave begins."""
    schedule: Schedule[ApplyContext] = field(default_factory=Schedule)
    errors: dict[ApplyContext, str] = field(default_factory=dict)
    """Why a plan could not begin."""
    not_begun: set[ApplyContext] = field(default_factory=set)
    """Plans of waves that were not begun."""
    leased: set[ApplyContext] = field(default_factory=set)
    """Plans that take or have leases: those that have begun and are not left yet."""
    ending: set[ApplyContext] = field(default_factory=set)
    """Plans that are being left, or have been."""
    running: dict[Future[OperationResult | None], ApplyContext] = field(default_factory=dict)
    """What threads are at: an operation with its result, or the beginning or end of a plan."""
    tags: builds.TagLocks = field(default_factory=builds.TagLocks)

    def perform(self) -> list[Outcome]:
        """Do it all; an interrupt ends it early and is told in the results."""
        with renewing(self._leases):
            self._perform()
        return [self._outcome(context) for context in self.contexts]

    def _perform(self) -> None:
        pool = ThreadPoolExecutor(THREADS)
        try:
            for context in self.contexts:
                self.schedule.put(context, context.plan.operations)
            for contexts in waves(self.contexts):
                self._perform_wave(pool, contexts)
            self.schedule.check_over()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            for context in self.leased:
                end(context)

    def _perform_wave(self, pool: ThreadPoolExecutor, contexts: Sequence[ApplyContext]) -> None:
        """Return when nothing can go on any more but what a later wave has to do first."""
        if reason := self._why_not(contexts):
            self.errors |= dict.fromkeys(contexts, reason)
            self.not_begun |= set(contexts)
            for context in contexts:
                self.schedule.give_up(context, "not tried")
            contexts = ()
        for context in contexts:
            self.leased.add(context)
            self.running[pool.submit(self._begin, context)] = context
        self._start_ready(pool)
        while self.running:
            done, _ = wait(self.running, return_when=FIRST_COMPLETED)
            for future in done:
                self._take_in(pool, self.running.pop(future), future)
            self._start_ready(pool)

    def _start_ready(self, pool: ThreadPoolExecutor) -> None:
        """Begin every operation whose needs are met, and end every plan that has nothing to do any more."""
        for context, operation in self.schedule.begin():
            self.running[pool.submit(self._do, context, operation)] = context
        for context in self.leased.difference(self.ending, self.running.values()):
            if not self.schedule.is_busy(context):
                self.ending.add(context)
                self.running[pool.submit(end, context)] = context

    def _why_not(self, contexts: Sequence[ApplyContext]) -> str:
        """Why a wave does not begin; empty if it does."""
        before = [context for context in self.contexts if wave_of(context) < wave_of(contexts[0])]
        failed = sorted(
            context.plan.stack for context in before if context not in self.not_begun and self._has_failed(context)
        )
        if not before or len(failed) <= self.max_failures:
            return ""
        return (
            f"Wave {wave_of(contexts[0])} was not begun: {', '.join(failed)} of an earlier wave did not succeed.\n"
            f"  --max-failures {len(failed)} would go on."
        )

    def _has_failed(self, context: ApplyContext) -> bool:
        """Whether something of a plan did not succeed; what waits for a later wave may still do so."""
        results = (self.schedule.results.get(operation.id) for operation in context.plan.operations)
        return context in self.errors or any(result is not None and result.status != "done" for result in results)

    def _leases(self) -> list[Lease]:
        """Those to keep alive while the run lasts."""
        return [lease for context in self.contexts for lease in (context.lease, *context.lease.also)]

    def _begin(self, context: ApplyContext) -> None:
        begin(context, self.replan)

    def _take_in(self, pool: ThreadPoolExecutor, context: ApplyContext, future: Future[OperationResult | None]) -> None:
        """What a thread brought back: a plan that has begun or ended, one to begin again, or an operation's result."""
        try:
            result = future.result()
        except Contended:
            # Nothing of this plan is done yet: everything needs its deployment.
            context.created_elsewhere = True
            self.schedule.withdraw(context)
            self.running[pool.submit(self._begin, context)] = context
        except Interrupted:
            self._give_up(context, "interrupted")
        except WhisperctlError as error:
            self.errors[context] = str(error)
            self._give_up(context, "not tried")
        else:
            if result is not None:
                self.schedule.end(result)
            elif context in self.ending:
                self.leased.remove(context)
            else:
                self._release(context)

    def _give_up(self, context: ApplyContext, status: ResultStatus) -> None:
        self.schedule.put(context, context.plan.operations)  # it may have been planned again by then
        self.schedule.give_up(context, status)

    def _release(self, context: ApplyContext) -> None:
        """Let a plan's operations begin; what other stacks delete of the environment waits for those of a new plan."""
        if context.plan.operations != self.schedule.plans[context]:
            contexts = [other for other in self.contexts if other.plan.project == context.plan.project]
            plans = [context.plan.operations if other is context else self.schedule.plans[other] for other in contexts]
            for other, operations in zip(contexts, after_other_stacks(plans), strict=True):
                self.schedule.put(other, operations)
        self.schedule.release(context)

    def _do(self, context: ApplyContext, operation: Operation) -> OperationResult:
        stops = (Interrupted,) if self.replan is None else (Interrupted, Contended)
        start = self.clock.monotonic()
        try:
            with announced(operation, context.plan.stack, self.clock, self.listen, stops):
                self._dispatch(context, operation)
            context.touched = True
        except Interrupted as error:
            context.touched = True
            return OperationResult(
                operation=operation,
                status="interrupted",
                seconds=seconds_since(start, self.clock),
                error=str(error),
            )
        except WhisperctlError as error:
            if not isinstance(error, StalePlan):  # which is raised before an operation's first write
                context.touched = True
            if isinstance(error, Contended) and self.replan is not None:
                raise
            return OperationResult(
                operation=operation, status="failed", seconds=seconds_since(start, self.clock), error=str(error)
            )
        return OperationResult(operation=operation, status="done", seconds=seconds_since(start, self.clock))

    def _dispatch(self, context: ApplyContext, operation: Operation) -> None:
        if self.clock.stop.is_set():
            raise Interrupted("interrupted before it began")
        context.lease.fence()
        perform = self._build if operation.kind == "build" else PERFORM[operation.kind]
        perform(context, operation, context.api.token)

    def _build(self, context: ApplyContext, operation: Operation, _token: str) -> None:
        builds.build(context, operation, self.tags)

    def _outcome(self, context: ApplyContext) -> Outcome:
        results = tuple(self.schedule.results[operation.id] for operation in context.plan.operations)
        interrupted = any(result.status == "interrupted" for result in results)
        error = "" if interrupted else self.errors.get(context, "")
        return Outcome(plan=context.plan, results=results, error=error, interrupted=interrupted, proved=context.proved)
