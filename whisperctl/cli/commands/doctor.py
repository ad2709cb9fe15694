"""`doctor`: what may keep a stack from being applied."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from whisperctl.cli.inputs import warn_once
from whisperctl.cli.options import DEFAULT_PATH, Settings, terminal_columns
from whisperctl.errors import EXIT_DONE, EXIT_FAILED

if TYPE_CHECKING:
    from whisperctl.control.api import Api


@click.command()
@click.argument("path", required=False)
@click.pass_obj
def doctor(settings: Settings, path: str | None) -> int:
    """Check everything that an apply needs, and say how to mend what is wrong.

    PATH is a stack file or a directory [stack.yaml, if there is one]; without it the project alone is checked. Asks the
    model hub (HF_ENDPOINT) for model, revision and token, unless HF_HUB_OFFLINE=1. Changes nothing. Exit 1 if a check
    failed.
    """
    from whisperctl.operate.doctor import diagnose
    from whisperctl.views.doctor import checks_text

    file = Path(path) if path else Path(DEFAULT_PATH) if Path(DEFAULT_PATH).exists() else None
    checks = list(
        diagnose(file, os.environ, settings.token, settings.project, lambda *names: _connect(settings, *names))
    )
    click.echo(checks_text(checks, settings.use_color(), terminal_columns()))
    return EXIT_FAILED if any(check.verdict == "failed" for check in checks) else EXIT_DONE


def _connect(settings: Settings, project: str, token: str) -> Api:
    from whisperctl.control.api import Api

    return Api(settings.api_host(), project, token, timeout=settings.timeout).looking(warn_once())
