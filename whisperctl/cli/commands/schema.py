"""`schema`: print the JSON Schema of stack.yaml."""

from __future__ import annotations

import sys

import click

from whisperctl.errors import EXIT_DONE


@click.command()
def schema() -> int:
    """Print the JSON Schema of stack.yaml."""
    from whisperctl.loading.schema import schema_text

    sys.stdout.write(schema_text())
    return EXIT_DONE
