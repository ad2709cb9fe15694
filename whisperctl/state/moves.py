"""`moved`: which live objects still have an earlier name of the stack's, and what stands against renaming them. Pure.

Who owns what is told by labels: an object under an earlier name is the same one if this stack, or a stack that it was
called before, owns it. Any other object of such a name is nobody's business here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from whisperctl.control.api import Json
from whisperctl.spec import Moved, Stack
from whisperctl.state.line import is_line, is_of_line, line_of
from whisperctl.state.ownership import owner
from whisperctl.state.resources import Address, Kind, deployment_address, service_address, version_address


@dataclass(frozen=True, kw_only=True, slots=True)
class Moves:
    """What is to be renamed, the deployment first."""

    renames: tuple[tuple[Address, Address], ...] = ()
    """Name on UbiOps -> name in the file; of a version with the deployment's name of the file in both."""
    conflicts: tuple[str, ...] = ()
    """Why nothing may be renamed."""

    def before(self, stack: Stack) -> Stack:
        """The stack under the names that its objects have on UbiOps."""
        old = {new: was for was, new in self.renames}
        deployment = old.get(deployment_address(stack.deployment.name))
        version = old.get(version_address(stack.deployment.name, stack.version.name))
        services = tuple(
            replace(service, name=old.get(service_address(service.name), service_address(service.name)).names[0])
            for service in stack.services
        )
        return replace(
            stack,
            deployment=replace(stack.deployment, name=deployment.names[0]) if deployment else stack.deployment,
            version=replace(stack.version, name=version.names[1]) if version else stack.version,
            services=services,
        )


def is_declared(stack: Stack) -> bool:
    """Whether the file says that anything was called otherwise."""
    return stack.moved != Moved()


def moves_of(
    stack: Stack, deployments: Mapping[str, Json], versions: Mapping[str, Sequence[Json]], services: Mapping[str, Json]
) -> Moves:
    """What has an earlier name.

    Args:
        stack: the stack, its version under the name that it is to have.
        deployments: those of the project, by name.
        versions: of each deployment that is, or was, the stack's: its versions.
        services: those of the project, by name.
    """
    conflicts = list(_two_stacks(stack, deployments.values()))
    name, ours = stack.deployment.name, _ours(stack, deployments)
    old = _renamed("deployment", name, stack.moved.deployment, ours, deployments, conflicts)
    renames = [(deployment_address(was), deployment_address(name)) for was in old]
    own = {item["version"]: item for item in versions.get(old[0] if old else name, ())}
    pairs = _versions(stack, own, conflicts)
    renames += [(version_address(name, before), version_address(name, after)) for before, after in pairs]
    for new, olds in stack.moved.services.items():
        there = _renamed("service", new, olds, _ours(stack, services), services, conflicts)
        renames += [(service_address(was), service_address(new)) for was in there]
    return Moves(renames=() if conflicts else tuple(renames), conflicts=tuple(conflicts))


def _ours(stack: Stack, objects: Mapping[str, Json]) -> set[str]:
    return {name for name, raw in objects.items() if owner(raw) in stack.owners}


def _two_stacks(stack: Stack, deployments: Iterable[Json]) -> Iterator[str]:
    deployments_by_owner = {owner(raw): raw["name"] for raw in deployments if owner(raw) in stack.owners}
    if len(deployments_by_owner) > 1:
        names = " and ".join(f"{who!r} (deployment/{name})" for who, name in sorted(deployments_by_owner.items()))
        yield f"the stacks {names} both exist: one of them cannot have been renamed to the other"


def _renamed(
    kind: str, new: str, olds: Sequence[str], ours: set[str], taken: Mapping[str, Json], conflicts: list[str]
) -> list[str]:
    """The earlier name that an object of ours still has; none where it has today's."""
    there = [old for old in olds if old in ours]
    if not there:
        return []
    if new in taken:
        conflicts.append(f"{kind}/{there[0]} and {kind}/{new} both exist: one cannot be renamed to the other")
        return []
    if len(there) > 1:
        conflicts.append(f"{' and '.join(f'{kind}/{old}' for old in there)} both exist: which one is {kind}/{new}?")
        return []
    return there


def _versions(stack: Stack, own: Mapping[str, Json], conflicts: list[str]) -> Iterator[tuple[str, str]]:
    ours = _ours(stack, own)
    if not is_line(stack):
        new = stack.version.name
        for old in _renamed("version", new, stack.moved.version, ours, own, conflicts):
            yield old, new
        return
    for line in stack.moved.version:
        for old in sorted(name for name in ours if is_of_line(name, line)):
            new = line_of(stack) + old.removeprefix(line)
            if new in own:
                conflicts.append(f"version/{old} and version/{new} both exist: one cannot be renamed to the other")
            else:
                yield old, new


def other_owners(stack: Stack, objects: Mapping[Address, Json]) -> list[Address]:
    """The objects that still carry an earlier name of the stack as their owner's."""
    kinds = (Kind.DEPLOYMENT, Kind.VERSION, Kind.SERVICE)
    return [a for a, raw in sorted(objects.items()) if a.kind in kinds and owner(raw) in stack.moved.stack]
