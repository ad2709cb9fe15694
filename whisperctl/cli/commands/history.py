"""`history`: list the revisions of the version."""

from __future__ import annotations

import click

from whisperctl.cli.inputs import open_api, read_stack
from whisperctl.cli.options import PATH, Settings, terminal_columns
from whisperctl.cli.output import echo
from whisperctl.errors import EXIT_DONE
from whisperctl.output import json_text


@click.command()
@PATH
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def history(settings: Settings, path: str, form: str) -> int:
    """List the revisions of the version, newest first; `*` marks the one that serves.

    PATH is a stack file [stack.yaml]. COMMIT is where its repository stood. ROLLBACK says whether `rollback --to` can
    go back to a revision. Of a blue_green stack the versions are listed, with what each is made from and what its gate
    measured beside what served then.
    """
    from whisperctl.operate.history import read_history
    from whisperctl.operate.versions import read_versions
    from whisperctl.state.line import is_line
    from whisperctl.views.history import history_document, history_text
    from whisperctl.views.versions import versions_document, versions_text

    stack = read_stack(path)
    api = open_api(settings, stack)
    if is_line(stack):
        versions = read_versions(api, stack)
        shown = json_text(versions_document(stack, api.project, versions)) if form == "json" else None
        echo(shown or versions_text(versions, settings.use_color(), terminal_columns()), form)
        return EXIT_DONE
    revisions = read_history(api, stack)
    if form == "json":
        click.echo(json_text(history_document(stack, api.project, revisions)))
    else:
        echo(history_text(stack, revisions, settings.use_color(), terminal_columns()))
    return EXIT_DONE
