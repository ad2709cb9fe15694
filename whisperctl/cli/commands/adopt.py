"""`adopt`: take over existing objects."""

from __future__ import annotations

import click

from whisperctl.cli.inputs import open_world, planned, read_stacks
from whisperctl.cli.options import Settings
from whisperctl.cli.prompts import confirm
from whisperctl.errors import EXIT_DONE, WhisperctlError


@click.command()
@click.argument("path")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def adopt(settings: Settings, path: str, yes: bool) -> int:
    """Take over existing objects that nobody owns and that have the names in the stack file.

    Shows first what that means, asks, writes ownership labels and nothing else, and ends with the plan that remains.
    """
    from whisperctl.operate import adoption
    from whisperctl.views.adoption import adoption_text
    from whisperctl.views.plan import plan_text

    stacks = read_stacks([path])
    if len(stacks) != 1:
        raise WhisperctlError(f"{path} must hold exactly one stack; found {len(stacks)}.")
    world = open_world(settings, stacks)
    api = world.api(stacks[0])
    wanted = adoption.plan_adoption(api, stacks[0])
    click.echo(adoption_text(wanted, api.project))
    if wanted.takeovers:
        confirm("Take them over?", yes)
        adoption.adopt(api, wanted, world.clock, lambda line: click.echo(line, err=True))
        click.echo("\nDone. What remains to be applied:\n")
    click.echo(plan_text(planned(stacks, world), settings.use_color()))
    return EXIT_DONE
