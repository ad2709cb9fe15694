"""`scale`: set minimum and maximum instances."""

from __future__ import annotations

import click

from whisperctl.cli.inputs import open_api, read_stack
from whisperctl.cli.options import INSTANCES, PATH, Settings
from whisperctl.cli.output import echo
from whisperctl.cli.prompts import to_stderr
from whisperctl.errors import EXIT_DONE


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
    from whisperctl.clock import StoppableClock
    from whisperctl.operate import scaling
    from whisperctl.views.scaling import scaled_text

    stack = read_stack(path)
    done = scaling.scale(open_api(settings, stack), stack, minimum, maximum, StoppableClock(), to_stderr)
    echo(scaled_text(stack, done))
    return EXIT_DONE
