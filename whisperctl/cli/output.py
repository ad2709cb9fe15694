"""What commands print: of plans the view that `--format` names, and sentences for people as wide as their terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from whisperctl.cli.options import Settings, terminal_columns
from whisperctl.output import json_text

if TYPE_CHECKING:
    from whisperctl.plan.orphans import Orphan
    from whisperctl.plan.proposal import Proposal


def rendered(plans: Sequence[Proposal], form: str, settings: Settings, orphans: Sequence[Orphan] = ()) -> str:
    """The plans as text, JSON or Markdown, with the stacks of the project that no file declares."""
    from whisperctl.plan.document import plan_document
    from whisperctl.plan.orphans import orphans_document
    from whisperctl.views.plan import plan_text
    from whisperctl.views.plan_markdown import plan_markdown

    match form:
        case "json":
            more = {"orphans": orphans_document(orphans)} if orphans else {}
            return as_json(plan_document(plans) | more)
        case "markdown":
            return "\n\n".join([plan_markdown(plans), *(f"> ⚠️ {orphan}" for orphan in orphans)])
        case _:
            return "\n".join([plan_text(plans, settings.use_color()), *(f"warning: {orphan}" for orphan in orphans)])


def as_json(document: Mapping[str, Any]) -> str:
    """One JSON document, to be read by people, too."""
    return json_text(document)


def echo(text: str, form: str = "text", *, err: bool = False, nl: bool = True) -> None:
    """Print; what people read (`form` text) folded to the width of their terminal."""
    columns = terminal_columns(sys.stderr if err else sys.stdout)
    if form == "text" and columns is not None:
        from whisperctl.views.fitting import fitted

        text = fitted(text, columns)
    click.echo(text, err=err, nl=nl)
