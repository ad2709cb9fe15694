"""`drift`: what changed on UbiOps since the last apply."""

from __future__ import annotations

from collections.abc import Sequence

import click

from whisperctl.cli.inputs import check_globs, open_world, paths_or_default, read_stacks
from whisperctl.cli.options import EXCLUDE, ONLY, PARALLELISM, PATHS, PLAN_FORMAT, Settings
from whisperctl.cli.output import echo
from whisperctl.errors import EXIT_CHANGES_PENDING
from whisperctl.output import json_text


@click.command(short_help="Show what changed on UbiOps since the last apply.")
@PATHS
@PLAN_FORMAT
@click.option("--write", is_flag=True, help="Write live values into the stack files, where they are plain values.")
@ONLY
@EXCLUDE
@PARALLELISM
@click.pass_obj
def drift(
    settings: Settings,
    paths: Sequence[str],
    form: str,
    write: bool,
    only: tuple[str, ...],
    exclude: tuple[str, ...],
    parallelism: int,
) -> int:
    """Compare the live project with what was last applied, as `applied -> live`; exit 2 when it drifted.

    Who changed an object last, and when, is read in the audit trail of its deployment.
    """
    from whisperctl.cli.signals import interrupt_ends_waits
    from whisperctl.operate.drift import find_drift
    from whisperctl.operate.drift_write import write_drift
    from whisperctl.plan.selection import Selection
    from whisperctl.views.drift import drift_document, drift_markdown, drift_text
    from whisperctl.views.drift_write import written_text

    stacks = read_stacks(paths_or_default(paths))
    world = open_world(settings, stacks, parallelism, selection=Selection(only=only, exclude=exclude))
    with interrupt_ends_waits(world.clock):
        drifts = find_drift(stacks, world)
    check_globs(world, [entry.plan for entry in drifts])
    if form == "json":
        click.echo(json_text(drift_document(drifts)))
    elif form == "markdown":
        click.echo(drift_markdown(drifts))
    else:
        echo(drift_text(drifts, settings.use_color()))
    if write:
        echo(written_text(write_drift(drifts)), err=True)
    return EXIT_CHANGES_PENDING if any(entry.drifted for entry in drifts) else 0
