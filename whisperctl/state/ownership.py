"""Whose an object of UbiOps is, judged by our labels on it and by its own id: a copied label map makes nothing ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from whisperctl.state.labels import Labels

SHARED: Final = "shared"
"""Owner of a managed environment: every stack of the project may use it."""


def owner(raw: Mapping[str, Any] | None) -> str | None:
    """The stack whose object `raw` is; nobody's is one whose labels were copied from another object."""
    return None if is_copy(raw) else Labels.of(raw).owner


def is_copy(raw: Mapping[str, Any] | None) -> bool:
    """Whether our labels on `raw` tell the id of another object."""
    ident = Labels.of(raw).id
    return ident is not None and raw is not None and ident != raw.get("id")


def is_made_by_us(raw: Mapping[str, Any]) -> bool:
    """Whether an object that no file names shows that this tool made or adopted it: more than an owner's label.

    Its id is written right after the create; until then there is the version of the tool that creates it, and objects
    of earlier versions of this tool carry a digest.
    """
    labels = Labels.of(raw)
    return not is_copy(raw) and any((labels.id, labels.tool, labels.digest))
