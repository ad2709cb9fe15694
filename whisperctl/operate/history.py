"""The revisions of a stack's version, and to which of them it can go back. Reads only.

UbiOps knows the revisions; which content and which environment tag the last three of them had is written on the
version's own labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from whisperctl.control.api import Api, Json
from whisperctl.operate.owned import absent
from whisperctl.spec import Stack
from whisperctl.state.labels import KEPT_REVISIONS, Labels
from whisperctl.state.live import ENVIRONMENT
from whisperctl.state.records import RecordedRevision


@dataclass(frozen=True, kw_only=True, slots=True)
class Revision:
    """One upload of a package."""

    id: str
    created: datetime
    created_by: str
    status: str
    error: str
    """Why its build failed; empty otherwise."""
    active: bool
    digest: str
    """SHA-256 of its package; empty when the labels do not know it."""
    tag: str | None
    """Environment tag that it ran in; None when the labels do not know it, empty when the package brought its own."""
    commit: str
    """Of the stack file's repository, 40 or 64 digits; empty when the labels do not know it."""
    obstacle: str
    """Why the version cannot go back to it; empty when it can."""


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """All revisions of a version, newest first."""

    version: Json
    revisions: tuple[Revision, ...]

    @property
    def active(self) -> Revision | None:
        """The revision that serves."""
        return next((revision for revision in self.revisions if revision.active), None)

    @property
    def previous(self) -> Revision | None:
        """The newest revision before the active one that the version can go back to."""
        ids = [revision.id for revision in self.revisions]
        older = self.revisions[ids.index(self.active.id) + 1 :] if self.active else self.revisions
        return next((revision for revision in older if not revision.obstacle), None)

    def same_package_as(self, revision: Revision) -> Revision | None:
        """The newest revision before `revision` that had its package, as after a rollback; None if none is known."""
        older = self.revisions[self.revisions.index(revision) + 1 :]
        return next((other for other in older if revision.digest and other.digest == revision.digest), None)


def read_history(api: Api, stack: Stack) -> History:
    """The history of the stack's version.

    Raises:
        WhisperctlError: there is no such version, or UbiOps cannot be read.
    """
    names = (stack.deployment.name, stack.version.name)
    version = api.version(*names)
    if version is None:
        raise absent(api, stack)
    known = {item.revision: item for item in Labels.of(version).revisions}
    usable = _usable_tags(api) if any(item.tag for item in known.values()) else frozenset()
    revisions = [_revision(raw, version, known.get(raw["id"]), usable) for raw in api.revisions(*names)]
    return History(
        version=version, revisions=tuple(sorted(revisions, key=lambda revision: revision.created, reverse=True))
    )


def _usable_tags(api: Api) -> frozenset[str]:
    return frozenset(tag["name"] for tag in api.tags(ENVIRONMENT) or [] if tag["status"] == "available")


def _revision(raw: Json, version: Json, recorded: RecordedRevision | None, usable: frozenset[str]) -> Revision:
    active = raw["id"] == version.get("active_revision")
    return Revision(
        id=raw["id"],
        created=datetime.fromisoformat(raw["creation_date"]),
        created_by=str(raw.get("created_by") or ""),
        status=raw["status"],
        error=raw.get("error_message") or "",
        active=active,
        digest=recorded.digest if recorded else "",
        tag=_tag(version, recorded, active),
        commit=recorded.commit if recorded else "",
        obstacle="it is active" if active else _obstacle(raw, version, recorded, usable),
    )


def _tag(version: Json, recorded: RecordedRevision | None, active: bool) -> str | None:
    """The live tag of the active revision, which may have got another one since it was uploaded; else the recorded."""
    if active and version.get("environment_name") == ENVIRONMENT:
        return str(version["environment_tag"])
    return recorded.tag if recorded else None


def _obstacle(raw: Json, version: Json, recorded: RecordedRevision | None, usable: frozenset[str]) -> str:
    if raw["status"] != "success":
        return {"failed": "its build failed", "cancelled": "its build was cancelled"}.get(
            raw["status"], f"it is {raw['status']}"
        )
    if recorded is None:
        return f"its environment tag is not known: only whisperctl's own last {KEPT_REVISIONS} are kept"
    if recorded.tag and recorded.tag not in usable:
        return f"its environment tag {recorded.tag} is gone"
    if not recorded.tag and version.get("environment_name") == ENVIRONMENT:
        return "it brought its own environment: set environment.mode to package and apply"
    return ""
