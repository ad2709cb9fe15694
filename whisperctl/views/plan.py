"""A plan as people and programs read it: text, JSON (its document), Markdown for a change request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from whisperctl.plan.changes import Change
from whisperctl.plan.proposal import Proposal
from whisperctl.plan.values import planned, step

MARKDOWN_LIMIT = 65_000
"""GitHub refuses a comment of more than 65,535 characters."""
SIGNS = {"create": ("+", "green"), "update": ("~", "yellow"), "replace": ("-/+", "magenta"), "delete": ("-", "red")}


def plan_text(plans: Sequence[Proposal], color: bool) -> str:
    """What differs, and one summary line a stack."""
    return "\n\n".join(_plan_text(plan, color) for plan in plans)


def _plan_text(plan: Proposal, color: bool) -> str:
    lines = [(click.style(plan.stack, bold=True) if color else plan.stack) + f" in project {plan.project}"]
    for change in plan.changes:
        lines += ["", *_change_text(change, color)]
    lines += [""] if plan.changes else []
    lines += [f"warning: {warning.text}" for warning in plan.warnings]
    lines += [f"refused: {remark.source}: {remark.text}" for remark in plan.refused]
    return "\n".join([*lines, *cost_text(plan), summary(plan)])


def _change_text(change: Change, color: bool) -> Iterator[str]:
    sign, name = SIGNS[change.action]
    head = f"{sign:>3} {change.address}"
    yield click.style(head, fg=name, bold=True) if color else head
    told = change.source in change.reason
    reason = change.reason if told else f"{change.reason} ({change.source})"
    yield f"      {reason if change.action != 'create' else change.source}"
    fields = (*change.fields, *change.contents)
    width = max((len(field.path) for field in fields), default=0)
    for field in fields:
        if change.action == "create":
            yield f"      {field.path:<{width}} = {planned(field)}"
        else:
            yield f"      {field.path:<{width}} : {step(field)}"
    yield f"      => {change.effect}"


def summary(plan: Proposal) -> str:
    """One line: how many of what."""
    if plan.changes:
        words = [f"{plan.count(a)} to {a}" for a in ("create", "update", "replace", "delete") if plan.count(a)]
        return f"Plan: {', '.join(words)}, {plan.unchanged} unchanged."
    if plan.destroy:
        return "Nothing to destroy."
    if plan.is_pending:
        return (
            f"No changes ({plan.unchanged} resources match), but the last apply did not finish its proof: "
            "apply goes on with it."
        )
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


def plan_markdown(plans: Sequence[Proposal]) -> str:
    """For a comment: a line a stack, details folded; cut to what GitHub takes, saying so."""
    parts = [_markdown(plan) for plan in plans]
    text = "\n\n".join(parts)
    if len(text) <= MARKDOWN_LIMIT:
        return text
    heads = [_markdown_head(plan) for plan in plans]
    note = "\n\n_The details do not fit into a comment: see the job's own output._"
    kept = ""
    for part, head in zip(parts, heads, strict=True):
        piece = part if len(kept) + len(part) + sum(map(len, heads)) < MARKDOWN_LIMIT else head
        if len(kept) + len(piece) + len(note) + 2 > MARKDOWN_LIMIT:
            break
        kept += piece + "\n\n"
    return kept.rstrip() + note


def _markdown_head(plan: Proposal) -> str:
    icon = "🟰" if not plan.is_pending else "🗑️" if plan.destroy else "📝"
    return f"### {icon} `{plan.stack}` in project `{plan.project}`\n\n{summary(plan)}"


def _markdown(plan: Proposal) -> str:
    lines = [_markdown_head(plan)]
    lines += [_quoted(f"⚠️ {remark.source}: {remark.text}") for remark in (*plan.file_warnings, *plan.warnings)]
    lines += [_quoted(f"⛔ `apply` refuses this: {remark.source}: {remark.text}") for remark in plan.refused]
    lines += [_quoted(line) for line in cost_text(plan)]
    if plan.changes:
        body = "\n".join(line for change in plan.changes for line in _change_text(change, color=False))
        fence = "`" * (1 + max(3, *(len(run) for run in _backticks(body))))
        lines.append(f"<details><summary>Changes</summary>\n\n{fence}diff\n{_as_diff(body)}\n{fence}\n\n</details>")
    return "\n\n".join(lines)


def _quoted(text: str) -> str:
    return "\n".join(f"> {line.strip()}" for line in text.splitlines())


def _backticks(text: str) -> list[str]:
    import re

    return [*re.findall(r"`+", text), ""]


def _as_diff(body: str) -> str:
    """The signs at the line's start, where a diff block colours them."""
    signs = {"  + ": "+ ", "  ~ ": "! ", "-/+ ": "! ", "  - ": "- "}
    return "\n".join(signs.get(line[:4], line[:4]) + line[4:] for line in body.splitlines())
