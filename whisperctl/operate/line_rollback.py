"""Going back along a line: an earlier version is woken, passes its gate, and gets the services back.

Nothing is uploaded or built, and nothing bakes. Env vars go back with the version; the stack file stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from whisperctl.apply.outcome import Outcome
from whisperctl.engine import World, perform
from whisperctl.errors import WhisperctlError
from whisperctl.operate.versions import LineVersion, chosen, read_versions
from whisperctl.package.build import build_environment, build_package
from whisperctl.plan.changes import Change
from whisperctl.plan.expected import explained_operations
from whisperctl.plan.operations import Operation
from whisperctl.plan.plan import Plan
from whisperctl.plan.survey import surveyed
from whisperctl.spec import Stack
from whisperctl.state.desired import Desired, desired_state
from whisperctl.state.diff import FieldChange
from whisperctl.state.fingerprints import combined
from whisperctl.state.labels import Labels
from whisperctl.state.line import named
from whisperctl.state.live import Live
from whisperctl.state.reading import read_live
from whisperctl.state.resources import deployment_address, service_address, version_address
from whisperctl.state.rollout import LineRollout, rollout_of


@dataclass(frozen=True, kw_only=True, slots=True)
class LineRollback:
    """What a rollback along a line will do."""

    serving: str
    target: LineVersion
    plan: Plan


def plan_line_rollback(world: World, stack: Stack, to: str | None) -> LineRollback:
    """Choose the version to go back to (a number of `history`, a name, or the newest that sleeps), and plan the way.

    Raises:
        WhisperctlError: there is no such version, or it cannot be gone back to.
    """
    api = world.api(stack)
    versions = read_versions(api, stack)
    target = chosen(versions, to)
    raw = api.version(stack.deployment.name, target.name)
    desired = _desired(stack, target.name, Labels.of(raw))
    [live] = read_live(api, [desired], world.parallelism)
    rollout = rollout_of(desired, live)
    if rollout is None or rollout.replaces is None:
        raise WhisperctlError(f"{target.name} serves already.\n  Nothing was changed.")
    earlier = tuple(version.name for version in versions if version.name != target.name)
    asleep = tuple(name for name in earlier if version_address(rollout.deployment, name) in live.owned)
    back = replace(rollout, gated=True, back=True, kept=asleep, leaving=())
    # The pause goes on: it is written on the version that gives way.
    paused = live.labels[version_address(rollout.deployment, rollout.replaces)].paused_minimum
    desired = replace(desired, paused=paused)
    plan = explained_operations(surveyed(_plan(world, desired, live, back), api))
    return LineRollback(serving=rollout.replaces, target=target, plan=plan)


def _desired(stack: Stack, name: str, labels: Labels) -> Desired:
    """The stack as that version serves it."""
    there = named(stack, name)
    there = replace(there, model=replace(there.model, served_name=labels.made.served or there.model.served_name))
    return desired_state(there, build_package(stack), build_environment(stack))


def _plan(world: World, desired: Desired, live: Live, rollout: LineRollout) -> Plan:
    stack = desired.stack
    version = version_address(rollout.deployment, rollout.new)
    deployment = deployment_address(rollout.deployment)
    gate = Operation(id=next(world.ids), kind="gate", address=version)
    switch = Operation(id=next(world.ids), kind="switch", address=deployment, needs=(gate.id,))
    retire = Operation(id=next(world.ids), kind="retire", address=version, needs=(switch.id,))
    return Plan(
        stack=stack.name,
        project=world.project_of(stack),
        fingerprint=combined(live.fingerprints.items()),
        changes=tuple(_pointed(stack, live, rollout)),
        operations=(gate, switch, retire),
        desired=desired,
        live=live,
        rollout=rollout,
    )


def _pointed(stack: Stack, live: Live, rollout: LineRollout) -> list[Change]:
    changes = []
    for service in stack.services:
        address = service_address(service.name)
        raw = live.owned.get(address)
        if raw is None or raw.get("version") == rollout.new:
            continue
        field = FieldChange(path="version", before=raw.get("version"), after=rollout.new)
        effect = f"leads to {rollout.new} once that has passed its gate; its id and URL stay"
        changes.append(
            Change(
                address=address,
                action="update",
                fields=(field,),
                reason="rollback",
                effect=effect,
                source=stack.source("service"),
            )
        )
    return changes


def perform_line_rollback(rollback: LineRollback, world: World) -> Sequence[Outcome]:
    """Do it: one outcome, of the steps as far as they came."""
    return perform([rollback.plan], world)
