"""`smoke`: test the live endpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from whisperctl.cli.options import DEFAULT_PATH, Settings, terminal_columns
from whisperctl.cli.sample import sample
from whisperctl.cli.target import OpenEndpoint, open_endpoint, route, wake_up
from whisperctl.errors import EXIT_DONE, EXIT_FAILED

if TYPE_CHECKING:
    from whisperctl.endpoint.smoke import Sample, SmokeCheck


@click.command()
@click.argument("path", default=DEFAULT_PATH)
@click.option(
    "--audio", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE", help="Recording to try."
)
@click.option("--expect", metavar="TEXT", help="What the recording says.")
@click.option("--max-wer", type=click.FloatRange(min=0), metavar="X", help="Word error rate that still passes, 0 to 1.")
@click.option("--format", "shape", type=click.Choice(["text", "json"]), default="text", help="Output format [text].")
@click.pass_obj
def smoke(
    settings: Settings, path: str, audio: Path | None, expect: str | None, max_wer: float | None, shape: str
) -> int:
    """Try every way to use the live endpoint, and time it.

    PATH is a stack file [stack.yaml]. The recording is that of rollout.smoke unless --audio is given. Exit code 1 if a
    check fails.
    """
    from whisperctl.views import smoke

    with open_endpoint(settings, path) as target:
        checks = _checks(target, sample(target.stack, audio, expect, max_wer))
        url = target.endpoint.url
    if shape == "json":
        click.echo(smoke.as_json(target.stack.name, url, checks))
    elif columns := terminal_columns():
        click.echo(smoke.for_terminal(checks, columns, color=settings.use_color()))
    else:
        click.echo(smoke.as_lines(checks))
    return EXIT_DONE if smoke.passed(checks) else EXIT_FAILED


def _checks(target: OpenEndpoint, recording: Sample | None) -> list[SmokeCheck]:
    from whisperctl.clock import SystemClock
    from whisperctl.endpoint.smoke import SmokeTest

    wake_up(target)
    checks = SmokeTest(
        target.stack,
        target.endpoint,
        token=target.token,
        task=route(target.stack),
        sample=recording,
        direct=target.request,
        clock=SystemClock(),
    )
    return list(checks.checks())
