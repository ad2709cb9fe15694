"""One stack in its project: instance types, base environment, names that are free or its own, what it inherits, and
how its last start ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from whisperctl.control.api import Api, Json
from whisperctl.errors import ApiError
from whisperctl.operate.doctor.check import Check, failed, ok, skipped, warning
from whisperctl.operate.status import failed_start
from whisperctl.plan.changes import Remark
from whisperctl.plan.inherited import NAME as INHERITED
from whisperctl.plan.inherited import inherited_remarks
from whisperctl.plan.instance_types import group_warning, in_words, no_type_fits
from whisperctl.spec import Stack
from whisperctl.state.group_types import declared_types, missing_types
from whisperctl.state.inherited import Inherited, inherited_variables, to_be_inherited
from whisperctl.state.live import ENVIRONMENT
from whisperctl.state.ownership import SHARED, owner
from whisperctl.state.resources import deployment_address, environment_address, service_address, version_address
from whisperctl.state.serving import serving


def checks(api: Api, stack: Stack, answering: bool) -> Iterator[Check]:
    """Each thing that the stack needs; all skipped when the project cannot be read."""
    for name, look in LOOKS.items():
        title = f"{stack.name}: {name}"
        yield _looked(title, look, api, stack) if answering else skipped(title, "the project cannot be read")


def _looked(title: str, look: Callable[[str, Api, Stack], Check], api: Api, stack: Stack) -> Check:
    try:
        return look(title, api, stack)
    except ApiError as error:
        return skipped(title, f"cannot be read: {error.reason}")


def _group(title: str, api: Api, stack: Stack) -> Check:
    group = stack.instance_type_group
    groups, types = api.groups(), api.instance_types()
    names, known = sorted({item["name"] for item in groups}), sorted(item["name"] for item in types)
    if not group.instance_types and group.name not in names:
        fix = f"{stack.source('instance_type_group', 'name')}: name one of {_listed(names)}, or list instance_types"
        return failed(title, f"there is no group {group.name!r}", fix)
    if missing := missing_types(groups, types, group):
        fix = f"{stack.source('instance_type_group', 'instance_types')}: the project has {_listed(known)}"
        return failed(title, f"there is no instance type {_listed(missing)}", fix)
    chosen = declared_types(groups, types, group)
    for remark in no_type_fits(stack, chosen, groups):
        return failed(title, *_with_fix(remark))
    for remark in group_warning(stack, chosen):
        return warning(title, remark.text, f"{remark.source}: leave those out, or see that the server starts there")
    return ok(title, f"the group {group.name!r}: {', '.join(map(in_words, chosen))}")


def _with_fix(remark: Remark) -> tuple[str, str]:
    """What is wrong, and what to do where."""
    text, _, fix = remark.text.partition("\n  ")
    return text, f"{remark.source}: {fix}"


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names) or "none"


def _base(title: str, api: Api, stack: Stack) -> Check:
    name, base_tag = stack.environment.base_name, stack.environment.base_tag
    place = stack.source("environment", "base")
    tags = api.tags(name)
    if tags is None:
        fix = f"{place}: name one that the console lists, such as ubiops-ubuntu24-04-python3-12"
        return failed(title, f"there is no environment {name!r}", fix)
    usable = sorted(tag["name"] for tag in tags if tag["status"] == "available" and not tag.get("deprecated"))
    if base_tag is not None and base_tag not in usable:
        fix = f"{place}: it has {_listed(usable)}; without a tag the newest is taken"
        return failed(title, f"{name} has no usable tag {base_tag!r}", fix)
    if not usable:
        return failed(title, f"{name} has no usable tag", f"{place}: name another base environment")
    return ok(title, f"{name} with {_listed(usable)}")


def _names(title: str, api: Api, stack: Stack) -> Check:
    names = (stack.deployment.name, stack.version.name)
    objects: list[tuple[str, Json | None, str]] = [
        (str(deployment_address(names[0])), api.deployment(names[0]), stack.name),
        (str(version_address(*names)), api.version(*names), stack.name),
        *((str(service_address(s.name)), api.find_service(s.name), stack.name) for s in stack.services),
        (str(environment_address(ENVIRONMENT)), api.environment(ENVIRONMENT), SHARED),
    ]
    taken = [(address, owner(raw)) for address, raw, mine in objects if raw is not None and owner(raw) != mine]
    if not taken:
        there = [address for address, raw, _ in objects if raw is not None]
        return ok(title, f"its own: {', '.join(there)}" if there else "free")
    listed = ", ".join(
        f"{address} ({'of the stack ' + repr(whose) if whose else 'nobody’s'})" for address, whose in taken
    )
    if any(whose for _, whose in taken):
        return failed(title, f"taken: {listed}", "choose other names in the stack file")
    return failed(
        title, f"taken: {listed}", f"take them over with whisperctl adopt {stack.file}, or choose other names"
    )


def _handed_down(api: Api, stack: Stack) -> list[Inherited]:
    """Env vars that the version gets from elsewhere; of one that is yet to be made, those that it will get."""
    names = (stack.deployment.name, stack.version.name)
    if api.version(*names) is not None:
        inherited = inherited_variables(api.env_vars(*names))
    else:
        there = names[0] if api.deployment(names[0]) is not None else None
        inherited = to_be_inherited(api, there, () if there else api.project_env_vars())
    own = {var.name for var in stack.env}
    return [var for var in inherited if var.name not in own]


def inherited_names(api: Api, stack: Stack) -> list[str]:
    """Names of what `_handed_down` gives; none where it cannot be read."""
    try:
        return [var.name for var in _handed_down(api, stack)]
    except ApiError:
        return []


def _inherited(title: str, api: Api, stack: Stack) -> Check:
    remarks = list(inherited_remarks(stack, _handed_down(api, stack), api.project))
    if not remarks:
        return ok(title, "none steers the server")
    texts = [" ".join(line.strip() for line in remark.text.splitlines()[:-1]) for remark in remarks]
    fix = f"set them under env: in {stack.file}, take them away there, or acknowledge: [{INHERITED}]"
    return warning(title, " ".join(texts), fix)


def _start(title: str, api: Api, stack: Stack) -> Check:
    """Whether instances that should run do, and why the newest start failed."""
    stack = serving(api, stack)
    version = api.version(stack.deployment.name, stack.version.name)
    if version is None:
        return skipped(title, "there is no version yet")
    instances = api.instances(stack.deployment.name, stack.version.name)
    if any(instance["status"] == "running" for instance in instances):
        return ok(title, "an instance runs")
    cause = failed_start(api, stack, version, instances)
    if cause is None:
        return ok(title, "no failed start in the last hour")
    rest = f"whisperctl logs --instance {stack.file} shows the rest"
    return warning(title, f"failed: {cause.error}", f"{cause.advice} {rest}" if cause.advice else rest)


LOOKS: Mapping[str, Callable[[str, Api, Stack], Check]] = {
    "instance types": _group,
    "base environment": _base,
    "names": _names,
    "inherited variables": _inherited,
    "last start": _start,
}
