"""`status`: resources, revision, instances, endpoint, health."""

from __future__ import annotations

import click

from whisperctl.cli.inputs import open_to_look, read_stacks
from whisperctl.cli.options import Settings
from whisperctl.errors import EXIT_DONE
from whisperctl.output import json_text


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def status(settings: Settings, paths: tuple[str, ...], form: str) -> int:
    """Show what is there: resources, revision, instances and why they wait, endpoint, health, credits per hour.

    PATH is a stack file or a directory [stack.yaml]. Exit 0 whatever the state is; `plan` tells what differs.
    """
    from whisperctl.cli.signals import interrupt_ends_waits
    from whisperctl.clock import StoppableClock
    from whisperctl.operate.status import read_status
    from whisperctl.views.status import status_document, status_text

    stacks = read_stacks(paths, secrets=False, warn=False)
    clock = StoppableClock()
    with interrupt_ends_waits(clock):
        found = [read_status(open_to_look(settings, stack, clock), stack) for stack in stacks]
    if form == "json":
        click.echo(json_text(status_document(found)))
    else:
        click.echo(status_text(found, settings.use_color()))
    return EXIT_DONE
