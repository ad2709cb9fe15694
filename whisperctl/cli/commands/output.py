"""`output`: values of a live stack for scripts."""

from __future__ import annotations

import click

from whisperctl.cli.inputs import open_api, read_stack
from whisperctl.cli.options import DEFAULT_PATH, Settings
from whisperctl.cli.output import as_json
from whisperctl.errors import EXIT_DONE

NAMES = ("url", "service_id", "model", "version", "revision", "project")


@click.command(short_help="Print the endpoint's URL and other values for scripts.")
@click.argument("path", required=False, metavar="[PATH]")
@click.argument("name", required=False, metavar="[NAME]")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def output(settings: Settings, path: str | None, name: str | None, form: str) -> int:
    """Print url, service_id, model, version, revision and project of a live stack, one `NAME=value` a line.

    PATH is a stack file [stack.yaml]; with NAME that one value alone. `version` is the real name of the version that
    serves, `model` what requests call the model. What is not there is empty; a NAME without a value is an error.
    """
    from whisperctl.operate.outputs import read_outputs
    from whisperctl.plan.document import stacks_document

    if name is None and path in NAMES:
        path, name = None, path  # `whisperctl output url`
    if name is not None and name not in NAMES:
        raise click.UsageError(f"There is no output {name!r}. It is one of {', '.join(NAMES)}.")
    stack = read_stack(path or DEFAULT_PATH)
    values = read_outputs(open_api(settings, stack), stack, needed=name)
    if form == "json":
        shown = values if name is None else {name: values[name]}
        click.echo(as_json(stacks_document([{"stack": stack.name, **shown}])))
    elif name is not None:
        click.echo(values[name])
    else:
        click.echo("\n".join(f"{key}={'' if value is None else value}" for key, value in values.items()))
    return EXIT_DONE
