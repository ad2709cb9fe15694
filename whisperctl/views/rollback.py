"""What a rollback will do and has done, in lines."""

from __future__ import annotations

from whisperctl.operate.history import Revision
from whisperctl.operate.line_rollback import LineRollback
from whisperctl.operate.rollback import Rollback
from whisperctl.spec import Stack
from whisperctl.state.resources import version_address
from whisperctl.views.history import moment


def rollback_text(rollback: Rollback) -> str:
    """What will change and what will not."""
    stack = rollback.stack
    lines = [f"{version_address(stack.deployment.name, stack.version.name)} goes back to an earlier revision:"]
    lines.append(f"  from      {_revision(rollback.active)}")
    lines.append(f"  to        {_revision(rollback.target)}")
    lines.append("            its package is uploaded again, as a new revision; instances are replaced")
    if rollback.tag_before != rollback.tag_after:
        lines.append(f"  environment_tag {rollback.tag_before} -> {rollback.tag_after}")
    else:
        lines.append(f"  environment_tag stays {rollback.tag_before}")
    lines.append("Env vars, labels, scaling and services stay as they are now.")
    if rollback.paused:
        lines.append("The stack is paused and stays asleep: the endpoint is not tried.")
    return "\n".join(lines)


def _revision(revision: Revision | None) -> str:
    if revision is None:
        return "no active revision"
    digest = f", package {revision.digest[:12]}" if revision.digest else ""
    commit = f", commit {revision.commit[:12]}" if revision.commit else ""
    return f"{revision.id} (of {moment(revision.created)} by {revision.created_by}{digest}{commit})"


def rolled_back_text(rollback: Rollback, revision: str) -> str:
    """What is there now, and what the stack file has to do with it."""
    proof = "the endpoint was not tried, the stack is paused" if rollback.paused else "the endpoint answers"
    return (
        f"Rolled back {rollback.stack.name}: revision {revision} has the package of {rollback.target.id}; {proof}.\n"
        f"Env vars were left as they are. {rollback.stack.file} still declares what was rolled back: the next plan\n"
        "shows the difference, and an apply would undo this. Put the file back in Git, too."
    )


def line_rollback_text(stack: Stack, rollback: LineRollback) -> str:
    """What a rollback along a line will do."""
    target = rollback.target
    made = ", ".join(part for part in (target.model, target.vllm and f"vLLM {target.vllm}") if part)
    services = ", ".join(service.name for service in stack.services) or "the default version"
    lines = [
        f"{stack.name}: {rollback.serving} gives way to {target.name}{f' ({made})' if made else ''}.",
        f"  {target.name} is woken and passes its gate; then {services} leads to it, and {rollback.serving} sleeps.",
        "  Nothing is uploaded or built; its env vars come back with it. The stack file stays as it is.",
    ]
    if rollback.plan.desired.paused is not None:
        lines.append(f"  The stack is paused: {target.name} sleeps, too, until `whisperctl resume`.")
    return "\n".join(lines)


def rolled_back_along_text(stack: Stack, rollback: LineRollback) -> str:
    """Which version serves after a rollback of a line, which sleeps, and what the next plan shows."""
    return (
        f"{rollback.target.name} serves; {rollback.serving} sleeps.\n"
        f"  The next `whisperctl plan {stack.file}` shows how the stack file differs."
    )
