"""What scale, pause and resume did, in lines; and how the live version differs from its stack file from then on."""

from __future__ import annotations

from collections.abc import Iterator

from whisperctl.apply.replacement import Replaced
from whisperctl.operate.scaling import Bounds, Paused, Scaled
from whisperctl.spec import Stack
from whisperctl.state.resources import version_address


def scaled_text(stack: Stack, scaled: Scaled) -> str:
    """Before and after, and what the next plan will say."""
    name = _name(stack)
    if scaled.before == scaled.after:
        head = f"{name} has minimum_instances {scaled.after.minimum}, maximum_instances {scaled.after.maximum} already."
    else:
        moves = [
            f"{field} {before} -> {after}"
            for field, before, after in (
                ("minimum_instances", scaled.before.minimum, scaled.after.minimum),
                ("maximum_instances", scaled.before.maximum, scaled.after.maximum),
            )
            if before != after
        ]
        head = f"{name}: {', '.join(moves)}"
    return "\n".join([head, *_differences(stack, scaled.after)])


def paused_text(stack: Stack, paused: Paused) -> str:
    """What sleeps, and how to wake it."""
    lines = [f"{_name(stack)} {'was paused already' if paused.already else 'is paused'}: minimum_instances is 0."]
    if paused.stopped:
        lines.append(f"{paused.stopped} {'instance is' if paused.stopped == 1 else 'instances are'} stopping.")
    lines.append(f"`whisperctl resume` puts minimum_instances {paused.minimum} back; until then plans leave it alone.")
    if stack.version.maximum_instances:
        lines.append("A deployment request (`whisperctl smoke`, `transcribe`) still wakes an instance for a while.")
    return "\n".join(lines)


def resumed_text(stack: Stack, bounds: Bounds | None, waits: bool = False) -> str:
    """What runs again; `waits`: whether the command waits for it."""
    if bounds is None:
        return f"{_name(stack)} is not paused: nothing to resume."
    lines = [f"{_name(stack)} is resumed: minimum_instances is {bounds.minimum}."]
    if waits:
        lines.append("Waiting until it answers.")
    elif bounds.minimum:
        lines.append("UbiOps starts it now, which takes minutes; `whisperctl status` shows when it answers.")
    else:
        lines.append("None starts by itself: the next deployment request does it (`whisperctl smoke` makes one).")
    return "\n".join([*lines, *_differences(stack, bounds)])


def restarted_text(stack: Stack, replaced: Replaced) -> str:
    """How many instances are new, and whether nothing answered meanwhile."""
    if not replaced.count:
        return f"{_name(stack)}: no instance runs, so that there is nothing to restart."
    text = f"{_name(stack)}: {replaced.count} {'instance was' if replaced.count == 1 else 'instances were'} replaced."
    return text + (f" Nothing answered for {replaced.silent_seconds:.0f} s." if replaced.silent_seconds else "")


def _name(stack: Stack) -> str:
    return str(version_address(stack.deployment.name, stack.version.name))


def _differences(stack: Stack, bounds: Bounds) -> Iterator[str]:
    declared = stack.version
    differing = [
        (field, declared, stack.source("version", field))
        for field, declared, live in (
            ("minimum_instances", declared.minimum_instances, bounds.minimum),
            ("maximum_instances", declared.maximum_instances, bounds.maximum),
        )
        if declared != live
    ]
    if differing:
        says = ", ".join(f"{field} {declared} ({place})" for field, declared, place in differing)
        yield f"The stack file says {says}: the next plan will set that back. Change the file to keep this."
