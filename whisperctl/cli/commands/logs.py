"""`logs`: build and instance logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from whisperctl.cli.inputs import open_api, read_stack
from whisperctl.cli.options import PATH, Settings
from whisperctl.cli.parameters import Since
from whisperctl.cli.prompts import to_stderr
from whisperctl.errors import EXIT_DONE

if TYPE_CHECKING:
    from whisperctl.operate.logs import LogGroup


@click.command()
@PATH
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C.")
@click.option("--since", type=Since(), default="24h", metavar="AGE", help="From then on: 10m, 2h, 3d, or a date [24h].")
@click.option(
    "--tail", type=click.IntRange(min=0), metavar="N", help="Only the newest N lines, and with -f what follows."
)
@click.option("--build", "only", flag_value="build", help="Only what builds of the environment and the package said.")
@click.option("--instance", "only", flag_value="instance", help="Only what instances said.")
@click.pass_obj
def logs(settings: Settings, path: str, follow: bool, since: float, tail: int | None, only: LogGroup | None) -> int:
    """Show build and instance logs, oldest first: time in UTC, where from, text.

    PATH is a stack file [stack.yaml]. What an earlier deployment of the same name logged is left out.
    """
    from whisperctl.clock import SystemClock
    from whisperctl.operate.logs import LogOptions, read_logs
    from whisperctl.views.logs import line_text, no_lines_text

    stack = read_stack(path)
    api = open_api(settings, stack)
    asked = LogOptions(since=since, only=only, tail=tail, follow=follow)
    if (lines := read_logs(api, stack, asked, SystemClock(), to_stderr)) is None:
        to_stderr(f"No log lines: deployment/{stack.deployment.name} does not exist in project {api.project}.")
        return EXIT_DONE
    secrets = (api.token, *(variable.value for variable in stack.env if variable.secret and variable.value))
    count = 0
    for line in lines:
        click.echo(line_text(line, settings.use_color(), secrets))
        count += 1
    if not count and tail != 0:
        to_stderr(no_lines_text(since, SystemClock().time()))
    return EXIT_DONE
