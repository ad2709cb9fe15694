"""`restart`: replace the running instances."""

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
def restart(settings: Settings, path: str) -> int:
    """Replace every running instance, one after the other, at once and without asking.

    PATH is a stack file [stack.yaml]. A new instance runs before an old one is stopped; where maximum_instances leaves
    no room for that, the old one is stopped first. Nothing is woken: exit 0 when none runs.
    """
    from whisperctl.cli.signals import second_interrupt_exits
    from whisperctl.clock import StoppableClock
    from whisperctl.operate.restart import restart as replace
    from whisperctl.views.scaling import restarted_text

    stack = read_stack(path)
    clock = StoppableClock()
    with second_interrupt_exits(clock, to_stderr, lambda: None):
        done = replace(open_api(settings, stack, clock=clock), stack, clock, to_stderr)
    echo(restarted_text(stack, done))
    return EXIT_DONE
