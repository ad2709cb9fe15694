"""`resume`: wake a paused endpoint."""

from __future__ import annotations

import click

from whisperctl.cli.inputs import open_api, read_stack
from whisperctl.cli.options import PATH, Settings
from whisperctl.cli.prompts import to_stderr
from whisperctl.errors import EXIT_DONE


@click.command()
@PATH
@click.pass_obj
def resume(settings: Settings, path: str) -> int:
    """Wake a paused endpoint: the minimum_instances of before.

    PATH is a stack file [stack.yaml].
    """
    from whisperctl.clock import StoppableClock
    from whisperctl.operate import scaling
    from whisperctl.views.scaling import resumed_text

    stack = read_stack(path)
    click.echo(resumed_text(stack, scaling.resume(open_api(settings, stack), stack, StoppableClock(), to_stderr)))
    return EXIT_DONE
