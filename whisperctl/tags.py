"""Which environment tags a stack uses, keeps for a rollback, or has still to delete. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from whisperctl.api import Json
from whisperctl.desired import Wanted
from whisperctl.live import ENVIRONMENT, Live, names_in
from whisperctl.recorded import recorded_revisions
from whisperctl.resources import KEPT_REVISIONS, TAGS_LABEL, Kind, version_address


def touched_tags(wanted: Wanted, live: Live, destroy: bool) -> set[str]:
    """Tags that this stack uses, keeps or has still to delete; on destroy also the one that the spec would use."""
    found = set()
    for address, raw in live.owned.items():
        if address.kind is Kind.VERSION:
            found |= _tags_of(raw)
        elif address.kind is Kind.DEPLOYMENT:
            found |= set(names_in(raw, TAGS_LABEL))
    if destroy and wanted.build is not None:
        found.add(wanted.build.tag)  # an apply that was cut off while it replaced the deployment may have left it
    return found


def _tags_of(version: Json) -> set[str]:
    labels: Mapping[str, str] = version.get("labels") or {}
    found = {item.tag for item in recorded_revisions(labels) if item.tag}
    return found | ({str(version["environment_tag"])} if version.get("environment_name") == ENVIRONMENT else set())


def needed_tags(wanted: Wanted, live: Live, destroy: bool) -> set[str]:
    """Tags that the stack needs once its plan is applied: its own, and those of the revisions kept for a rollback."""
    if destroy:
        return set()
    stack = wanted.stack
    labels = live.labels.get(version_address(stack.deployment.name, stack.version.name), {})
    recorded = recorded_revisions(labels)
    uploads = not recorded or recorded[0].digest != wanted.package.digest
    kept = {item.tag for item in (recorded[: KEPT_REVISIONS - 1] if uploads else recorded)}
    return kept | ({wanted.build.tag} if wanted.build else set())
