"""`validate`, `schema`, `render`: what needs no connection."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from whisperctl.errors import EXIT_DONE, EXIT_FAILED

FORMATS = click.Choice(["text", "json", "github"])


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PATH]...")
@click.option("--format", "form", type=FORMATS, default="text", show_default=True, help="How to print what was found.")
def validate(paths: tuple[Path, ...], form: str) -> int:
    """Check stack files without any connection.

    PATH is a stack file or a directory of them; stack.yaml when none is given. Exit 0 when no error was found,
    warnings or not; 1 otherwise.
    """
    from whisperctl.views.problems import Checked, report

    checked = Checked.of(paths or (Path("stack.yaml"),), os.environ)
    out, err = report(checked, form)
    click.echo(err, err=True, nl=False)
    click.echo(out, nl=False)
    return EXIT_DONE if checked.valid else EXIT_FAILED


@click.command()
def schema() -> int:
    """Print the JSON Schema of stack.yaml."""
    from whisperctl.loading.schema import schema_text

    sys.stdout.write(schema_text())
    return EXIT_DONE


@click.command()
@click.argument("path", default="stack.yaml", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder to write to."
)
def render(path: Path, output: Path) -> int:
    """Write the deployment package and environment files exactly as they would be uploaded.

    DIR must be empty, new, or hold an earlier render.
    """
    from whisperctl.loading import load_stacks
    from whisperctl.rendering import write_render

    loaded = load_stacks([path], os.environ, secrets=False)
    for problem in loaded.warnings:
        click.echo(str(problem), err=True)
    for line in write_render(loaded.stacks, output):
        click.echo(line)
    return EXIT_DONE
