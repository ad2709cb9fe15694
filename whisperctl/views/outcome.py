"""What an apply did: a report at the end, JSON. What is shown while it runs is in `progress`, `folds` and `live`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from whisperctl.apply.outcome import OperationResult, Outcome, ResultStatus
from whisperctl.plan.document import stack_document, stacks_document
from whisperctl.plan.proposal import Proposal, new_changes
from whisperctl.state.resources import Kind


def outcome_text(outcomes: Sequence[Outcome]) -> str:
    """What was done, what failed with its reason, what was not tried; one block a stack, and a line of totals."""
    blocks = [_outcome_text(outcome.plan, outcome) for outcome in outcomes]
    return "\n".join([*blocks, *([_totals(outcomes)] if len(outcomes) > 1 else [])])


def _totals(outcomes: Sequence[Outcome]) -> str:
    succeeded = sum(outcome.succeeded for outcome in outcomes)
    begun = sum(any(result.status != "not tried" for result in outcome.results) for outcome in outcomes)
    idle = sum(outcome.succeeded and not outcome.results for outcome in outcomes)
    failed = len(outcomes) - succeeded
    not_begun = len(outcomes) - begun - idle
    words = [f"{succeeded} succeeded", *([f"{failed} did not"] if failed else [])]
    return f"In all {len(outcomes)} stacks: {', '.join(words)}" + (
        f", {not_begun} of them not begun." if not_begun else "."
    )


def _outcome_text(plan: Proposal, outcome: Outcome) -> str:
    if outcome.succeeded:
        what = "Destroyed" if plan.destroy else "Applied"
        counts = ", ".join(
            f"{plan.count(action)} {word}"  # type: ignore[arg-type]
            for action, word in (
                ("create", "created"),
                ("update", "updated"),
                ("replace", "replaced"),
                ("delete", "deleted"),
            )
            if plan.count(action)  # type: ignore[arg-type]
        )
        if not outcome.results:
            return f"{outcome.stack}: nothing to do."
        what_was_asked = "Nothing that was asked for" if plan.selection else "Nothing"
        proof = "" if plan.destroy else f" {what_was_asked} differs any more."
        shown = f"\n  {outcome.proved}" if outcome.proved else ""
        return f"{what} {outcome.stack}" + (f": {counts}." if counts else ".") + proof + _stale(outcome) + shown
    return "\n".join(_failure_lines(plan, outcome))


def _stale(outcome: Outcome) -> str:
    """How many instances run on with the old value of an env var."""
    count = outcome.stale_instances
    if not count:
        return ""
    if count == 1:
        what = "1 running instance still has the old value of a changed env var"
    else:
        what = f"{count} running instances still have the old value of a changed env var"
    return f" {what}: `whisperctl restart` replaces {'it' if count == 1 else 'them'}."


def _failure_lines(plan: Proposal, outcome: Outcome) -> list[str]:
    if outcome.error and all(result.status == "not tried" for result in outcome.results):
        return [f"{outcome.stack}: nothing was changed.", *(f"  {line}" for line in outcome.error.splitlines())]
    lines = [f"{outcome.stack}: {'interrupted' if outcome.interrupted else 'not finished'}."]
    for status in _STATUSES:
        lines += _results_lines(status, [result for result in outcome.results if result.status == status])
    if outcome.remaining:
        lines.append(f"  Everything was done, yet these still differ: {', '.join(outcome.remaining)}")
        lines.append("    `whisperctl plan` shows how; if it stays, something else changes them.")
    lines += [f"  {line}" for line in outcome.error.splitlines()]
    if building := [str(result.operation.address) for result in outcome.results if _still_builds(result)]:
        lines.append(f"  Still building on UbiOps: {', '.join(building)}")
    again = f"{'' if outcome.interrupted else 'mend the cause and '}{'destroy' if plan.destroy else 'apply'} again"
    lines.append(f"  What was done stays done: {again} to finish.")
    return lines


_STATUSES: tuple[ResultStatus, ...] = ("done", "failed", "interrupted", "not tried")


def _results_lines(status: ResultStatus, results: Sequence[OperationResult]) -> list[str]:
    """The operations that ended so below a title, failed ones with their errors; nothing where none did."""
    lines = [f"  {status.capitalize()}:"] if results else []
    for result in results:
        lines.append(f"    {result.operation.kind} {result.operation.address}")
        lines += [f"      {line}" for line in result.error.splitlines()] if status == "failed" else []
    return lines


def _still_builds(result: OperationResult) -> bool:
    """Whether UbiOps goes on with a build that nobody waits for any more."""
    builds = result.operation.address.kind in (Kind.ENVIRONMENT_TAG, Kind.PACKAGE)
    return builds and result.status == "interrupted" and bool(result.seconds)


def not_approved_text(approved: Proposal, fresh: Proposal) -> str:
    """Why a plan is not performed that does more than the one that was agreed to."""
    again = "destroy" if approved.destroy else "apply"
    changes = ", ".join(f"{change.action} {change.address}" for change in new_changes(approved, fresh))
    head = "Another apply changed the stack while this one waited: this is no longer what you agreed to."
    return f"{head}\n  New or different: {changes}\n  Run {again} again to see the new plan."


def outcome_document(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The document of `apply --format json`; schemas/apply.schema.json describes it."""
    return stacks_document([_stack_document(outcome) for outcome in outcomes])


def _stack_document(outcome: Outcome) -> dict[str, Any]:
    """The plan with each operation's outcome and seconds."""
    document = stack_document(outcome.plan)
    results = {result.operation.id: result for result in outcome.results}
    for operation in document["operations"]:
        result = results.get(operation["id"])
        operation["outcome"] = result.status if result else "not tried"
        operation["seconds"] = result.seconds if result else 0.0
        if result and result.error:
            operation["error"] = result.error
    document["outcome"] = "succeeded" if outcome.succeeded else "interrupted" if outcome.interrupted else "failed"
    document["remaining"] = _remaining(outcome)
    document["stale_instances"] = outcome.stale_instances
    if outcome.proved:
        document["proved"] = outcome.proved
    if outcome.error:
        document["error"] = outcome.error
    return document


def _remaining(outcome: Outcome) -> list[str]:
    """The addresses that there is still something to do about: nothing was done, or it did not help."""
    left = [str(result.operation.address) for result in outcome.results if result.status != "done"]
    return list(dict.fromkeys([*outcome.remaining, *left]))
