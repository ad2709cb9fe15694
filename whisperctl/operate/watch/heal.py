"""Puts back what was changed on UbiOps by hand, where nothing is lost by it: what was applied last, and no more.

Refused, and only told: a plan that deletes or replaces something or that `apply` would refuse, a stack whose file has
moved on since the last apply or whose last apply did not finish, and one that a command is at work on.
"""

from __future__ import annotations

from dataclasses import dataclass

from whisperctl.engine import World, apply_plans
from whisperctl.errors import WhisperctlError
from whisperctl.operate.watch.observation import Observation


@dataclass(frozen=True, kw_only=True, slots=True)
class Healing:
    """What became of an attempt to heal one stack."""

    stack: str
    project: str
    done: bool
    text: str
    """What was put back, or why nothing was."""


def obstacle(seen: Observation) -> str | None:
    """Why a stack that has drifted is not healed; None where it may be, and where there is nothing to heal: empty."""
    drift = seen.drift
    if drift is None or not drift.drifted:
        return ""
    if drift.basis != "applied":
        return "the stack file has moved on" if drift.basis == "moved on" else "its last apply did not finish"
    if seen.leased:
        return "a command is at work on it"
    lost = [str(change.address) for change in drift.plan.changes if change.action in ("delete", "replace")]
    if lost:
        return f"that would delete or replace {', '.join(lost)}"
    if drift.plan.refused:
        return drift.plan.refused[0].text
    return None


def heal(seen: Observation, world: World) -> Healing:
    """Apply the plan that was made of the stack, exactly."""
    assert seen.drift is not None
    plan = seen.drift.plan
    addresses = ", ".join(str(change.address) for change in plan.changes)
    try:
        [outcome] = apply_plans([plan], world, replan=False)
    except WhisperctlError as error:
        return Healing(stack=seen.stack, project=seen.project, done=False, text=str(error).splitlines()[0])
    if outcome.succeeded:
        return Healing(stack=seen.stack, project=seen.project, done=True, text=f"put back {addresses}")
    reasons = [outcome.error, *(result.error for result in outcome.results)]
    reason = next((text.splitlines()[0] for text in reasons if text), "it was not finished")
    return Healing(stack=seen.stack, project=seen.project, done=False, text=reason)
