"""What a version's own labels record of it: the revisions that we uploaded, and a pause."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from whisperctl.resources import PAUSED_LABEL, REVISION_LABEL


@dataclass(frozen=True, slots=True)
class RecordedRevision:
    """One of the last revisions that we uploaded, as the version's labels tell."""

    revision: str
    digest: str
    tag: str
    """The environment tag that it ran in; empty in mode `package`."""


def recorded_revisions(labels: Mapping[str, str]) -> list[RecordedRevision]:
    """The revisions that the version's labels record, newest first."""
    found = []
    for number in range(1, 10):
        parts = labels.get(f"{REVISION_LABEL}{number}", "").split(" ")
        if len(parts) == 3:
            found.append(RecordedRevision(*parts))
    return found


def paused_minimum(raw: Mapping[str, Any]) -> int | None:
    """The minimum_instances that a paused version goes back to; None when it is not paused."""
    text = (raw.get("labels") or {}).get(PAUSED_LABEL)
    if text is None:
        return None
    return int(text) if text.isdecimal() else 0
