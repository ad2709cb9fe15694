"""`usage`: credits, requests and hours, day by day."""

from __future__ import annotations

from collections.abc import Sequence

import click

from whisperctl.cli.inputs import open_api, read_stacks
from whisperctl.cli.options import PARALLELISM, PATHS, Settings, terminal_columns
from whisperctl.cli.output import echo
from whisperctl.cli.parameters import Since
from whisperctl.errors import EXIT_DONE
from whisperctl.output import json_text


@click.command(short_help="Show credits, requests, instance hours and audio hours, day by day.")
@PATHS
@click.option("--since", type=Since(), default="7d", show_default=True, metavar="AGE|DATE", help="From when on.")
@click.option("--format", "form", type=click.Choice(["text", "json", "csv"]), default="text", show_default=True)
@PARALLELISM
@click.pass_obj
def usage(settings: Settings, paths: Sequence[str], since: float, form: str, parallelism: int) -> int:
    """Show what each stack used: credits, requests, failed ones, instance hours, audio hours, for each day (UTC).

    PATH is a stack file or a directory [stack.yaml]. From UbiOps' time series; audio hours from the stored answers
    where request_retention_mode is `full`, and what an hour of audio cost. 7d is today and the six days before it.
    """
    from whisperctl.cli.signals import interrupt_ends_waits
    from whisperctl.clock import StoppableClock
    from whisperctl.operate.usage import read_usages
    from whisperctl.views.usage import usage_csv, usage_document, usage_text

    stacks = read_stacks(paths, secrets=False, warn=False)
    clock = StoppableClock()
    with interrupt_ends_waits(clock):
        opened = ((open_api(settings, stack, parallelism, clock), stack) for stack in stacks)
        usages = read_usages(opened, since, clock, parallelism)
    match form:
        case "json":
            click.echo(json_text(usage_document(usages)))
        case "csv":
            click.echo(usage_csv(usages))
        case _:
            echo(usage_text(usages, settings.use_color(), terminal_columns()))
    return EXIT_DONE
