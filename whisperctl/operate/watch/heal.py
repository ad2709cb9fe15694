"""Puts back what was changed on UbiOps by hand, where nothing is lost by it: what was applied last, and no more.

Refused, and only told: a plan that deletes or replaces something, makes a new version of a line, or that `apply` would
refuse, a stack whose file has moved on since the last apply or whose last apply did not finish, and one that a command
is at work on.
"""

from __future__ import annotations

from dataclasses import dataclass

from whisperctl.engine import World, apply_plans
from whisperctl.errors import WhisperctlError
from whisperctl.operate.watch.observation import Observation
from whisperctl.plan.plan import Plan


@dataclass(frozen=True, kw_only=True, slots=True)
class Healing:
    """What became of an attempt to heal one stack."""

    stack: str
    project: str
    done: bool
    text: str
    """What was put back, or why nothing was."""


def obstacle(observation: Observation) -> str | None:
    """Why a stack that has drifted is not healed; None where it may be, and where there is nothing to heal: empty."""
    drift = observation.drift
    if drift is None or not drift.drifted:
        return ""
    if drift.basis != "applied":
        return "the stack file has moved on" if drift.basis == "moved on" else "its last apply did not finish"
    if observation.leased:
        return "a command is at work on it"
    lost = [str(change.address) for change in drift.plan.changes if change.action in ("delete", "replace")]
    if lost:
        return f"that would delete or replace {', '.join(lost)}"
    if drift.compared is not drift.plan:
        return "that takes a new version of the line, which `whisperctl apply` rolls out"
    if drift.plan.refused:
        return drift.plan.refused[0].text
    return None


def heal(observation: Observation, world: World) -> Healing:
    """Apply the plan that was made of the stack, exactly."""
    assert observation.drift is not None
    done, text = _performed(observation.drift.plan, world)
    return Healing(stack=observation.stack, project=observation.project, done=done, text=text)


def _performed(plan: Plan, world: World) -> tuple[bool, str]:
    """Whether the plan was performed to its end, and what was put back, or why it was not."""
    try:
        [outcome] = apply_plans([plan], world, replan=False)
    except WhisperctlError as error:
        return False, str(error).splitlines()[0]
    if outcome.succeeded:
        return True, f"put back {', '.join(str(change.address) for change in plan.changes)}"
    reasons = [outcome.error, *(result.error for result in outcome.results)]
    return False, next((text.splitlines()[0] for text in reasons if text), "it was not finished")
