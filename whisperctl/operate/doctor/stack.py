"""What one stack needs of its project: instance types, a base environment, names that are free or its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from whisperctl.control.api import Api, Json
from whisperctl.errors import ApiError
from whisperctl.operate.doctor.check import Check, failed, ok, skipped
from whisperctl.spec import Stack
from whisperctl.state.labels import SHARED, owner
from whisperctl.state.live import ENVIRONMENT
from whisperctl.state.resources import deployment_address, environment_address, service_address, version_address


def checks(api: Api, stack: Stack, answering: bool) -> Iterator[Check]:
    """Each thing that the stack needs; all skipped when the project cannot be read."""
    for name, look in (("instance types", _group), ("base environment", _base), ("names", _names)):
        title = f"{stack.name}: {name}"
        yield _looked(title, look, api, stack) if answering else skipped(title, "the project cannot be read")


def _looked(title: str, look: Callable[[str, Api, Stack], Check], api: Api, stack: Stack) -> Check:
    try:
        return look(title, api, stack)
    except ApiError as error:
        return skipped(title, f"cannot be read: {error.reason}")


def _group(title: str, api: Api, stack: Stack) -> Check:
    group = stack.instance_type_group
    if not group.instance_types:
        names = sorted({item["name"] for item in api.groups()})
        if group.name in names:
            return ok(title, f"the group {group.name!r} exists")
        fix = f"{stack.source('instance_type_group', 'name')}: name one of {_listed(names)}, or list instance_types"
        return failed(title, f"there is no group {group.name!r}", fix)
    known = sorted(item["name"] for item in api.instance_types())
    missing = [choice.name for choice in group.instance_types if choice.name not in known]
    if missing:
        fix = f"{stack.source('instance_type_group', 'instance_types')}: the project has {_listed(known)}"
        return failed(title, f"there is no instance type {_listed(missing)}", fix)
    return ok(title, f"{_listed([choice.name for choice in group.instance_types])} for the group {group.name!r}")


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names) or "none"


def _base(title: str, api: Api, stack: Stack) -> Check:
    name, wanted = stack.environment.base_name, stack.environment.base_tag
    place = stack.source("environment", "base")
    tags = api.tags(name)
    if tags is None:
        fix = f"{place}: name one that the console lists, such as ubiops-ubuntu24-04-python3-12"
        return failed(title, f"there is no environment {name!r}", fix)
    usable = sorted(tag["name"] for tag in tags if tag["status"] == "available" and not tag.get("deprecated"))
    if wanted is not None and wanted not in usable:
        fix = f"{place}: it has {_listed(usable)}; without a tag the newest is taken"
        return failed(title, f"{name} has no usable tag {wanted!r}", fix)
    if not usable:
        return failed(title, f"{name} has no usable tag", f"{place}: name another base environment")
    return ok(title, f"{name} with {_listed(usable)}")


def _names(title: str, api: Api, stack: Stack) -> Check:
    names = (stack.deployment.name, stack.version.name)
    found: list[tuple[str, Json | None, str]] = [
        (str(deployment_address(names[0])), api.deployment(names[0]), stack.name),
        (str(version_address(*names)), api.version(*names), stack.name),
        *((str(service_address(s.name)), api.find_service(s.name), stack.name) for s in stack.services),
        (str(environment_address(ENVIRONMENT)), api.environment(ENVIRONMENT), SHARED),
    ]
    taken = [(address, owner(raw)) for address, raw, mine in found if raw is not None and owner(raw) != mine]
    if not taken:
        there = [address for address, raw, _ in found if raw is not None]
        return ok(title, f"its own: {', '.join(there)}" if there else "free")
    told = ", ".join(
        f"{address} ({'of the stack ' + repr(whose) if whose else 'nobody’s'})" for address, whose in taken
    )
    if any(whose for _, whose in taken):
        return failed(title, f"taken: {told}", "choose other names in the stack file")
    return failed(title, f"taken: {told}", f"take them over with whisperctl adopt {stack.file}, or choose other names")
