"""Which environment tags nothing needs any more once the plans are applied. Reads only.

A tag carries no labels: in the managed environment it belongs to whichever versions use it or keep it for a
rollback. So before one is called unused, every version that whisperctl owns in the project is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from whisperctl.api import Api, Json
from whisperctl.desired import Wanted
from whisperctl.live import ENVIRONMENT, Live, owner, recorded_revisions
from whisperctl.resources import (
    KEPT_REVISIONS,
    SHARED,
    Address,
    Kind,
    environment_address,
    tag_address,
    version_address,
)


def retired_tags(api: Api, wanted: Sequence[Wanted], lives: Sequence[Live], destroy: bool) -> list[list[Address]]:
    """For each stack the tags (at last the environment too) to delete after its plan; each goes to one stack only."""
    needed = {tag for w, live in zip(wanted, lives, strict=True) for tag in _needed_after(w, live, destroy)}
    candidates = [_touched(w, live, destroy) - needed for w, live in zip(wanted, lives, strict=True)]
    if not any(candidates):
        return [[] for _ in wanted]
    environment = api.environment(ENVIRONMENT)
    existing = {tag["name"] for tag in api.tags(ENVIRONMENT) or []}
    if environment is None or owner(environment) != SHARED:
        return [[] for _ in wanted]
    elsewhere = _needed_elsewhere(api, {w.stack.name for w in wanted})
    given: set[str] = set()
    found: list[list[Address]] = [[] for _ in wanted]
    # The last stack that touches a tag deletes it: by then the others have let go of it.
    for position in reversed(range(len(wanted))):
        free = (candidates[position] & existing) - elsewhere - given
        free = {tag for tag in free if _only_used_by(api, tag, {w.stack.deployment.name for w in wanted})}
        given |= free
        found[position] = [tag_address(ENVIRONMENT, tag) for tag in sorted(free)]
    if given and given == existing:
        last = max(position for position, tags in enumerate(found) if tags)
        found[last].append(environment_address(ENVIRONMENT))
    return found


def _touched(wanted: Wanted, live: Live, destroy: bool) -> set[str]:
    """Tags that this stack's versions use or keep now; on destroy also the one that the spec would use."""
    found = set()
    for address, raw in live.owned.items():
        if address.kind is Kind.VERSION:
            found |= _tags_of(raw)
    if destroy and wanted.build is not None and live.owned.keys() - _shared(live):
        found.add(wanted.build.tag)
    return found


def _shared(live: Live) -> set[Address]:
    return {address for address in live.owned if address.kind in (Kind.ENVIRONMENT, Kind.ENVIRONMENT_TAG)}


def _tags_of(version: Json) -> set[str]:
    labels: Mapping[str, str] = version.get("labels") or {}
    found = {item.tag for item in recorded_revisions(labels) if item.tag}
    return found | ({str(version["environment_tag"])} if version.get("environment_name") == ENVIRONMENT else set())


def _needed_after(wanted: Wanted, live: Live, destroy: bool) -> set[str]:
    """Tags that the stack needs once its plan is applied: its own, and those of the revisions kept for a rollback."""
    if destroy:
        return set()
    stack = wanted.stack
    labels = live.labels.get(version_address(stack.deployment.name, stack.version.name), {})
    recorded = recorded_revisions(labels)
    uploads = not recorded or recorded[0].digest != wanted.package.digest
    kept = {item.tag for item in (recorded[: KEPT_REVISIONS - 1] if uploads else recorded)}
    return kept | ({wanted.build.tag} if wanted.build else set())


def _needed_elsewhere(api: Api, planned: set[str]) -> set[str]:
    """Tags that versions of other stacks use or keep."""
    found: set[str] = set()
    for deployment in api.deployments():
        if owner(deployment) is not None and owner(deployment) not in planned:
            for version in api.versions(deployment["name"]):
                found |= _tags_of(version)
    return found


def _only_used_by(api: Api, tag: str, deployments: set[str]) -> bool:
    return all(item["deployment"] in deployments for item in api.tag_usage(ENVIRONMENT, tag))
