"""`validate`: check stack files without any connection."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from whisperctl.cli.inputs import paths_or_default
from whisperctl.cli.output import echo
from whisperctl.errors import EXIT_DONE, EXIT_FAILED

FORMATS = click.Choice(["text", "json", "github", "sarif"])


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PATH]...")
@click.option("--format", "form", type=FORMATS, default="text", show_default=True, help="How to print what was found.")
def validate(paths: tuple[Path, ...], form: str) -> int:
    """Check stack files without any connection.

    PATH is a stack file or a directory of them; when none is given stack.yaml, or else this folder. Exit 0 when no
    error was found, warnings or not; 1 otherwise. Secrets need not be set. A file without `stack:` is checked as the
    part that it is.
    """
    from whisperctl.loading.checked import Checked
    from whisperctl.output import workflow_command
    from whisperctl.views.problems import report

    checked = Checked.of([Path(path) for path in paths_or_default([os.fspath(path) for path in paths])], os.environ)
    out, err = report(checked, form)
    echo(err, err=True, nl=False)
    if form == "github":
        workflow_command(out, sys.stdout)
    else:
        echo(out, form, nl=False)
    return EXIT_DONE if checked.valid else EXIT_FAILED
