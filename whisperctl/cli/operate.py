"""`status`, `logs`, `scale`, `pause`, `resume`: running a stack that is applied."""

from __future__ import annotations

import click

from whisperctl.cli.moments import Since
from whisperctl.cli.quiet import quiet_stack, quiet_stacks
from whisperctl.cli.settings import Settings
from whisperctl.cli.world import DEFAULT_PATH, open_api
from whisperctl.errors import EXIT_DONE

PATH = click.argument("path", default=DEFAULT_PATH, metavar="[PATH]")
INSTANCES = click.IntRange(min=0)
A_WEEK = 7 * 86400


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def status(settings: Settings, paths: tuple[str, ...], form: str) -> int:
    """Show what is there: resources, revision, instances and why they wait, endpoint, health, credits per hour.

    PATH is a stack file or a directory [stack.yaml]. Exit 0 whatever the state is; `plan` tells what differs.
    """
    import json
    import time

    from whisperctl.cli.interrupts import interrupt_ends_waits
    from whisperctl.status import read_status
    from whisperctl.views.status import status_document, status_text
    from whisperctl.waiting import StoppableClock

    stacks = quiet_stacks(paths)
    clock = StoppableClock()
    with interrupt_ends_waits(clock):
        found = [
            read_status(open_api(settings, stack, clock=clock), stack, settings.token, time.time()) for stack in stacks
        ]
    if form == "json":
        click.echo(json.dumps(status_document(found), indent=2, ensure_ascii=False))
    else:
        click.echo(status_text(found, settings.use_color()))
    return EXIT_DONE


@click.command()
@PATH
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C.")
@click.option("--since", type=Since(), default="24h", metavar="AGE", help="From then on: 10m, 2h, 3d, or a date [24h].")
@click.option("--build", "only", flag_value="build", help="Only what builds of the environment and the package said.")
@click.option("--instance", "only", flag_value="instance", help="Only what instances said.")
@click.pass_obj
def logs(settings: Settings, path: str, follow: bool, since: float, only: str | None) -> int:
    """Show build and instance logs, oldest first: time in UTC, where from, text.

    PATH is a stack file [stack.yaml].
    """
    from whisperctl import logs
    from whisperctl.clock import SystemClock
    from whisperctl.views.logs import line_text

    stack = quiet_stack(path)
    api = open_api(settings, stack)
    clock = SystemClock()
    reader = logs.Reader(
        api=api,
        queries=logs.queries(api, stack),
        keep=logs.belongs_to(stack),
        since=int(since * logs.SECOND),
        clock=clock,
    )
    secrets = (settings.token(), *(variable.value for variable in stack.env if variable.secret and variable.value))
    count = 0
    for line in logs.follow(reader, _say) if follow else reader.more():
        if only in (None, "instance" if line.source == "instance" else "build"):
            click.echo(line_text(line, settings.use_color(), secrets))
            count += 1
    if not count:
        further = since > clock.time() - A_WEEK
        _say(f"No log lines in that time.{' `--since 7d` looks further back.' if further else ''}")
    return EXIT_DONE


@click.command()
@PATH
@click.option("--min", "minimum", type=INSTANCES, metavar="N", help="Instances that always run.")
@click.option("--max", "maximum", type=INSTANCES, metavar="N", help="Instances that run at most.")
@click.pass_obj
def scale(settings: Settings, path: str, minimum: int | None, maximum: int | None) -> int:
    """Set minimum and maximum instances of the live version, at once and without asking.

    PATH is a stack file [stack.yaml]; it stays as it is, so that the next plan shows the difference.
    """
    if minimum is None and maximum is None:
        raise click.UsageError("Pass --min N, --max N, or both.")
    if minimum is not None and maximum is not None and minimum > maximum:
        raise click.UsageError(f"--min {minimum} is more than --max {maximum}.")
    from whisperctl import scaling
    from whisperctl.views.scaling import scaled_text
    from whisperctl.waiting import StoppableClock

    stack = quiet_stack(path)
    done = scaling.scale(open_api(settings, stack), stack, minimum, maximum, StoppableClock(), _say)
    click.echo(scaled_text(stack, done))
    return EXIT_DONE


@click.command()
@PATH
@click.pass_obj
def pause(settings: Settings, path: str) -> int:
    """Put the endpoint to sleep: minimum_instances to 0, running instances stopped, at once and without asking.

    PATH is a stack file [stack.yaml]. The pause is written on the version and goes on to one that takes its
    place: plans leave it alone until `resume`. Nothing is deleted.
    """
    from whisperctl import scaling
    from whisperctl.views.scaling import paused_text
    from whisperctl.waiting import StoppableClock

    stack = quiet_stack(path)
    click.echo(paused_text(stack, scaling.pause(open_api(settings, stack), stack, StoppableClock(), _say)))
    return EXIT_DONE


@click.command()
@PATH
@click.pass_obj
def resume(settings: Settings, path: str) -> int:
    """Wake a paused endpoint: the minimum_instances of before.

    PATH is a stack file [stack.yaml].
    """
    from whisperctl import scaling
    from whisperctl.views.scaling import resumed_text
    from whisperctl.waiting import StoppableClock

    stack = quiet_stack(path)
    click.echo(resumed_text(stack, scaling.resume(open_api(settings, stack), stack, StoppableClock(), _say)))
    return EXIT_DONE


def _say(line: str) -> None:
    click.echo(line, err=True)
