"""`resume`: wake a paused endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from whisperctl.cli.inputs import open_api, read_stack
from whisperctl.cli.options import PATH, Settings
from whisperctl.cli.output import echo
from whisperctl.cli.prompts import to_stderr
from whisperctl.cli.target import open_endpoint, wake_up
from whisperctl.errors import EXIT_DONE

if TYPE_CHECKING:
    from whisperctl.spec import Stack


def _wait(settings: Settings, path: str, stack: Stack) -> None:
    """Return when the service, or without one a deployment request, answers."""
    if stack.services:
        with open_endpoint(settings, path) as target:
            wake_up(target)
    else:
        from whisperctl.endpoint.readiness import check_woken, waking_request
        from whisperctl.state.serving import serving

        api = open_api(settings, stack)
        names = (stack.deployment.name, serving(api, stack).version.name)
        check_woken(waking_request(api, *names, stack.rollout.timeout), "/".join(("version", *names)))
    click.echo("The endpoint answers.")


@click.command()
@PATH
@click.option("--wait", is_flag=True, help="Return when the endpoint answers.")
@click.pass_obj
def resume(settings: Settings, path: str, wait: bool) -> int:
    """Wake a paused endpoint: the minimum_instances of before.

    PATH is a stack file [stack.yaml]. With --wait an instance is woken if none runs by itself, and the command ends
    when /health answers, or after rollout.timeout with exit code 1.
    """
    from whisperctl.clock import StoppableClock
    from whisperctl.operate import scaling
    from whisperctl.views.scaling import resumed_text

    stack = read_stack(path)
    done = scaling.resume(open_api(settings, stack), stack, StoppableClock(), to_stderr)
    echo(resumed_text(stack, done, waits=wait))
    if wait:
        _wait(settings, path, stack)
    return EXIT_DONE
