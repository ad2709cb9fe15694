"""What commands print of plans: the view that `--format` names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from whisperctl.cli.options import Settings
from whisperctl.output import json_text

if TYPE_CHECKING:
    from whisperctl.plan.proposal import Proposal


def rendered(plans: Sequence[Proposal], form: str, settings: Settings) -> str:
    """The plans as text, JSON or Markdown."""
    from whisperctl.plan.document import plan_document
    from whisperctl.views.plan import plan_text
    from whisperctl.views.plan_markdown import plan_markdown

    match form:
        case "json":
            return as_json(plan_document(plans))
        case "markdown":
            return plan_markdown(plans)
        case _:
            return plan_text(plans, settings.use_color())


def as_json(document: Mapping[str, Any]) -> str:
    """One JSON document, to be read by people, too."""
    return json_text(document)
