"""`schema`: print the JSON Schema of stack.yaml, or of what a command prints as JSON."""

from __future__ import annotations

import sys

import click

from whisperctl.errors import EXIT_DONE

DOCUMENTS = ("stack", "plan", "apply", "drift", "status", "list", "usage")


@click.command()
@click.option("--of", "name", type=click.Choice(DOCUMENTS), default="stack", show_default=True, help="Which document.")
def schema(name: str) -> int:
    """Print the JSON Schema of stack.yaml, or of what a command prints with `--format json`.

    Fields may be added to a document; none goes away or changes its meaning while its `format_version` is the same.
    """
    from whisperctl.assets import shipped

    sys.stdout.write((shipped("schemas") / f"{name}.schema.json").read_text(encoding="utf-8"))
    return EXIT_DONE
