"""`history`: list the revisions of the version."""

from __future__ import annotations

import json

import click

from whisperctl.cli.inputs import open_api, quiet_stack
from whisperctl.cli.options import PATH, Settings
from whisperctl.errors import EXIT_DONE


@click.command()
@PATH
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def history(settings: Settings, path: str, form: str) -> int:
    """List the revisions of the version, newest first; `*` marks the one that serves.

    PATH is a stack file [stack.yaml]. ROLLBACK says whether `rollback --to` can go back to a revision.
    """
    from whisperctl.operate.history import read_history
    from whisperctl.views.history import history_document, history_text

    stack = quiet_stack(path)
    api = open_api(settings, stack)
    found = read_history(api, stack)
    if form == "json":
        click.echo(json.dumps(history_document(stack, api.project, found), indent=2, ensure_ascii=False))
    else:
        click.echo(history_text(stack, found, settings.use_color()))
    return EXIT_DONE
