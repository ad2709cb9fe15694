"""What a version's own labels record of it: the revisions that we uploaded, and a pause."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from whisperctl.control.api import Json
from whisperctl.state.resources import SERVER_DEFAULTS, Kind


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


STACK_LABEL: Final = "whisperctl-stack"
"""Who owns the object; part of the create request."""


DIGEST_LABEL: Final = "whisperctl-digest"
"""What the object was made from; written only after the step it stands for has succeeded."""


APPLIED_LABEL: Final = "whisperctl-applied"
"""A digest of the live objects as the last apply left them, on the deployment: is it drift, or did the spec move on?"""


LEASE_LABEL: Final = "whisperctl-lease"
"""Who applies at this moment; on the deployment only, outside every fingerprint."""


GROUP_LABEL: Final = "whisperctl-group"
"""Ids of the managed instance type groups, on the deployment; `creating NAME` before an id is known."""


VERSION_LABEL: Final = "whisperctl-version"
"""The one version that the stack owns, on the deployment; absent while that is not settled."""


ENV_LABEL: Final = "whisperctl-env"
"""Names of the env vars that are ours, on the version."""


SECRET_LABEL: Final = "whisperctl-secret-"  # noqa: S105 - a label's name
"""Prefix: one label a secret with its salted fingerprint, on the version."""


REVISION_LABEL: Final = "whisperctl-revision-"
"""Prefix: `REVISION DIGEST TAG` of the last three revisions that we uploaded, 1 is the newest, on the version."""


FIELDS_LABEL: Final = "whisperctl-fields"
"""Optional fields and labels that we set, so that leaving them out of the spec resets them."""


TAGS_LABEL: Final = "whisperctl-tags"
"""Environment tags that the stack uses, keeps for a rollback or has still to delete, on the deployment."""


PAUSED_LABEL: Final = "whisperctl-paused"
"""minimum_instances before a pause, on the version; goes on to one that takes its place."""


BOOKKEEPING: Final = frozenset({DIGEST_LABEL, VERSION_LABEL, TAGS_LABEL, LEASE_LABEL})
"""Labels of the deployment that taking and giving back the lease write."""


OWN_PREFIX: Final = "whisperctl-"


SHARED: Final = "shared"
"""Owner of a managed environment: every stack of the project may use it."""


KEPT_REVISIONS: Final = 3
"""Revisions whose tags are kept, for a rollback."""


_CREATING = "creating "
"""In the group label, before a name: a managed group is about to be created, its id is not known yet."""


def owner(raw: Json) -> str | None:
    """The stack whose label `raw` carries."""
    labels: Mapping[str, str] = raw.get("labels") or {}
    return labels.get(STACK_LABEL)


def optional_fields(raw: Json) -> set[str]:
    """Fields that we set once, as the object's own label tells."""
    return {name for name in names_in(raw, FIELDS_LABEL) if not name.startswith("labels.")}


def names_in(raw: Json, label: str) -> list[str]:
    """The semicolon-separated names in one of our labels."""
    return [name for name in (raw.get("labels") or {}).get(label, "").split(";") if name]


def creating(group: str) -> str:
    """The entry of the group label for a group that is about to be created."""
    return _CREATING + quote(group, safe=" ")


def group_ids(raw: Json) -> list[str]:
    """The ids in a deployment's group label."""
    return [entry for entry in names_in(raw, GROUP_LABEL) if not entry.startswith(_CREATING)]


def left_out(kind: Kind, fields: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    """Fields that we set once and that are no longer wanted, with UbiOps' defaults."""
    defaults = SERVER_DEFAULTS.get(kind, {})
    return {name: defaults[name] for name in tracked(labels) if name in defaults and name not in fields}


def tracked(labels: Mapping[str, str]) -> list[str]:
    """The optional fields and labels that an object's own label says we set."""
    return [name for name in labels.get(FIELDS_LABEL, "").split(";") if name]


def track(kind: Kind, fields: Mapping[str, Any]) -> str:
    """The value of that label for `fields`: optional fields by name, user labels as `labels.NAME`."""
    defaults = SERVER_DEFAULTS.get(kind, {})
    names = [name for name in fields if name in defaults]
    names += [f"labels.{name}" for name, value in fields.get("labels", {}).items() if value is not None]
    return ";".join(sorted(names))
