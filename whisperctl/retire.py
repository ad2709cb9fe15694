"""Which environment tags nothing needs any more once the plans are applied. Reads only.

A tag carries no labels: in the managed environment it belongs to whichever versions use it or keep it for a
rollback. Each deployment's own label lists the tags of its stack, from before they are built until after they are
deleted, so that an apply that was cut off leaves none behind. UbiOps' own account of a tag's use has the last word.
"""

from __future__ import annotations

from collections.abc import Sequence

from whisperctl.api import Api
from whisperctl.desired import Wanted
from whisperctl.live import ENVIRONMENT, Live, names_in, owner
from whisperctl.resources import SHARED, TAGS_LABEL, Address, Kind, environment_address, tag_address
from whisperctl.tags import needed_tags, touched_tags


def retired_tags(api: Api, wanted: Sequence[Wanted], lives: Sequence[Live], destroy: bool) -> list[list[Address]]:
    """For each stack the tags (at last the environment too) to delete after its plan; each goes to one stack only."""
    needed = {tag for w, live in zip(wanted, lives, strict=True) for tag in needed_tags(w, live, destroy)}
    candidates = [touched_tags(w, live, destroy) - needed for w, live in zip(wanted, lives, strict=True)]
    if not any(candidates):
        return [[] for _ in wanted]
    environment = api.environment(ENVIRONMENT)
    existing = {tag["name"] for tag in api.tags(ENVIRONMENT) or []}
    if environment is None or owner(environment) != SHARED:
        return [[] for _ in wanted]
    elsewhere = _needed_elsewhere(api, {w.stack.name for w in wanted})
    deployments = {a.names[0] for live in lives for a in live.owned if a.kind is Kind.DEPLOYMENT}
    given: set[str] = set()
    found: list[list[Address]] = [[] for _ in wanted]
    # By name, so that two applies of the same stacks never wait for each other in a circle.
    for position in sorted(range(len(wanted)), key=lambda position: wanted[position].stack.name):
        free = (candidates[position] & existing) - elsewhere - given
        free = {tag for tag in free if _only_used_by(api, tag, deployments)}
        given |= free
        found[position] = [tag_address(ENVIRONMENT, tag) for tag in sorted(free)]
    if given == existing and not needed and not elsewhere:
        last = max((p for p, tags in enumerate(candidates) if tags), key=lambda p: wanted[p].stack.name)
        found[last].append(environment_address(ENVIRONMENT))
    return found


def _needed_elsewhere(api: Api, planned: set[str]) -> set[str]:
    """Tags that other stacks use, keep or are about to use."""
    return {
        tag
        for deployment in api.deployments()
        if owner(deployment) is not None and owner(deployment) not in planned
        for tag in names_in(deployment, TAGS_LABEL)
    }


def _only_used_by(api: Api, tag: str, deployments: set[str]) -> bool:
    return all(item["deployment"] in deployments for item in api.tag_usage(ENVIRONMENT, tag))
