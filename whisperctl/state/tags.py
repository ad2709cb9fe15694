"""Which environment tags a stack uses, keeps for a rollback, or has still to delete. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from whisperctl.control.api import Api, Json
from whisperctl.state.desired import Wanted
from whisperctl.state.labels import KEPT_REVISIONS, SHARED, Labels, owner
from whisperctl.state.live import ENVIRONMENT, Live
from whisperctl.state.resources import Address, Kind, environment_address, package_address, tag_address, version_address
from whisperctl.state.rollout import rollout_of


def touched_tags(wanted: Wanted, live: Live, destroy: bool) -> set[str]:
    """Tags that this stack uses, keeps or has still to delete; on destroy also the one that the spec would use."""
    tags = set()
    for address, raw in live.owned.items():
        if address.kind is Kind.VERSION:
            tags |= _tags_of(raw)
        elif address.kind is Kind.DEPLOYMENT:
            tags |= set(Labels.of(raw).tags)
    if destroy and wanted.build is not None:
        tags.add(wanted.build.tag)  # an apply that was cut off while it replaced the deployment may have left it
    return tags


def _tags_of(version: Json) -> set[str]:
    tags = {item.tag for item in Labels.of(version).revisions if item.tag}
    return tags | ({str(version["environment_tag"])} if version.get("environment_name") == ENVIRONMENT else set())


def needed_tags(wanted: Wanted, live: Live, destroy: bool) -> set[str]:
    """Tags that the stack needs once its plan is applied: its own, and those of the revisions kept for a rollback."""
    if destroy:
        return set()
    stack = wanted.stack
    recorded = Labels.of(live.owned.get(version_address(stack.deployment.name, stack.version.name))).revisions
    package = wanted.state[package_address(stack.deployment.name, stack.version.name)]
    uploads = not recorded or recorded[0].digest != package.fields["digest"]
    needed = {item.tag for item in (recorded[: KEPT_REVISIONS - 1] if uploads else recorded)}
    rollout = rollout_of(wanted, live)
    asleep = [version_address(rollout.deployment, name) for name in rollout.kept] if rollout else []
    needed |= {tag for address in asleep for tag in _tags_of(live.owned[address])}
    return needed | ({wanted.build.tag} if wanted.build else set())


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
    retired: list[list[Address]] = [[] for _ in wanted]
    # By name, so that two applies of the same stacks never wait for each other in a circle.
    for position in sorted(range(len(wanted)), key=lambda position: wanted[position].stack.name):
        free = (candidates[position] & existing) - elsewhere - given
        free = {tag for tag in free if _only_used_by(api, tag, deployments)}
        given |= free
        retired[position] = [tag_address(ENVIRONMENT, tag) for tag in sorted(free)]
    if given == existing and not needed and not elsewhere:
        last = max((p for p, tags in enumerate(candidates) if tags), key=lambda p: wanted[p].stack.name)
        retired[last].append(environment_address(ENVIRONMENT))
    return retired


def _needed_elsewhere(api: Api, planned: set[str]) -> set[str]:
    """Tags that other stacks use, keep or are about to use."""
    return {
        tag
        for deployment in api.deployments()
        if owner(deployment) is not None and owner(deployment) not in planned
        for tag in Labels.of(deployment).tags
    }


def _only_used_by(api: Api, tag: str, deployments: set[str]) -> bool:
    return all(item["deployment"] in deployments for item in api.tag_usage(ENVIRONMENT, tag))
