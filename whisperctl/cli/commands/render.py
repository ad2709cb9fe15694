"""`render`: write the package as it would be uploaded."""

from __future__ import annotations

import os
from pathlib import Path

import click

from whisperctl.errors import EXIT_DONE


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
    from whisperctl.package.render import write_render

    loaded = load_stacks([path], os.environ, secrets=False)
    for problem in loaded.warnings:
        click.echo(str(problem), err=True)
    for line in write_render(loaded.stacks, output):
        click.echo(line)
    return EXIT_DONE
