"""plan, apply, destroy: the whole product on one page.

text → Stack → Package → desired State; Api → live State; two States → Plan; Plan → operations performed → Outcome.
Prints nothing and asks nothing: callers hand in listeners and render what comes back.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from whisperctl.apply.job import Job, Telling
from whisperctl.apply.lease import Lease
from whisperctl.apply.outcome import Event, Listen, Outcome
from whisperctl.apply.run import Run
from whisperctl.clock import StoppableClock
from whisperctl.control.api import Api
from whisperctl.errors import Interrupted, WhisperctlError
from whisperctl.package.build import build_environment, build_package
from whisperctl.plan.content import is_usable
from whisperctl.plan.operations import SHARED_KINDS, after_other_stacks
from whisperctl.plan.package_changes import explained
from whisperctl.plan.plan import Plan, make_plan
from whisperctl.plan.proposal import new_changes
from whisperctl.plan.refusals import refuse
from whisperctl.plan.survey import surveyed
from whisperctl.spec import Stack
from whisperctl.state.desired import Wanted, desired, settle
from whisperctl.state.line import content_digest, is_line, line_of, named, version_name
from whisperctl.state.live import Live, read_live
from whisperctl.state.resources import Address, deployment_address
from whisperctl.state.tags import retired_tags

CONVERGENCE_READS = 4
"""Reads after an apply before what still differs counts: one may be answered from a copy that is a moment behind."""


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """What an engine works with: the control planes by project, the token for endpoints, the clock, the listener."""

    apis: Mapping[str, Api]
    project_of: Callable[[Stack], str]
    token: str
    parallelism: int
    clock: StoppableClock
    listen: Listen
    max_credits: float | None = None
    """Credits an hour that no stack may cost; None is no limit."""

    def api(self, stack: Stack) -> Api:
        """The control plane of the stack's project."""
        return self.apis[self.project_of(stack)]


def plan_stacks(stacks: Sequence[Stack], world: World, destroy: bool = False, first_id: int = 1) -> list[Plan]:
    """Plans for all stacks, in their order; the lists of a project are read once.

    Raises:
        WhisperctlError: UbiOps cannot be read, or a stack cannot be planned.
    """
    plans: dict[int, Plan] = {}
    for project, positions in _by_project(stacks, world).items():
        members = [stacks[position] for position in positions]
        made = _plan_project(project, members, world, destroy, first_id)
        first_id += sum(len(plan.operations) for plan in made)
        plans |= zip(positions, made, strict=True)
    return [plans[position] for position in range(len(stacks))]


def _by_project(stacks: Iterable[Stack], world: World) -> dict[str, list[int]]:
    """The positions of the stacks of each project."""
    found: dict[str, list[int]] = {}
    for position, stack in enumerate(stacks):
        found.setdefault(world.project_of(stack), []).append(position)
    return found


def _plan_project(
    project: str, stacks: Sequence[Stack], world: World, destroy: bool, first_id: int, beside: Sequence[Plan] = ()
) -> list[Plan]:
    """`beside` are plans made earlier that are performed at the same time."""
    api = world.apis[project]
    wanted = [_desired(stack, project, destroy) for stack in stacks]
    lives = read_live(api, wanted, world.parallelism, destroy)
    settled = [settle(w, live.labels) for w, live in zip(wanted, lives, strict=True)]
    for position, (w, live) in enumerate(zip(settled, lives, strict=True)):
        if is_line(w.stack) and not destroy:
            settled[position], lives[position] = _named_by_content(stacks[position], project, w, live, world)
    more_wanted, more_lives = [plan.wanted for plan in beside], [plan.live for plan in beside]
    retired = retired_tags(api, settled + more_wanted, lives + more_lives, destroy)
    plans = []
    for w, live, tags in zip(settled, lives, retired[: len(settled)], strict=True):
        plan = make_plan(
            w,
            live,
            project=project,
            first_id=first_id,
            retired_tags=tags,
            destroy=destroy,
            max_credits=world.max_credits,
        )
        first_id += len(plan.operations)
        plans.append(plan)
    ordered = after_other_stacks([plan.operations for plan in plans])
    plans = [replace(plan, operations=operations) for plan, operations in zip(plans, ordered, strict=True)]
    return explained([surveyed(plan, api) for plan in plans], api, world.parallelism)


def _desired(stack: Stack, project: str, destroy: bool) -> Wanted:
    """The state that the stack wants; a new version of a line is named by what it is made from."""
    wanted = desired(stack, build_package(stack), build_environment(stack))
    if destroy or not is_line(stack):
        return wanted
    name = version_name(line_of(stack), content_digest(wanted, project))
    return desired(named(stack, name), wanted.package, wanted.build)


def _named_by_content(stack: Stack, project: str, wanted: Wanted, live: Live, world: World) -> tuple[Wanted, Live]:
    """Under the first name that is free, or has this content: somebody may have changed a version by hand."""
    digest = content_digest(desired(stack, wanted.package, wanted.build), project)
    for number in itertools.count(2):
        if is_usable(wanted, live):
            break
        name = version_name(line_of(stack), digest, number)
        unsettled = desired(named(stack, name), wanted.package, wanted.build)
        [live] = read_live(world.apis[project], [unsettled], world.parallelism)
        wanted = settle(unsettled, live.labels)
    return wanted, live


def apply_plans(
    plans: Sequence[Plan], world: World, *, replan: bool = True, revised: Callable[[Plan, Plan], None] | None = None
) -> list[Outcome]:
    """Perform the plans and prove that nothing differs any more, unless one of them is refused.

    With `replan`, a stack whose lease had to be waited for is planned again before anything is written; without it
    (a saved plan) that is stale and told in its outcome. `revised` is called with the plan so far and the new one
    before that is performed, if it changes anything that the plan so far does not; a StalePlan from it ends that stack.

    Raises:
        Refused: one of the plans may not be performed; nothing was done.
    """
    refuse(plans)

    def again(plan: Plan, first_id: int) -> Plan:
        stack, project = plan.wanted.stack, world.project_of(plan.wanted.stack)
        beside = [p for p in plans if p.project == project and p.stack != plan.stack]
        [fresh] = _plan_project(project, [stack], world, plan.destroy, first_id, beside)
        refuse([fresh])
        if revised is not None and new_changes(plan, fresh):
            revised(plan, fresh)
        return fresh

    jobs = {position: _job(plan, world, exactly=not replan) for position, plan in enumerate(plans) if not plan.is_empty}
    run = Run(
        jobs=list(jobs.values()),
        token=world.token,
        clock=world.clock,
        listen=world.listen,
        replan=again if replan else None,
    )
    done = dict(zip(jobs, run.perform(), strict=True))
    outcomes = [done.get(position) or Outcome(plan=plan) for position, plan in enumerate(plans)]
    _check_convergence([outcome for outcome in outcomes if outcome.results and outcome.succeeded], world)
    return outcomes


def _job(plan: Plan, world: World, exactly: bool = False) -> Job:
    def tell(about: Address, state: Telling, text: str) -> None:
        world.listen(Event(stack=plan.stack, address=about, state=state, text=text))

    return Job(
        plan=plan,
        clock=world.clock,
        tell=tell,
        lease=_lease(plan, world, tell),
        seen=dict(plan.live.fingerprints),
        exactly=exactly,
    )


def _lease(plan: Plan, world: World, tell: Callable[[Address, Telling, str], None]) -> Lease:
    stack = plan.wanted.stack
    address = deployment_address(stack.deployment.name)
    return Lease(world.api(stack), stack.deployment.name, world.clock, lambda text: tell(address, "say", text))


def _check_convergence(outcomes: Sequence[Outcome], world: World) -> None:
    """Plan again what was applied; what still differs goes into the outcome."""
    left = list(outcomes)
    for attempt in range(CONVERGENCE_READS):
        if not left:
            return
        try:
            if attempt:
                world.clock.sleep(attempt)
            fresh = {
                id(outcome): plan
                for destroyed in (False, True)
                for outcome, plan in _planned_again([o for o in left if o.plan.destroy is destroyed], world)
            }
        except Interrupted:
            for outcome in left:
                outcome.interrupted = True
            return
        except WhisperctlError as error:
            for outcome in left:
                outcome.error = f"It cannot be shown that nothing differs any more: {error}"
            return
        left = [outcome for outcome in left if fresh[id(outcome)].operations]
        _delete_what_was_shared([fresh[id(outcome)] for outcome in left], world)
        for outcome in outcomes:
            plan = fresh.get(id(outcome))
            if plan is not None:
                outcome.remaining = tuple(str(o.address) for o in plan.changes or plan.operations)


def _delete_what_was_shared(plans: Sequence[Plan], world: World) -> None:
    """Two stacks that two processes destroy at once each leave their tag to the other: whoever is last takes it."""
    jobs = [
        _job(plan, world)
        for plan in plans
        if plan.destroy and all(operation.address.kind in SHARED_KINDS for operation in plan.operations)
    ]
    if jobs:
        Run(jobs=jobs, token=world.token, clock=world.clock, listen=world.listen).perform()


def _planned_again(outcomes: Sequence[Outcome], world: World) -> list[tuple[Outcome, Plan]]:
    if not outcomes:
        return []
    plans = plan_stacks([outcome.plan.wanted.stack for outcome in outcomes], world, outcomes[0].plan.destroy)
    return list(zip(outcomes, plans, strict=True))
