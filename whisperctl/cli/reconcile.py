"""`plan`, `apply`, `destroy`, `drift`: stack files against the live project."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from whisperctl.cli.settings import Settings
from whisperctl.cli.world import DEFAULT_PATH, explained, open_world, planned, read_stacks
from whisperctl.errors import EXIT_CHANGES_PENDING, EXIT_FAILED, EXIT_INTERRUPTED, StalePlan, WhisperctlError

if TYPE_CHECKING:
    from whisperctl.apply import Outcome
    from whisperctl.engine import World
    from whisperctl.plan import Plan

PARALLELISM = click.option(
    "--parallelism", type=click.IntRange(1, 64), default=10, show_default=True, help="Requests in flight at a time."
)
PATHS = click.argument("paths", nargs=-1, metavar="[PATH]...")


@click.command(short_help="Show what differs between the stack files and the live project.")
@PATHS
@click.option("-o", "out", metavar="FILE", help="Save the plan for `apply --plan FILE`.")
@click.option("--format", "form", type=click.Choice(["text", "json", "markdown"]), default="text", show_default=True)
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when changes are pending.")
@click.option("--destroy", is_flag=True, help="Plan what `destroy` would do.")
@PARALLELISM
@click.pass_obj
def plan(
    settings: Settings,
    paths: Sequence[str],
    out: str | None,
    form: str,
    detailed_exitcode: bool,
    destroy: bool,
    parallelism: int,
) -> int:
    """Read the live project and show what apply would change. PATH is a stack file or a directory [stack.yaml]."""
    import shlex

    from whisperctl.saved import check_target, save

    if out is not None:
        if out.startswith("ut="):  # what is left of Terraform's -out=FILE
            raise click.UsageError("No such option '-out'. Write `-o FILE`.")
        check_target(out)
    stacks = read_stacks(paths, secrets=not destroy)
    world = open_world(settings, stacks, parallelism)
    plans = planned(stacks, world, destroy)
    if out is not None:
        save(out, plans, paths or (DEFAULT_PATH,))
    click.echo(_rendered(explained(plans, world), form, settings))
    if out is not None:
        click.echo(f"Saved to {out}. Perform exactly this with\n  whisperctl apply --plan {shlex.quote(out)}", err=True)
    pending = any(entry.is_pending for entry in plans)
    return EXIT_CHANGES_PENDING if detailed_exitcode and pending else 0


def _rendered(plans: Sequence[Plan], form: str, settings: Settings) -> str:
    from whisperctl.views.plan import plan_document, plan_markdown, plan_text

    if form == "json":
        return json.dumps(plan_document(plans), indent=2, ensure_ascii=False)
    return plan_markdown(plans) if form == "markdown" else plan_text(plans, settings.use_color())


@click.command(short_help="Make the live project match the stack files, and prove that it transcribes.")
@PATHS
@click.option("--plan", "saved", metavar="FILE", help="Perform exactly this saved plan, or refuse as stale.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@PARALLELISM
@click.pass_obj
def apply(settings: Settings, paths: Sequence[str], saved: str | None, yes: bool, form: str, parallelism: int) -> int:
    """Show the plan, ask, perform it, and prove that the endpoint transcribes and that nothing differs any more."""
    if saved and paths:
        raise click.UsageError("Pass either PATH or --plan FILE, not both.")
    if saved:
        return _apply_saved(settings, saved, form, parallelism)
    return _reconcile(settings, paths, yes, form, parallelism, destroy=False)


@click.command(short_help="Delete what a stack owns, and nothing else.")
@PATHS
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@PARALLELISM
@click.pass_obj
def destroy(settings: Settings, paths: Sequence[str], yes: bool, form: str, parallelism: int) -> int:
    """Delete everything that the stacks own on UbiOps, and nothing else."""
    return _reconcile(settings, paths, yes, form, parallelism, destroy=True)


def _reconcile(
    settings: Settings, paths: Sequence[str], yes: bool, form: str, parallelism: int, *, destroy: bool
) -> int:
    stacks = read_stacks(paths, secrets=not destroy)
    world = open_world(settings, stacks, parallelism)
    plans = planned(stacks, world, destroy)
    # With JSON the one document on stdout comes at the end; people still see the plan.
    click.echo(_rendered(explained(plans, world), "text", settings), err=form == "json")
    if any(entry.is_pending for entry in plans) and not yes:
        _ask(destroy)
    return _perform(settings, plans, world, form, replan=True, yes=yes)


def _ask(destroy: bool) -> None:
    """Return if the user agrees.

    Raises:
        WhisperctlError: there is nobody to ask, or the answer is no.
    """
    if not sys.stdin.isatty():
        raise WhisperctlError("This asks before it changes anything, and there is no terminal.\n  Pass --yes.")
    question = "Destroy all of this?" if destroy else "Apply these changes?"
    if not click.confirm(question, default=False, err=True):
        raise WhisperctlError("Nothing was changed.")


def _apply_saved(settings: Settings, file: str, form: str, parallelism: int) -> int:
    from whisperctl.saved import check, load

    document = load(file)
    stacks = read_stacks(document.paths, secrets=not document.destroy)
    world = open_world(settings, stacks, parallelism)
    plans = planned(stacks, world, document.destroy)
    check(file, document, plans)
    click.echo(_rendered(explained(plans, world), "text", settings), err=form == "json")
    return _perform(settings, plans, world, form, replan=False, yes=False)


def _perform(settings: Settings, plans: Sequence[Plan], world: World, form: str, *, replan: bool, yes: bool) -> int:
    from whisperctl.cli.watching import watched
    from whisperctl.engine import apply_plans
    from whisperctl.foreign import harmless
    from whisperctl.views.outcome import not_approved_text, outcome_document, outcome_text
    from whisperctl.views.plan import plan_text

    with watched(settings, world, several=len(plans) > 1, live=form == "text") as (seen, show):

        def revised(approved: Plan, fresh: Plan) -> None:
            if not yes:
                raise StalePlan(not_approved_text(approved, fresh))
            show(plan_text([fresh], settings.use_color(sys.stderr)))

        outcomes = apply_plans(plans, seen, replan=replan, revised=revised)
    done = harmless(outcome_text(outcomes))
    try:
        if form == "json":
            click.echo(json.dumps(outcome_document(outcomes), indent=2, ensure_ascii=False))
            if not all(outcome.succeeded for outcome in outcomes):
                click.echo(done, err=True)
        elif any(outcome.results for outcome in outcomes):
            click.echo(done, err=not all(outcome.succeeded for outcome in outcomes))
            _echo_endpoints(outcomes, world)
    except OSError:
        click.echo(done, err=True)  # what was done to the project must not get lost with the output
        raise
    return _exit_code(outcomes)


def _exit_code(outcomes: Sequence[Outcome]) -> int:
    if any(outcome.interrupted for outcome in outcomes):
        return EXIT_INTERRUPTED
    return 0 if all(outcome.succeeded for outcome in outcomes) else EXIT_FAILED


def _echo_endpoints(outcomes: Sequence[Outcome], world: World) -> None:
    """Where the endpoints are."""
    for outcome in outcomes:
        stack = outcome.plan.wanted.stack
        if outcome.succeeded and not outcome.plan.destroy:
            for service in stack.services:
                click.echo(f"  {service.name}: {world.api(stack).service(service.name).get('endpoint')}")


@click.command(short_help="Show what changed on UbiOps since the last apply.")
@PATHS
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@PARALLELISM
@click.pass_obj
def drift(settings: Settings, paths: Sequence[str], form: str, parallelism: int) -> int:
    """Compare the live project with what was last applied; exit 2 when it drifted."""
    from whisperctl.cli.interrupts import interrupt_ends_waits
    from whisperctl.drift import find_drift
    from whisperctl.views.drift import drift_document, drift_text

    stacks = read_stacks(paths)
    world = open_world(settings, stacks, parallelism)
    with interrupt_ends_waits(world.clock):
        found = find_drift(stacks, world)
    if form == "json":
        click.echo(json.dumps(drift_document(found), indent=2, ensure_ascii=False))
    else:
        click.echo(drift_text(found, settings.use_color()))
    return EXIT_CHANGES_PENDING if any(entry.drifted for entry in found) else 0
