"""`rollback`: go back to an earlier revision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from whisperctl.cli.inputs import open_world, read_stack
from whisperctl.cli.options import PATH, Settings
from whisperctl.cli.output import echo
from whisperctl.cli.prompts import confirm
from whisperctl.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED

if TYPE_CHECKING:
    from whisperctl.engine import World
    from whisperctl.spec import Stack


@click.command()
@PATH
@click.option("--to", metavar="REV", help="Where to go back to, as `history` lists it [the previous one].")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def rollback(settings: Settings, path: str, to: str | None, yes: bool) -> int:
    """Go back to an earlier revision: its package is uploaded again and its environment tag set.

    PATH is a stack file [stack.yaml], which is left as it is. Env vars stay, too. The endpoint is proven as by apply.
    Of a blue_green stack an earlier version is woken, passes its gate and gets the services back, with its env vars:
    nothing is uploaded or built.
    """
    from whisperctl.cli.watching import watched
    from whisperctl.operate.rollback import perform_rollback, plan_rollback
    from whisperctl.state.line import is_line
    from whisperctl.views.rollback import rollback_text, rolled_back_text

    stack = read_stack(path)
    world = open_world(settings, [stack])
    if is_line(stack):
        return _along_the_line(settings, world, stack, to, yes)
    plan = plan_rollback(world.api(stack), stack, to)
    echo(rollback_text(plan))
    confirm("Roll back?", yes)
    with watched(settings, world, several=False, live=True) as (seen, _):
        revision = perform_rollback(plan, seen)
    echo(rolled_back_text(plan, revision))
    return EXIT_DONE


def _along_the_line(settings: Settings, world: World, stack: Stack, to: str | None, yes: bool) -> int:
    from whisperctl.cli.watching import watched
    from whisperctl.operate.line_rollback import perform_line_rollback, plan_line_rollback
    from whisperctl.views.outcome import outcome_text
    from whisperctl.views.rollback import line_rollback_text, rolled_back_along_text

    plan = plan_line_rollback(world, stack, to)
    echo(line_rollback_text(stack, plan))
    confirm("Roll back?", yes)
    with watched(settings, world, several=False, live=True) as (seen, _):
        outcomes = perform_line_rollback(plan, seen)
    if not all(outcome.succeeded for outcome in outcomes):
        echo(outcome_text(outcomes), err=True)
        return EXIT_INTERRUPTED if any(outcome.interrupted for outcome in outcomes) else EXIT_FAILED
    echo(rolled_back_along_text(stack, plan))
    return EXIT_DONE
