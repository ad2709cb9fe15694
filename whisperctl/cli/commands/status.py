"""`status`: resources, revision, instances, endpoint, health."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from whisperctl.cli.inputs import open_to_look, paths_or_default, read_stacks
from whisperctl.cli.options import Settings
from whisperctl.cli.output import echo
from whisperctl.errors import EXIT_DONE
from whisperctl.output import json_text


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--watch", is_flag=True, help="Look again every 5 seconds, and print what has changed, until Ctrl-C.")
@click.pass_obj
def status(settings: Settings, paths: tuple[str, ...], form: str, watch: bool) -> int:
    """Show what is there: resources, revision, instances and why they wait, endpoint, health, credits per hour.

    PATH is a stack file or a directory [stack.yaml, or else this folder]. Exit 0 whatever the state is; `plan` tells
    what differs.
    """
    from whisperctl.cli.signals import interrupt_ends_waits
    from whisperctl.clock import StoppableClock
    from whisperctl.operate.status import read_statuses
    from whisperctl.views.status import status_document, status_text

    stacks = read_stacks(paths_or_default(paths), secrets=False, warn=False)
    clock = StoppableClock()
    apis = [open_to_look(settings, stack, clock) for stack in stacks]
    color, shown = settings.use_color(), None
    with interrupt_ends_waits(clock):
        for statuses in read_statuses(apis, stacks, clock, watch=watch):
            text = json_text(status_document(statuses)) if form == "json" else status_text(statuses, color)
            if shown not in (None, text):
                click.echo("" if form == "json" else f"\n{datetime.now(UTC):%Y-%m-%d %H:%M:%SZ}")
            if text != shown:
                echo(text, form)
            shown = text
    return EXIT_DONE
