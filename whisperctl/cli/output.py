"""What commands print of plans: the view that `--format` names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from whisperctl.cli.options import Settings
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
