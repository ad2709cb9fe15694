"""plan, apply, destroy: the whole product on one page.

text → Stack → Package → desired State; Api → live State; two States → Plan; Plan → operations performed → Outcome.
Prints nothing and asks nothing: callers hand in listeners and render what comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from whisperctl import lease as leases
from whisperctl.api import Api
from whisperctl.apply import Event, Listen, Outcome, Run
from whisperctl.desired import desired, settle
from whisperctl.errors import StalePlan, WhisperctlError
from whisperctl.live import read_live
from whisperctl.package import build_environment, build_package
from whisperctl.perform import Job
from whisperctl.plan import Plan, make_plan
from whisperctl.resources import Address, deployment_address
from whisperctl.retire import retired_tags
from whisperctl.spec import Stack
from whisperctl.waiting import StoppableClock

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

    def api(self, stack: Stack) -> Api:
        """The control plane of the stack's project."""
        return self.apis[self.project_of(stack)]


def plan_stacks(stacks: Sequence[Stack], world: World, destroy: bool = False) -> list[Plan]:
    """Plans for all stacks, in their order; the lists of a project are read once.

    Raises:
        WhisperctlError: UbiOps cannot be read, or a stack cannot be planned.
    """
    plans: dict[str, Plan] = {}
    first_id = 1
    for project, members in _by_project(stacks, world).items():
        api = world.apis[project]
        wanted = [desired(stack, build_package(stack), build_environment(stack)) for stack in members]
        lives = read_live(api, wanted, world.parallelism)
        settled = [settle(w, live.labels) for w, live in zip(wanted, lives, strict=True)]
        retired = retired_tags(api, settled, lives, destroy)
        for w, live, tags in zip(settled, lives, retired, strict=True):
            plan = make_plan(w, live, project=project, first_id=first_id, retired_tags=tags, destroy=destroy)
            first_id += len(plan.operations)
            plans[plan.stack] = plan
    return [plans[stack.name] for stack in stacks]


def _by_project(stacks: Iterable[Stack], world: World) -> dict[str, list[Stack]]:
    found: dict[str, list[Stack]] = {}
    for stack in stacks:
        found.setdefault(world.project_of(stack), []).append(stack)
    return found


def apply_plans(plans: Sequence[Plan], world: World, *, replan: bool = True) -> list[Outcome]:
    """Perform the plans and prove that nothing differs any more.

    With `replan`, a stack whose lease had to be waited for is planned again before anything is written; without it
    (a saved plan) that is stale.

    Raises:
        StalePlan: another apply changed things while this one waited for it.
    """
    jobs, current = [], list(plans)
    for position, plan in enumerate(plans):
        if plan.is_empty:
            continue
        job = _start(plan, world, replan)
        current[position] = job.plan
        if job.plan.operations:
            jobs.append(job)
    done = {o.stack: o for o in Run(jobs=jobs, token=world.token, clock=world.clock, listen=world.listen).perform()}
    outcomes = [done.get(plan.stack) or Outcome(stack=plan.stack) for plan in current]
    _check_convergence([(p, o) for p, o in zip(current, outcomes, strict=True) if o.results and o.succeeded], world)
    return outcomes


def _start(plan: Plan, world: World, replan: bool) -> Job:
    """Take the lease of the plan's stack, where there is a deployment to write it on."""
    api = world.api(plan.wanted.stack)
    address = deployment_address(plan.wanted.stack.deployment.name)

    def say(about: Address, text: str) -> None:
        world.listen(Event(stack=plan.stack, address=about, state="say", text=text))

    mine = leases.new_lease(world.clock.time())
    seen = dict(plan.live.fingerprints)
    if address in plan.live.owned:
        unproven = any(operation.kind == "probe" for operation in plan.operations)
        mine, waited, now = leases.take(
            api, address.names[0], mine, world.clock, lambda text: say(address, text), unproven=unproven
        )
        if waited and not replan:
            raise StalePlan(f"Another apply changed the stack {plan.stack!r} meanwhile.\n  Plan again.")
        if waited:
            [plan] = plan_stacks([plan.wanted.stack], world, plan.destroy)
            seen = dict(plan.live.fingerprints)
        elif now is not None:
            _refuse_changed(plan, address, now)
            job = Job(plan=plan, api=api, clock=world.clock, say=say, lease=mine, seen=seen)
            job.saw(address, now)
            return job
    return Job(plan=plan, api=api, clock=world.clock, say=say, lease=mine, seen=seen)


def _refuse_changed(plan: Plan, address: Address, now: Mapping[str, object]) -> None:
    """Raise StalePlan unless the deployment is the one planned with, but for the labels that the lease just wrote."""
    from whisperctl.live import fingerprint
    from whisperctl.resources import DIGEST_LABEL

    before = dict(plan.live.owned[address])
    after = dict(now)
    for raw in (before, after):
        labels = raw.get("labels")
        raw["labels"] = {k: v for k, v in labels.items() if k != DIGEST_LABEL} if isinstance(labels, dict) else {}
    if fingerprint(address, before, plan.wanted.state) != fingerprint(address, after, plan.wanted.state):
        raise StalePlan(f"{address} changed on UbiOps since the plan was made.\n  Plan again.")


def _check_convergence(pairs: Sequence[tuple[Plan, Outcome]], world: World) -> None:
    """Plan again what was applied; what still differs goes into the outcome."""
    left = [(plan, outcome) for plan, outcome in pairs]
    for attempt in range(CONVERGENCE_READS):
        if not left:
            return
        if attempt:
            world.clock.sleep(attempt)
        again = []
        for destroyed in (False, True):
            group = [(plan, outcome) for plan, outcome in left if plan.destroy is destroyed]
            try:
                plans = plan_stacks([plan.wanted.stack for plan, _ in group], world, destroyed) if group else []
            except WhisperctlError as error:
                for _, outcome in group:
                    outcome.error = f"It cannot be shown that nothing differs any more: {error}"
                return
            for (plan, outcome), fresh in zip(group, plans, strict=True):
                outcome.remaining = tuple(str(change.address) for change in fresh.changes)
                if fresh.operations:
                    again.append((plan, outcome))
        left = again
