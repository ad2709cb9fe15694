"""`history` and `rollback`: the revisions of a version."""

from __future__ import annotations

import json

import click

from whisperctl.cli.asking import confirm
from whisperctl.cli.operate import PATH
from whisperctl.cli.quiet import quiet_stack
from whisperctl.cli.settings import Settings
from whisperctl.cli.world import open_api, open_world
from whisperctl.errors import EXIT_DONE


@click.command()
@PATH
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def history(settings: Settings, path: str, form: str) -> int:
    """List the revisions of the version, newest first; `*` marks the one that serves.

    PATH is a stack file [stack.yaml]. ROLLBACK says whether `rollback --to` can go back to a revision.
    """
    from whisperctl.history import read_history
    from whisperctl.views.history import history_document, history_text

    stack = quiet_stack(path)
    api = open_api(settings, stack)
    found = read_history(api, stack)
    if form == "json":
        click.echo(json.dumps(history_document(stack, api.project, found), indent=2, ensure_ascii=False))
    else:
        click.echo(history_text(stack, found, settings.use_color()))
    return EXIT_DONE


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
    from whisperctl.rollback import perform_rollback, plan_rollback
    from whisperctl.views.rollback import rollback_text, rolled_back_text

    stack = quiet_stack(path)
    world = open_world(settings, [stack])
    wanted = plan_rollback(world.api(stack), stack, to)
    click.echo(rollback_text(wanted))
    confirm("Roll back?", yes)
    with watched(settings, world, several=False, live=True) as (seen, _):
        revision = perform_rollback(wanted, seen)
    click.echo(rolled_back_text(wanted, revision))
    return EXIT_DONE
