"""`list`: every stack of the project, from the labels of its objects."""

from __future__ import annotations

from collections.abc import Sequence

import click

from whisperctl.cli.inputs import by_project, open_api, read_stacks
from whisperctl.cli.options import PARALLELISM, PATHS, Settings, terminal_columns
from whisperctl.cli.output import as_json, echo
from whisperctl.errors import EXIT_DONE


@click.command(short_help="List every stack of the project: state, cost, origin; orphans and leaks.")
@PATHS
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@PARALLELISM
@click.pass_obj
def list(settings: Settings, paths: Sequence[str], form: str, parallelism: int) -> int:  # noqa: A001 - the command's name
    """List every stack of the project, as the labels of its objects tell: no stack file is needed.

    With PATHs (stack files or directories) the projects are theirs, and a stack that none of them declares is told as
    an orphan. What costs and serves nobody is told as a leak. Exit 0 whatever there is.
    """
    from whisperctl.cli.signals import interrupt_ends_waits
    from whisperctl.clock import StoppableClock
    from whisperctl.operate.inventory import read_inventory
    from whisperctl.views.listing import inventory_document, inventory_text

    projects = by_project(settings, read_stacks(paths, secrets=False, warn=False) if paths else ())
    clock, entries = StoppableClock(), []
    with interrupt_ends_waits(clock):
        for stacks in projects.values():
            api = open_api(settings, stacks[-1] if stacks else None, parallelism, clock)
            declared = {stack.name for stack in stacks} if stacks else None
            entries += read_inventory(api, declared, parallelism)
    if form == "json":
        click.echo(as_json(inventory_document(entries)))
    else:
        echo(inventory_text([*projects], entries, settings.use_color(), terminal_columns()))
    return EXIT_DONE
