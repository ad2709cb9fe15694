"""plan, apply, destroy: the whole product on one page.

text → Stack → Package → desired State; Api → live State; two States → Plan; Plan → operations performed → Outcome.
Prints nothing and asks nothing: callers hand in listeners and render what comes back.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from whisperctl.apply.context import ApplyContext
from whisperctl.apply.events import Level, Listen, Message
from whisperctl.apply.lease import Lease
from whisperctl.apply.locking import lease_name
from whisperctl.apply.outcome import Outcome
from whisperctl.apply.run import Replan, Run
from whisperctl.clock import Backoff, StoppableClock
from whisperctl.control.api import Api
from whisperctl.errors import ApiError, Interrupted, WhisperctlError
from whisperctl.loading.origin import origin_of
from whisperctl.package.build import build_environment, build_package
from whisperctl.plan.changes import DESTROYED, replaces_instances
from whisperctl.plan.content import is_usable
from whisperctl.plan.expected import explained_operations
from whisperctl.plan.operations import after_other_stacks, changed_variables
from whisperctl.plan.package_changes import explained
from whisperctl.plan.plan import Plan, make_plan
from whisperctl.plan.proposal import new_changes
from whisperctl.plan.refusals import refuse
from whisperctl.plan.selection import EVERYTHING, Selection
from whisperctl.plan.survey import surveyed
from whisperctl.plan.takeover import as_it_serves, with_running_package
from whisperctl.spec import Moved, Stack
from whisperctl.state.desired import Desired, desired_state, resolve
from whisperctl.state.line import content_digest, is_line, line_of, named, version_name
from whisperctl.state.live import Live
from whisperctl.state.moves import Moves
from whisperctl.state.reading import read_live
from whisperctl.state.renames import read_moved, read_moves, renamed
from whisperctl.state.resources import SHARED_KINDS, Address, Kind, deployment_address, version_address
from whisperctl.state.rollout import other_strategy
from whisperctl.state.tags import retired_tags

_INSTANCES_OF = (Kind.VERSION, Kind.PACKAGE)
CONVERGENCE_READS = 4
"""Reads after an apply before what still differs counts: one may be answered from a copy that is a moment behind."""
CONVERGENCE_PAUSES = Backoff(first=1.0, longest=3.0)


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
    selection: Selection = EVERYTHING
    """The part of each stack that is planned and performed."""
    max_failures: int = 0
    """Stacks that may have failed when the next wave of an apply begins."""
    allow_delete: bool = False
    """Whether a stack that was applied from another file may be taken over, with all that this deletes."""
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    """Numbers of operations: one counter for all plans, so that none is ever given twice."""

    def api(self, stack: Stack) -> Api:
        """The control plane of the stack's project."""
        return self.apis[self.project_of(stack)]


def plan_stacks(stacks: Sequence[Stack], world: World, destroy: bool = False) -> list[Plan]:
    """Plans for all stacks, in their order; the lists of a project are read once.

    Each tells what a new package changes, and what of it `apply` would refuse.

    Raises:
        WhisperctlError: UbiOps cannot be read, or a stack cannot be planned.
    """
    plans: dict[int, Plan] = {}
    for project, positions in _by_project(stacks, world).items():
        made = _plan_project(project, [stacks[position] for position in positions], world, destroy)
        plans |= zip(positions, made, strict=True)
    return [plans[position] for position in range(len(stacks))]


def _by_project(stacks: Iterable[Stack], world: World) -> dict[str, list[int]]:
    """The positions of the stacks of each project."""
    positions: dict[str, list[int]] = {}
    for position, stack in enumerate(stacks):
        positions.setdefault(world.project_of(stack), []).append(position)
    return positions


def _plan_project(
    project: str, stacks: Sequence[Stack], world: World, destroy: bool, beside: Sequence[Plan] = ()
) -> list[Plan]:
    """Read, compare, order, refuse, explain. `beside` are plans made earlier that are performed at the same time."""
    api = world.apis[project]
    if destroy:
        stacks = [replace(stack, moved=Moved()) for stack in stacks]  # what has another name now is not its own yet
    declared = [_desired(stack, project, destroy) for stack in stacks]
    moves = read_moves(api, [desired.stack for desired in declared])
    lives = read_live(api, declared, world.parallelism, destroy)
    for position, names_before in moves.items():
        lives[position] = read_moved(api, declared[position], names_before, world.parallelism)
    resolved = [resolve(desired, live.labels) for desired, live in zip(declared, lives, strict=True)]
    for position, stack in enumerate(() if destroy else stacks):
        names_before = moves.get(position, Moves())
        desired, lives[position] = _named(stack, project, resolved[position], lives[position], world, names_before)
        resolved[position] = with_running_package(desired, lives[position], api)
    more_desired, more_lives = [plan.desired for plan in beside], [plan.live for plan in beside]
    retired = retired_tags(api, resolved + more_desired, lives + more_lives, destroy)
    plans = [
        make_plan(
            desired,
            live,
            project=project,
            ids=world.ids,
            retired_tags=tags,
            destroy=destroy,
            max_credits=world.max_credits,
            origin=origin_of(desired.stack.file, os.environ),
            allow_delete=world.allow_delete,
            moved=moves.get(position),
            declared={stack.name for stack in stacks},
            selection=world.selection,
        )
        for position, (desired, live, tags) in enumerate(zip(resolved, lives, retired[: len(resolved)], strict=True))
    ]
    ordered = after_other_stacks([plan.operations for plan in plans])
    plans = [replace(plan, operations=operations) for plan, operations in zip(plans, ordered, strict=True)]
    plans = explained([surveyed(plan, api) for plan in plans], api, world.parallelism)
    return [explained_operations(plan) for plan in plans]


def _desired(stack: Stack, project: str, destroy: bool) -> Desired:
    """The state that the stack wants; a new version of a line is named by what it is made from."""
    desired = desired_state(stack, build_package(stack), build_environment(stack))
    if destroy or not is_line(stack):
        return desired
    name = version_name(line_of(stack), content_digest(desired, project))
    return desired_state(named(stack, name), desired.package, desired.build)


def _named(
    stack: Stack, project: str, desired: Desired, live: Live, world: World, moves: Moves
) -> tuple[Desired, Live]:
    """With the version under its right name: a line names it by content, and one strategy takes over from the other."""
    if is_line(stack) and (serving := as_it_serves(desired, live, world.apis[project])) is not None:
        return serving
    address = version_address(stack.deployment.name, desired.stack.version.name)
    if address in live.owned or address in live.foreign:
        return _named_by_content(stack, project, desired, live, world, moves) if is_line(stack) else (desired, live)
    other = other_strategy(stack, live)
    if other is None:
        return desired, live
    there = desired_state(named(stack, other), desired.package, desired.build)
    other_live = read_moved(world.apis[project], there, moves, world.parallelism)
    if is_line(stack) and not is_usable(resolve(there, other_live.labels), other_live):
        return desired, live  # made of something else: it serves on until the new version has passed its gate
    old = version_address(stack.deployment.name, other)
    taken_over = renamed(desired, other_live, old, address)
    return resolve(replace(desired, state=desired.declared), taken_over.labels), taken_over


def _named_by_content(
    stack: Stack, project: str, desired: Desired, live: Live, world: World, moves: Moves
) -> tuple[Desired, Live]:
    """Under the first name that is free, or has this content: somebody may have changed a version by hand."""
    digest = content_digest(desired_state(stack, desired.package, desired.build), project)
    for number in itertools.count(2):
        if is_usable(desired, live):
            break
        name = version_name(line_of(stack), digest, number)
        declared = desired_state(named(stack, name), desired.package, desired.build)
        live = read_moved(world.apis[project], declared, moves, world.parallelism)
        desired = resolve(declared, live.labels)
    return desired, live


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

    def again(plan: Plan) -> Plan:
        stack, project = plan.desired.stack, world.project_of(plan.desired.stack)
        beside = [p for p in plans if p.project == project and p.stack != plan.stack]
        [fresh] = _plan_project(project, [stack], world, plan.destroy, beside)
        refuse([fresh])
        if revised is not None and new_changes(plan, fresh):
            revised(plan, fresh)
        return fresh

    contexts = {
        position: _context(plan, world, exactly=not replan) for position, plan in enumerate(plans) if not plan.is_empty
    }
    done = dict(zip(contexts, _run(contexts.values(), world, again if replan else None), strict=True))
    outcomes = {position: done.get(position) or Outcome(plan=plan) for position, plan in enumerate(plans)}
    return [_with_stale_instances(outcome, world) for outcome in _with_convergence(outcomes, world).values()]


def _with_stale_instances(outcome: Outcome, world: World) -> Outcome:
    """The outcome with how many running instances still have the old value of an env var, where none was replaced."""
    plan = outcome.plan
    stack = plan.desired.stack
    changed = [change for change in changed_variables(stack, plan.changes) if change.reason != DESTROYED]
    replaced = any(replaces_instances(change) for change in plan.changes if change.address.kind in _INSTANCES_OF)
    restarted = any(result.operation.kind == "restart" for result in outcome.results)
    if not changed or replaced or restarted or not outcome.succeeded or not outcome.results:
        return outcome
    try:
        instances = world.api(stack).instances(stack.deployment.name, stack.version.name)
    except (ApiError, Interrupted):
        return outcome
    return replace(outcome, stale_instances=sum(item["status"] == "running" for item in instances))


def _run(contexts: Iterable[ApplyContext], world: World, replan: Replan | None = None) -> list[Outcome]:
    run = Run(
        contexts=list(contexts),
        token=world.token,
        clock=world.clock,
        listen=world.listen,
        replan=replan,
        max_failures=world.max_failures,
    )
    return run.perform()


def perform(plans: Sequence[Plan], world: World) -> list[Outcome]:
    """Perform exactly these plans; what the stack files say beyond them is not looked at.

    Raises:
        Refused: one of the plans may not be performed; nothing was done.
    """
    refuse(plans)
    return _run([_context(plan, world, exactly=True) for plan in plans], world)


def _context(plan: Plan, world: World, exactly: bool = False) -> ApplyContext:
    def tell(about: Address, level: Level, text: str) -> None:
        world.listen(Message(stack=plan.stack, address=about, level=level, text=text))

    return ApplyContext(
        plan=plan,
        clock=world.clock,
        tell=tell,
        lease=_lease(plan, world, tell),
        seen=dict(plan.live.fingerprints),
        exactly=exactly,
    )


def _lease(plan: Plan, world: World, tell: Callable[[Address, Level, str], None]) -> Lease:
    stack = plan.desired.stack
    address = deployment_address(stack.deployment.name)
    return Lease(world.api(stack), lease_name(plan), world.clock, lambda text: tell(address, "say", text))


def _with_convergence(outcomes: Mapping[int, Outcome], world: World) -> dict[int, Outcome]:
    """The outcomes, with what still differs although everything was done: what was applied is planned again."""
    checked = dict(outcomes)
    left = [position for position, outcome in outcomes.items() if outcome.results and outcome.succeeded]
    pauses = CONVERGENCE_PAUSES.pauses()
    for attempt in range(CONVERGENCE_READS):
        if not left:
            break
        try:
            if attempt:
                world.clock.sleep(next(pauses))
            plans = _plan_again({position: outcomes[position].plan for position in left}, world)
        except Interrupted:
            return checked | {position: replace(checked[position], interrupted=True) for position in left}
        except WhisperctlError as error:
            text = f"It cannot be shown that nothing differs any more: {error}"
            return checked | {position: replace(checked[position], error=text) for position in left}
        left = [position for position in left if plans[position].operations]
        _delete_what_was_shared([plans[position] for position in left], world)
        checked |= {p: replace(outcomes[p], remaining=_addresses(plan)) for p, plan in plans.items()}
    return checked


def _addresses(plan: Plan) -> tuple[str, ...]:
    return tuple(str(entry.address) for entry in plan.changes or plan.operations)


def _delete_what_was_shared(plans: Sequence[Plan], world: World) -> None:
    """Two stacks that two processes destroy at once each leave their tag to the other: whoever is last takes it."""
    contexts = [
        _context(plan, world)
        for plan in plans
        if plan.destroy and all(operation.address.kind in SHARED_KINDS for operation in plan.operations)
    ]
    if contexts:
        _run(contexts, world)


def _plan_again(plans: Mapping[int, Plan], world: World) -> dict[int, Plan]:
    """The plan of each stack as it would be now."""
    fresh: dict[int, Plan] = {}
    for destroy in (False, True):
        positions = [position for position, plan in plans.items() if plan.destroy is destroy]
        stacks = [plans[position].desired.stack for position in positions]
        fresh |= zip(positions, plan_stacks(stacks, world, destroy) if stacks else [], strict=True)
    return fresh
