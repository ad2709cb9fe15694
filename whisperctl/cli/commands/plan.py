"""`plan`: what differs between stack files and the live project."""

from __future__ import annotations

from collections.abc import Sequence

import click

from whisperctl.cli.inputs import explained, open_world, planned, read_stacks
from whisperctl.cli.options import DEFAULT_PATH, PARALLELISM, PATHS, Settings
from whisperctl.cli.reconcile import rendered
from whisperctl.errors import EXIT_CHANGES_PENDING


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

    from whisperctl.plan.saved import check_target, save

    if out is not None:
        if out.startswith("ut="):  # what is left of Terraform's -out=FILE
            raise click.UsageError("No such option '-out'. Write `-o FILE`.")
        check_target(out)
    stacks = read_stacks(paths, secrets=not destroy)
    world = open_world(settings, stacks, parallelism)
    plans = planned(stacks, world, destroy)
    if out is not None:
        save(out, plans, paths or (DEFAULT_PATH,))
    click.echo(rendered(explained(plans, world), form, settings))
    if out is not None:
        click.echo(f"Saved to {out}. Perform exactly this with\n  whisperctl apply --plan {shlex.quote(out)}", err=True)
    pending = any(entry.is_pending for entry in plans)
    return EXIT_CHANGES_PENDING if detailed_exitcode and pending else 0
