"""`pause`: put the endpoint to sleep."""

from __future__ import annotations

import click

from whisperctl.cli.inputs import open_api, read_stack
from whisperctl.cli.options import PATH, Settings
from whisperctl.cli.output import echo
from whisperctl.cli.prompts import to_stderr
from whisperctl.errors import EXIT_DONE


@click.command()
@PATH
@click.pass_obj
def pause(settings: Settings, path: str) -> int:
    """Put the endpoint to sleep: minimum_instances to 0, running instances stopped, at once and without asking.

    PATH is a stack file [stack.yaml]. The pause is written on the version and goes on to one that takes its
    place: plans leave it alone until `resume`. Nothing is deleted.
    """
    from whisperctl.clock import StoppableClock
    from whisperctl.operate import scaling
    from whisperctl.views.scaling import paused_text

    stack = read_stack(path)
    echo(paused_text(stack, scaling.pause(open_api(settings, stack), stack, StoppableClock(), to_stderr)))
    return EXIT_DONE
