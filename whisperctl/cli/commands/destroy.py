"""`destroy`: delete what a stack owns."""

from __future__ import annotations

from collections.abc import Sequence

import click

from whisperctl.cli.options import PARALLELISM, PATHS, Settings
from whisperctl.cli.reconcile import reconcile


@click.command(short_help="Delete what a stack owns, and nothing else.")
@PATHS
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@PARALLELISM
@click.pass_obj
def destroy(settings: Settings, paths: Sequence[str], yes: bool, form: str, parallelism: int) -> int:
    """Delete everything that the stacks own on UbiOps, and nothing else."""
    return reconcile(settings, paths, yes, form, parallelism, destroy=True)
