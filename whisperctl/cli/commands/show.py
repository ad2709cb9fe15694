"""`show`: what a saved plan would do."""

from __future__ import annotations

import click

from whisperctl.cli.options import PLAN_FORMAT, Settings
from whisperctl.cli.output import echo, rendered
from whisperctl.errors import EXIT_DONE


@click.command()
@click.argument("file", metavar="PLANFILE")
@PLAN_FORMAT
@click.pass_obj
def show(settings: Settings, file: str, form: str) -> int:
    """Show what a saved plan would do, as it was when it was made; also one that is stale by now.

    PLANFILE is what `whisperctl plan -o PLANFILE` wrote. Needs neither UbiOps nor the stack files.
    """
    from whisperctl.plan.saved import load

    echo(rendered(load(file).plans, form, settings), form)
    return EXIT_DONE
