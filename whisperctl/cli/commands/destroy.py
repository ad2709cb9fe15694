"""`destroy`: delete what a stack owns."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from whisperctl.cli.inputs import open_api, open_world, planned
from whisperctl.cli.options import PARALLELISM, PATHS, Settings
from whisperctl.cli.output import echo, rendered
from whisperctl.cli.reconcile import perform, reconcile
from whisperctl.errors import WhisperctlError

if TYPE_CHECKING:
    from whisperctl.plan.plan import Plan


@click.command(short_help="Delete what a stack owns, and nothing else.")
@PATHS
@click.option("--stack", "name", metavar="NAME", help="A stack of the project by its name, without its file.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@PARALLELISM
@click.pass_obj
def destroy(settings: Settings, paths: Sequence[str], name: str | None, yes: bool, form: str, parallelism: int) -> int:
    """Delete everything that the stacks own on UbiOps, and nothing else.

    With --stack no file is read: the project is that of --project or UBIOPS_PROJECT, what belongs to the stack its
    labels tell (`whisperctl list` shows them), and its name has to be typed.
    """
    if name is None:
        return reconcile(settings, paths, yes, form, parallelism, destroy=True)
    if paths:
        raise click.UsageError("Pass either PATH or --stack NAME, not both.")
    return _destroy_forgotten(settings, name, yes, form, parallelism)


def _destroy_forgotten(settings: Settings, name: str, yes: bool, form: str, parallelism: int) -> int:
    from whisperctl.operate.forgotten import forgotten_stack
    from whisperctl.plan.refusals import refuse

    stack = forgotten_stack(open_api(settings, parallelism=parallelism), name)
    world = open_world(settings, (stack,), parallelism)
    plans = planned((stack,), world, destroy=True)
    echo(rendered(plans, "text", settings), err=form == "json")
    refuse(plans)
    if not yes:
        _confirm_by_name(plans[0])
    return perform(settings, plans, world, form, replan=True, yes=yes)


def _confirm_by_name(plan: Plan) -> None:
    """Return if the user types the stack's name.

    Raises:
        WhisperctlError: there is nobody to ask, or it is not typed.
    """
    if not sys.stdin.isatty():
        raise WhisperctlError("This asks before it changes anything, and there is no terminal.\n  Pass --yes.")
    question = f"Destroy all of this in project {plan.project}? Type the stack's name"
    if click.prompt(question, default="", show_default=False, err=True).strip() != plan.stack:
        raise WhisperctlError("That is not its name. Nothing was changed.")
