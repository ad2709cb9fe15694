"""Which environment tags a stack uses, keeps for a rollback, or has still to delete. Reads only.

What UbiOps has and who else uses it is asked in `retired_tags` alone; the rest is pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from whisperctl.control.api import Api, Json
from whisperctl.state.desired import Desired
from whisperctl.state.labels import KEPT_REVISIONS, Labels
from whisperctl.state.live import ENVIRONMENT, Live
from whisperctl.state.ownership import SHARED, owner
from whisperctl.state.resources import Address, Kind, environment_address, package_address, tag_address, version_address
from whisperctl.state.rollout import rollout_of


def touched_tags(desired: Desired, live: Live, destroy: bool) -> set[str]:
    """Tags that this stack uses, keeps or has still to delete; on destroy also the one that the spec would use."""
    tags = set()
    for address, raw in live.owned.items():
        if address.kind is Kind.VERSION:
            tags |= _tags_of(raw)
        elif address.kind is Kind.DEPLOYMENT:
            tags |= set(Labels.of(raw).tags)
    if destroy and desired.build is not None:
        tags.add(desired.build.tag)  # an apply that was cut off while it replaced the deployment may have left it
    return tags


def _tags_of(version: Json) -> set[str]:
    tags = {item.tag for item in Labels.of(version).revisions if item.tag}
    return tags | ({str(version["environment_tag"])} if version.get("environment_name") == ENVIRONMENT else set())


def needed_tags(desired: Desired, live: Live, destroy: bool) -> set[str]:
    """Tags that the stack needs once its plan is applied: its own, and those of the revisions kept for a rollback."""
    if destroy:
        return set()
    stack = desired.stack
    recorded = Labels.of(live.owned.get(version_address(stack.deployment.name, stack.version.name))).revisions
    package = desired.state[package_address(stack.deployment.name, stack.version.name)]
    uploads = not recorded or recorded[0].digest != package.fields["digest"]
    needed = {item.tag for item in (recorded[: KEPT_REVISIONS - 1] if uploads else recorded)}
    rollout = rollout_of(desired, live)
    asleep = [version_address(rollout.deployment, name) for name in rollout.kept] if rollout else []
    needed |= {tag for address in asleep for tag in _tags_of(live.owned[address])}
    return needed | ({desired.build.tag} if desired.build else set())


def retired_tags(api: Api, desired: Sequence[Desired], lives: Sequence[Live], destroy: bool) -> list[list[Address]]:
    """For each stack the tags (at last the environment too) to delete after its plan; each goes to one stack only."""
    stacks = list(zip(desired, lives, strict=True))
    needed = {tag for want, live in stacks for tag in needed_tags(want, live, destroy)}
    candidates = [touched_tags(want, live, destroy) - needed for want, live in stacks]
    retired: list[list[Address]] = [[] for _ in desired]
    if not any(candidates) or owner(api.environment(ENVIRONMENT)) != SHARED:
        return retired
    existing = {tag["name"] for tag in api.tags(ENVIRONMENT) or []}
    elsewhere = _needed_elsewhere(api, {want.stack.name for want in desired})
    free = _unused(api, (existing & set().union(*candidates)) - elsewhere, lives)
    is_last = free == existing and not needed and not elsewhere
    # By name, so that two applies of the same stacks never wait for each other in a circle.
    order = sorted(range(len(desired)), key=lambda position: desired[position].stack.name)
    for position in order:
        retired[position] = [tag_address(ENVIRONMENT, tag) for tag in sorted(candidates[position] & free)]
        free -= candidates[position]
    if is_last:
        last = [position for position in order if candidates[position]][-1]
        retired[last].append(environment_address(ENVIRONMENT))
    return retired


def _unused(api: Api, tags: Iterable[str], lives: Sequence[Live]) -> set[str]:
    """Those of the tags that no version outside of the stacks' own deployments runs in."""
    deployments = {address.names[0] for live in lives for address in live.owned if address.kind is Kind.DEPLOYMENT}
    return {tag for tag in tags if all(item["deployment"] in deployments for item in api.tag_usage(ENVIRONMENT, tag))}


def _needed_elsewhere(api: Api, planned: set[str]) -> set[str]:
    """Tags that other stacks use, keep or are about to use."""
    return {
        tag
        for deployment in api.deployments()
        if owner(deployment) is not None and owner(deployment) not in planned
        for tag in Labels.of(deployment).tags
    }
