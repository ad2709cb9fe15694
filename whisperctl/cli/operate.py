"""`status`, `logs`, `scale`, `pause`, `resume`: running a stack that is applied."""

from __future__ import annotations

import click

from whisperctl.cli.settings import Settings
from whisperctl.cli.quiet import quiet_stack
from whisperctl.cli.world import DEFAULT_PATH, open_api
from whisperctl.errors import EXIT_DONE

PATH = click.argument("path", default=DEFAULT_PATH, metavar="[PATH]")
INSTANCES = click.IntRange(min=0)


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

    PATH is a stack file [stack.yaml]. The pause is written on the version: plans leave it alone until `resume`.
    Nothing is deleted.
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
