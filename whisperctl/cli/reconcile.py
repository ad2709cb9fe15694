"""`plan`, `apply`, `destroy`, `drift`: stack files against the live project."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

import click

from whisperctl.cli.inputs import open_world, planned, read_stacks
from whisperctl.cli.options import Settings
from whisperctl.cli.output import as_json, echo, rendered
from whisperctl.cli.prompts import confirm
from whisperctl.errors import EXIT_FAILED, EXIT_INTERRUPTED, StalePlan

if TYPE_CHECKING:
    from whisperctl.apply.outcome import Outcome
    from whisperctl.engine import World
    from whisperctl.plan.plan import Plan


class ApplyOptions(TypedDict):
    """Options of `apply` that `destroy` has not, under the names of their parameters; `reconcile` describes them."""

    max_credits: float | None
    max_failures: int
    only: tuple[str, ...]
    exclude: tuple[str, ...]
    allow_delete: bool


def reconcile(
    settings: Settings,
    paths: Sequence[str],
    yes: bool,
    form: str,
    parallelism: int,
    *,
    destroy: bool,
    max_credits: float | None = None,
    allow_delete: bool = False,
    max_failures: int = 0,
    only: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
) -> int:
    """Plan, show, ask and perform: what `apply` without a saved plan and `destroy` have in common.

    Args:
        settings: the global flags.
        paths: stack files and folders.
        yes: whether nobody is asked.
        form: `text`, or `json`: then the plan goes to stderr, and stdout gets the one document at the end.
        parallelism: requests in flight.
        destroy: delete what the stacks own, rather than make it what the files say.
        max_credits: an hour; a plan above it is refused.
        allow_delete: take over a stack that was applied from another file.
        max_failures: stacks of earlier waves that may have failed when the next wave begins.
        only: globs of the addresses that are asked for; none asks for all.
        exclude: globs of those that are not.

    Returns:
        The exit code.

    Raises:
        WhisperctlError: a file is wrong, a plan is refused, UbiOps cannot be read, or who was asked said no.
    """
    from whisperctl.plan.refusals import refuse
    from whisperctl.plan.selection import Selection

    stacks = read_stacks(paths, secrets=not destroy)
    selection = Selection(only=only, exclude=exclude)
    world = open_world(settings, stacks, parallelism, max_credits, allow_delete, max_failures, selection)
    plans = planned(stacks, world, destroy)
    # With JSON the one document on stdout comes at the end; people still see the plan.
    echo(rendered(plans, "text", settings), err=form == "json")
    refuse(plans)
    if any(entry.is_pending for entry in plans):
        confirm("Destroy all of this?" if destroy else "Apply these changes?", yes)
    return perform(settings, plans, world, form, replan=True, yes=yes)


def perform(settings: Settings, plans: Sequence[Plan], world: World, form: str, *, replan: bool, yes: bool) -> int:
    """Perform plans that were agreed to, show progress and outcome, and return the exit code.

    Args:
        settings: the global flags.
        plans: what to do, of one stack each.
        world: the control planes that they were made with.
        form: `text` or `json`, of the outcome.
        replan: whether a stack that another command has changed meanwhile is planned again; a saved plan is not.
        yes: whether what such a plan changes beyond the first is only shown, and not refused.

    Raises:
        Refused: one of the plans may not be performed; nothing was done.
        OSError: the outcome cannot be written; it is told on stderr then.
    """
    from whisperctl.cli.watching import watched
    from whisperctl.engine import apply_plans
    from whisperctl.views.outcome import not_approved_text, outcome_document, outcome_text
    from whisperctl.views.plan import plan_text

    with watched(settings, world, several=len(plans) > 1, live=form == "text") as (seen, show):

        def revised(approved: Plan, fresh: Plan) -> None:
            if not yes:
                raise StalePlan(not_approved_text(approved, fresh))
            show(plan_text([fresh], settings.use_color(sys.stderr)))

        outcomes = apply_plans(plans, seen, replan=replan, revised=revised)
    done = outcome_text(outcomes)
    try:
        if form == "json":
            click.echo(as_json(outcome_document(outcomes)))
            if not all(outcome.succeeded for outcome in outcomes):
                echo(done, err=True)
        elif any(outcome.results for outcome in outcomes):
            echo(done, err=not all(outcome.succeeded for outcome in outcomes))
            _echo_endpoints(outcomes, world)
    except OSError:
        echo(done, err=True)  # what was done to the project must not get lost with the output
        raise
    return _exit_code(outcomes)


def _exit_code(outcomes: Sequence[Outcome]) -> int:
    if any(outcome.interrupted for outcome in outcomes):
        return EXIT_INTERRUPTED
    return 0 if all(outcome.succeeded for outcome in outcomes) else EXIT_FAILED


def _echo_endpoints(outcomes: Sequence[Outcome], world: World) -> None:
    """Where the endpoints are."""
    from whisperctl.state.resources import service_address

    for outcome in outcomes:
        stack = outcome.plan.desired.stack
        if outcome.succeeded and not outcome.plan.destroy:
            there = (s for s in stack.services if service_address(s.name) not in outcome.plan.absent)
            for service in there:
                echo(f"  {service.name}: {world.api(stack).service(service.name).get('endpoint')}")
