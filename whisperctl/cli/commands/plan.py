"""`plan`: what differs between stack files and the live project."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from whisperctl.cli.inputs import open_world, paths_or_default, planned, read_stacks
from whisperctl.cli.options import (
    ALLOW_DELETE,
    EXCLUDE,
    ONLY,
    PARALLELISM,
    PATHS,
    PLAN_FORMAT,
    Settings,
)
from whisperctl.cli.output import echo, rendered
from whisperctl.errors import EXIT_CHANGES_PENDING, EXIT_DONE

if TYPE_CHECKING:
    from whisperctl.plan.orphans import Orphan
    from whisperctl.plan.plan import Plan
    from whisperctl.plan.selection import Selection

FORMATS = {"text": "text", "json": "json", "markdown": "markdown", "md": "markdown"}
"""What nobody calls a file -> the format that is meant."""


@click.command(short_help="Show what differs between the stack files and the live project.")
@PATHS
@click.option("-o", "out", metavar="FILE", help="Save the plan for `apply --plan FILE`.")
@PLAN_FORMAT
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when changes are pending.")
@click.option("--destroy", is_flag=True, help="Plan what `destroy` would do.")
@ONLY
@EXCLUDE
@PARALLELISM
@ALLOW_DELETE
@click.pass_obj
def plan(
    settings: Settings,
    paths: Sequence[str],
    out: str | None,
    form: str,
    detailed_exitcode: bool,
    destroy: bool,
    only: tuple[str, ...],
    exclude: tuple[str, ...],
    parallelism: int,
    allow_delete: bool,
) -> int:
    """Read the live project and show what apply would change.

    PATH is a stack file or a directory [stack.yaml, or else this folder].
    """
    from whisperctl.plan.selection import Selection

    _check_target(out)
    selection = Selection(only=only, exclude=exclude)
    paths = paths_or_default(paths)
    stacks = read_stacks(paths, secrets=not destroy)
    world = open_world(settings, stacks, parallelism, allow_delete=allow_delete, selection=selection)
    plans = planned(stacks, world, destroy)
    echo(rendered(plans, form, settings, _orphans(paths, plans)), form)
    if out is not None:
        _save(out, plans, paths, allow_delete, selection)
    pending = any(entry.is_pending for entry in plans)
    return EXIT_CHANGES_PENDING if detailed_exitcode and pending else EXIT_DONE


def _orphans(paths: Sequence[str], plans: Sequence[Plan]) -> Sequence[Orphan]:
    """Stacks of the project that no file declares, where a folder was planned: one file is not meant to hold all."""
    from whisperctl.plan.orphans import orphans

    whole = any(Path(path).is_dir() for path in paths)
    return orphans(plans) if whole else ()


def _check_target(out: str | None) -> None:
    """Refuse what is another tool's spelling, and a place where a plan cannot be saved."""
    from whisperctl.plan.saved import check_target

    if out is None:
        return
    if out == "ut" or out.startswith("ut="):  # what is left of Terraform's -out=FILE
        raise click.UsageError("No such option '-out'. Write `-o FILE`.")
    if out.lower() in FORMATS:
        raise click.UsageError(
            f"-o names a file to save the plan to, and {out!r} is a format. Write `--format {FORMATS[out.lower()]}`, "
            f"or `-o ./{out}` for a file of that name."
        )
    check_target(out)


def _save(out: str, plans: Sequence[Plan], paths: Sequence[str], allow_delete: bool, selection: Selection) -> None:
    import shlex

    from whisperctl.plan.saved import save

    save(out, plans, paths, allow_delete, selection)
    click.echo(f"Saved to {out}. Perform exactly this with\n  whisperctl apply --plan {shlex.quote(out)}", err=True)
