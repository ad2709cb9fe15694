"""`render`: write the package as it would be uploaded."""

from __future__ import annotations

from pathlib import Path

import click

from whisperctl.cli.inputs import read_stacks
from whisperctl.errors import EXIT_DONE

FORMATS = ("json", "yaml", "text")
"""What nobody calls a folder: kubectl's and Helm's `-o`."""


@click.command()
@click.argument("path", default="stack.yaml", type=click.Path())
@click.option("-o", "--output", required=True, type=click.Path(), metavar="DIR", help="Folder to write to.")
def render(path: str, output: str) -> int:
    """Write the deployment package and environment files exactly as they would be uploaded.

    DIR must be empty, new, or hold an earlier render.
    """
    if output == "-":
        raise click.UsageError("-o names the folder to write to, and '-' is none. Write `-o DIR`.")
    if output in FORMATS:
        raise click.UsageError(
            f"-o names the folder to write to, and '{output}' is a format. Write `-o DIR`, or `-o ./{output}` "
            "for a folder of that name."
        )
    from whisperctl.package.render import write_render

    for line in write_render(read_stacks([path], secrets=False), Path(output)):
        click.echo(line)
    return EXIT_DONE
