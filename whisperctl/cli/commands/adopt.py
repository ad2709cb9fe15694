"""`adopt`: take over existing objects."""

from __future__ import annotations

import click

from whisperctl.cli.inputs import open_world, planned, read_stack
from whisperctl.cli.options import Settings
from whisperctl.cli.output import echo
from whisperctl.cli.prompts import confirm, to_stderr
from whisperctl.errors import EXIT_DONE


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

    stack = read_stack(path, secrets=True, warn=True)
    world = open_world(settings, [stack])
    api = world.api(stack)
    plan = adoption.plan_adoption(api, stack)
    echo(adoption_text(plan, api.project))
    if plan.takeovers:
        confirm("Take them over?", yes)
        adoption.adopt(api, plan, world.clock, to_stderr)
        click.echo("\nDone. What remains to be applied:\n")
    echo(plan_text(planned([stack], world), settings.use_color()))
    return EXIT_DONE
