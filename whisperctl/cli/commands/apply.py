"""`apply`: make the live project match the stack files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import click

from whisperctl.cli.inputs import open_world, planned, read_stacks
from whisperctl.cli.options import ALLOW_DELETE, EXCLUDE, ONLY, PARALLELISM, PATHS, Settings
from whisperctl.cli.output import echo, rendered
from whisperctl.cli.reconcile import ApplyOptions, perform, reconcile


@click.command(short_help="Make the live project match the stack files, and prove that it transcribes.")
@PATHS
@click.option("--plan", "saved", metavar="FILE", help="Perform exactly this saved plan, or refuse as stale.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@PARALLELISM
@click.option(
    "--max-credits", type=click.FloatRange(min=0), metavar="N", help="Refuse a stack that could cost more an hour."
)
@click.option(
    "--max-failures",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Begin the next wave (rollout.wave) also after N stacks have failed.",
)
@ONLY
@EXCLUDE
@ALLOW_DELETE
@click.pass_obj
def apply(
    settings: Settings,
    paths: Sequence[str],
    saved: str | None,
    yes: bool,
    form: str,
    parallelism: int,
    **options: Unpack[ApplyOptions],
) -> int:
    """Show the plan, ask, perform it, and prove that the endpoint transcribes and that nothing differs any more."""
    if saved and paths:
        raise click.UsageError("Pass either PATH or --plan FILE, not both.")
    if saved and (options["only"] or options["exclude"]):
        raise click.UsageError("A saved plan is performed as it is: pass --only and --exclude to `plan -o FILE`.")
    if saved:
        return _apply_saved(settings, saved, form, parallelism, options)
    return reconcile(settings, paths, yes, form, parallelism, destroy=False, **options)


def _apply_saved(settings: Settings, file: str, form: str, parallelism: int, options: ApplyOptions) -> int:
    from whisperctl.plan.saved import check, load, refuse_missing

    document = load(file)
    refuse_missing(file, document)
    stacks = read_stacks(document.paths, secrets=not document.destroy)
    allow_delete = options["allow_delete"] or document.allow_delete
    world = open_world(
        settings, stacks, parallelism, options["max_credits"], allow_delete, options["max_failures"], document.selection
    )
    plans = planned(stacks, world, document.destroy)
    check(file, document, plans)
    echo(rendered(plans, "text", settings), err=form == "json")
    return perform(settings, plans, world, form, replan=False, yes=False)
