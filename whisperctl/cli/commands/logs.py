"""`logs`: build and instance logs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from whisperctl.cli.inputs import open_api, read_stack
from whisperctl.cli.options import PATH, Settings
from whisperctl.cli.parameters import Since
from whisperctl.cli.prompts import to_stderr
from whisperctl.errors import EXIT_DONE

if TYPE_CHECKING:
    from whisperctl.control.api import Json

A_WEEK = 7 * 86400


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
def logs(settings: Settings, path: str, follow: bool, since: float, tail: int | None, only: str | None) -> int:
    """Show build and instance logs, oldest first: time in UTC, where from, text.

    PATH is a stack file [stack.yaml]. What an earlier deployment of the same name logged is left out.
    """
    from whisperctl.clock import SystemClock
    from whisperctl.operate import logs
    from whisperctl.state.serving import serving
    from whisperctl.views.logs import line_text

    stack = read_stack(path)
    api = open_api(settings, stack)
    stack = serving(api, stack)
    name = stack.deployment.name
    deployment = api.deployment(name)
    if deployment is None and not follow:
        api.deployments()  # a project that does not exist is an error
        to_stderr(f"No log lines: deployment/{name} does not exist in project {api.project}.")
        return EXIT_DONE
    clock = SystemClock()
    reader = logs.Reader(
        api=api,
        queries=logs.queries(api, stack),
        keep=logs.belongs_to(stack, logs.created(deployment)),
        since=int(since * logs.SECOND),
        clock=clock,
    )
    secrets = (api.token, *(variable.value for variable in stack.env if variable.secret and variable.value))

    def is_wanted(line: logs.Line) -> bool:
        return only in (None, "instance" if line.source == "instance" else "build")

    def appeared() -> Callable[[Json], bool] | None:
        made = api.deployment(name)
        return logs.belongs_to(stack, logs.created(made)) if made else None

    count = 0
    first = [line for line in reader.more() if is_wanted(line)]
    later = filter(is_wanted, logs.follow(reader, to_stderr, None if deployment else appeared)) if follow else ()
    for line in itertools.chain(first if tail is None else first[max(len(first) - tail, 0) :], later):
        click.echo(line_text(line, settings.use_color(), secrets))
        count += 1
    if not count and tail != 0:
        further = since > clock.time() - A_WEEK
        to_stderr(f"No log lines in that time.{' `--since 7d` looks further back.' if further else ''}")
    return EXIT_DONE
