"""Plans as Markdown for a comment on a change request: what is lost first, cut to what GitHub takes.

A cut leaves out creations first, then updates, and counts them; a deletion or a replacement is never left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from whisperctl.plan.proposal import Proposal
from whisperctl.views.plan import (
    change_text,
    cost_text,
    is_unremarkable,
    left_out_text,
    most_lost_first,
    steps_text,
    summary,
    totals,
    unchanged_line,
    waves,
)

LIMIT = 65_000
"""GitHub refuses a comment of more than 65,535 characters."""
ROOM_FOR_NOTES = 400
"""Characters kept for what a cut says about itself."""
LOSSES = frozenset({"delete", "replace"})


def plan_markdown(plans: Sequence[Proposal]) -> str:
    """A line of totals, a section a stack with its details folded, the unchanged stacks in one line."""
    loud = [plan for plan in most_lost_first(plans) if len(plans) == 1 or not is_unremarkable(plan)]
    before = ["\n\n".join([totals(plans), *waves(plans)])] if len(plans) > 1 else []
    after = [unchanged_line(plans)] if len(loud) < len(plans) else []
    text = "\n\n".join([*before, *(_section(plan) for plan in loud), *after])
    return text if len(text) <= LIMIT else _cut(loud, before, after)


def _cut(plans: Sequence[Proposal], before: Sequence[str], after: Sequence[str]) -> str:
    """Every loss of every stack, then as much of the rest as fits."""
    least = [_section(_without(plan, "create", "update")) if _loses(plan) else "" for plan in plans]
    room = LIMIT - ROOM_FOR_NOTES - sum(len(part) + 2 for part in (*before, *least, *after))
    parts, left_out, hidden = list(least), Counter[str](), 0
    for position, plan in enumerate(plans):
        for shown in (plan, _without(plan, "create"), _without(plan, "create", "update")):
            part = _section(shown)
            if len(part) - len(least[position]) <= room:
                room -= len(part) - len(least[position])
                parts[position] = part
                break
        else:
            shown, hidden = _without(plan, "create", "update"), hidden + (not least[position])
        left_out.update(_actions(plan) - _actions(shown))
    notes = [f"{left_out[action]} to {action}" for action in ("create", "update") if left_out[action]]
    stacks = f", {hidden} stacks altogether" if hidden else ""
    note = (
        f"_Left out, since it does not fit into a comment: {', '.join(notes)}{stacks}. The job's own output has all._"
    )
    return "\n\n".join([*before, *filter(None, parts), *after, note])


def _loses(plan: Proposal) -> bool:
    return any(change.action in LOSSES for change in plan.changes) or bool(plan.refused)


def _actions(plan: Proposal) -> Counter[str]:
    return Counter(change.action for change in plan.changes)


def _without(plan: Proposal, *actions: str) -> Proposal:
    return replace(plan, changes=tuple(change for change in plan.changes if change.action not in actions))


def _section(plan: Proposal) -> str:
    icon = "🟰" if not plan.is_pending else "🗑️" if plan.destroy else "📝"
    lines = [f"### {icon} `{plan.stack}` in project `{plan.project}`\n\n{summary(plan)}"]
    lines += [quoted(f"⚠️ {remark.source}: {remark.text}") for remark in (*plan.file_warnings, *plan.warnings)]
    lines += [quoted(f"⛔ `apply` refuses this: {remark.source}: {remark.text}") for remark in plan.refused]
    lines += [quoted(line) for line in (*left_out_text(plan), *cost_text(plan))]
    if steps := steps_text(plan):
        lines.append("\n".join([steps[0], "", "```", *(line.strip() for line in steps[1:]), "```"]))
    if plan.changes:
        body = "\n".join(line for change in plan.changes for line in change_text(change, color=False))
        lines.append(f"<details><summary>Changes</summary>\n\n{fenced(body)}\n\n</details>")
    return "\n\n".join(lines)


def fenced(body: str) -> str:
    """Changes as a block that colours them, whose fence no backticks in the text can end."""
    fence = "`" * (1 + max(3, *(len(run) for run in _backticks(body))))
    return f"{fence}diff\n{_as_diff(body)}\n{fence}"


def quoted(text: str) -> str:
    """A block quote."""
    return "\n".join(f"> {line.strip()}" for line in text.splitlines())


def _backticks(text: str) -> Iterable[str]:
    return [*re.findall(r"`+", text), ""]


def _as_diff(body: str) -> str:
    """The signs at the line's start, where a diff block colours them."""
    signs = {"  + ": "+ ", "  ~ ": "! ", "-/+ ": "! ", "  - ": "- "}
    return "\n".join(signs.get(line[:4], line[:4]) + line[4:] for line in body.splitlines())
