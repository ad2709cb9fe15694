"""`rollback`: go back to an earlier revision."""

from __future__ import annotations

import click

from whisperctl.cli.inputs import open_world, read_stack
from whisperctl.cli.options import PATH, Settings
from whisperctl.cli.prompts import confirm
from whisperctl.errors import EXIT_DONE


@click.command()
@PATH
@click.option("--to", metavar="REV", help="Revision to go back to: its id, or the start of it [the previous one].")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def rollback(settings: Settings, path: str, to: str | None, yes: bool) -> int:
    """Go back to an earlier revision: its package is uploaded again and its environment tag set.

    PATH is a stack file [stack.yaml], which is left as it is. Env vars stay, too. The endpoint is proven as by apply.
    """
    from whisperctl.cli.watching import watched
    from whisperctl.operate.rollback import perform_rollback, plan_rollback
    from whisperctl.views.rollback import rollback_text, rolled_back_text

    stack = read_stack(path)
    world = open_world(settings, [stack])
    wanted = plan_rollback(world.api(stack), stack, to)
    click.echo(rollback_text(wanted))
    confirm("Roll back?", yes)
    with watched(settings, world, several=False, live=True) as (seen, _):
        revision = perform_rollback(wanted, seen)
    click.echo(rolled_back_text(wanted, revision))
    return EXIT_DONE
