"""Plans as people read them in a terminal or a log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from whisperctl.plan.changes import ORDER, Change
from whisperctl.plan.downtime import duration_in_words
from whisperctl.plan.operations import Operation
from whisperctl.plan.proposal import Proposal
from whisperctl.plan.values import planned, step

STEPS = ("gate", "switch", "bake", "retire")
"""The operations that make a rollout, in their order."""
SIGNS = {"create": ("+", "green"), "update": ("~", "yellow"), "replace": ("-/+", "magenta"), "delete": ("-", "red")}


def plan_text(plans: Sequence[Proposal], color: bool) -> str:
    """What differs, what is lost first, and a line of totals; stacks in which nothing differs share one line."""
    if len(plans) == 1:
        return _plan_text(plans[0], color)
    loud = [_plan_text(plan, color) for plan in most_lost_first(plans) if not is_unremarkable(plan)]
    unchanged = [unchanged_line(plans)] if len(loud) < len(plans) else []
    return "\n\n".join([*loud, *unchanged, *waves(plans), totals(plans)])


def waves(plans: Sequence[Proposal]) -> list[str]:
    """In which order an apply goes through the stacks that it changes; nothing where it takes them all at once."""
    stacks: dict[int, list[str]] = {}
    for plan in sorted(plans, key=lambda plan: (plan.wave, plan.stack)):
        if not plan.is_empty:
            stacks.setdefault(plan.wave, []).append(plan.stack)
    parts = [f"{wave}: {', '.join(names)}" for wave, names in stacks.items()]
    return [f"Waves, each after the one before has passed: {'; '.join(parts)}."] if len(parts) > 1 else []


def most_lost_first(plans: Sequence[Proposal]) -> list[Proposal]:
    """Stacks that lose something before all others."""
    return sorted(plans, key=lambda plan: min((ORDER[change.action] for change in plan.changes), default=len(ORDER)))


def is_unremarkable(plan: Proposal) -> bool:
    """Whether there is nothing to say about a stack but that it is as its file says."""
    return plan.is_empty and not (plan.is_pending or plan.warnings or plan.refused or plan.left_out)


def unchanged_line(plans: Sequence[Proposal]) -> str:
    """The stacks in which nothing differs."""
    names = [plan.stack for plan in plans if is_unremarkable(plan)]
    return f"Unchanged: {', '.join(names)}."


def totals(plans: Sequence[Proposal]) -> str:
    """What all plans do together."""
    counts = {action: sum(plan.count(action) for plan in plans) for action in ORDER}
    words = [f"{count} to {action}" for action, count in counts.items() if count] or ["no changes"]
    unchanged = sum(plan.unchanged for plan in plans)
    return f"In all {len(plans)} stacks: {', '.join(words)}, {unchanged} unchanged."


def _plan_text(plan: Proposal, color: bool) -> str:
    lines = [(click.style(plan.stack, bold=True) if color else plan.stack) + f" in project {plan.project}"]
    for change in plan.changes:
        lines += ["", *change_text(change, color)]
    lines += ["", *steps_text(plan)] if steps_text(plan) else []
    lines += [""] if plan.changes else []
    lines += [f"warning: {warning.text}" for warning in plan.warnings]
    lines += [f"refused: {remark.source}: {remark.text}" for remark in plan.refused]
    return "\n".join([*lines, *left_out_text(plan), *cost_text(plan), summary(plan)])


def left_out_text(plan: Proposal) -> list[str]:
    """What differs and is left as it is, in a line each, and what comes along with the part that was asked for."""
    lines = []
    if plan.selection:
        globs = [f"--only {glob}" for glob in plan.selection.only]
        globs += [f"--exclude {glob}" for glob in plan.selection.exclude]
        names = f": {', '.join(map(str, plan.left_out))}" if plan.left_out else ""
        lines.append(f"{_counted(len(plan.left_out))} left out ({' '.join(globs)}){names}.")
    if plan.along:
        lines.append(f"Comes along, since the rest needs it: {', '.join(map(str, plan.along))}.")
    if plan.ignored:
        names = ", ".join(f"{address} {path}" for address, path in plan.ignored)
        lines.append(f"{len(plan.ignored)} ignored (ignore_changes): {names}.")
    return lines


def _counted(changes: int) -> str:
    return f"{changes or 'No'} change{'' if changes == 1 else 's'}"


def change_text(change: Change, color: bool) -> Iterator[str]:
    """One change: where, why, every field, and what follows."""
    sign, name = SIGNS[change.action]
    head = f"{sign:>3} {change.address}"
    yield click.style(head, fg=name, bold=True) if color else head
    yield f"      {reason_text(change) if change.action != 'create' else change.source}"
    fields = (*change.fields, *change.contents)
    width = max((len(field.path) for field in fields), default=0)
    for field in fields:
        if change.action == "create":
            yield f"      {field.path:<{width}} = {planned(field)}"
        else:
            yield f"      {field.path:<{width}} : {step(field)}"
    yield f"      => {change.effect}"


def reason_text(change: Change) -> str:
    """The reason with its place, unless it names that itself; of what left the file no line can be named."""
    named = change.source.rpartition(":")[0] if change.action == "delete" else change.source
    return change.reason if named and named in change.reason else f"{change.reason} ({change.source})"


def steps_text(plan: Proposal) -> list[str]:
    """The rollout of a new version as the steps that it takes, each with its effect and how long it is expected to."""
    steps = [operation for operation in plan.operations if operation.kind in STEPS]
    if not any(operation.kind in ("gate", "switch") for operation in steps):
        return []
    return ["Rollout:", *(f"  {operation.kind:<6} {operation.effect}{_time(operation)}" for operation in steps)]


def _time(operation: Operation) -> str:
    if operation.seconds is not None:
        return f" ({duration_in_words(operation.seconds)})"
    return " (no start was measured yet)" if operation.kind == "gate" else ""


def summary(plan: Proposal) -> str:
    """One line: how many of what."""
    if plan.changes:
        words = [f"{plan.count(action)} to {action}" for action in ORDER if plan.count(action)]
        return f"Plan: {', '.join(words)}, {plan.unchanged} unchanged."
    if plan.destroy:
        return "Nothing to destroy."
    if plan.is_pending:
        return (
            f"No changes ({plan.unchanged} resources match), but the last apply did not finish its proof: "
            "apply goes on with it."
        )
    if plan.left_out:
        return "No changes in what is asked for."
    matching = f"No changes: {plan.unchanged} resources match."
    return matching if plan.is_empty else f"{matching} Apply only records the stack file as it is now."


def cost_text(plan: Proposal) -> list[str]:
    """What the stack costs before and after, in a line, where the plan changes that; and how a rollout fits beside."""
    cost = plan.cost
    if cost is None:
        return []
    lines = []
    if (cost.minimum.before, cost.maximum.before) != (cost.minimum.after, cost.maximum.after):
        before, after = (
            f"{_credits(at_least)} to {_credits(at_most)}"
            for at_least, at_most in (
                (cost.minimum.before, cost.maximum.before),
                (cost.minimum.after, cost.maximum.after),
            )
        )
        lines.append(f"Credits per hour, at minimum and maximum instances: {before} -> {after}.")
    if cost.surge != "none":
        reason = f" ({cost.surge_reason})" if cost.surge_reason else ""
        lines.append(f"Instances beside those that serve, for the rollout: {cost.surge}{reason}.")
    return lines


def _credits(value: float | None) -> str:
    return "unknown" if value is None else f"{value:g}"
