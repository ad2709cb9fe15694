"""The instance types on which a stack's instances will start, as UbiOps lists them. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from whisperctl.control.api import Api, Json
from whisperctl.errors import ApiError
from whisperctl.spec import InstanceTypeGroup


def types_of_groups(groups: Sequence[Json], declared: InstanceTypeGroup) -> list[Json]:
    """Those of the group of that name; of several it is the first (UbiOps reference, 3.2)."""
    first = next((group for group in groups if group["name"] == declared.name), {})
    return list(first.get("instance_types") or ())


def is_to_be_asked(groups: Sequence[Json], declared: InstanceTypeGroup) -> bool:
    """Whether the group will get instance types that it does not have yet."""
    there = {item["name"] for item in types_of_groups(groups, declared)}
    return any(choice.name not in there for choice in declared.instance_types)


def project_types(api: Api, groups: Sequence[Json], declared: Iterable[InstanceTypeGroup]) -> list[Json]:
    """The project's instance types, if one of the groups needs them; none where the token may not read them."""
    if not any(is_to_be_asked(groups, each) for each in declared):
        return []
    try:
        return api.instance_types()
    except ApiError:
        return []  # what it does not have shows when the group is made


def declared_types(groups: Sequence[Json], types: Sequence[Json], declared: InstanceTypeGroup) -> list[Json]:
    """The types of the group as it will be, in the order of the file; of one that must exist, as it is."""
    if not declared.instance_types:
        return types_of_groups(groups, declared)
    known = {item["name"]: item for item in (*types_of_groups(groups, declared), *types)}
    return [known[choice.name] for choice in declared.instance_types if choice.name in known]


def missing_types(groups: Sequence[Json], types: Sequence[Json], declared: InstanceTypeGroup) -> list[str]:
    """Names of the file that the project has no instance type of; none where they could not be read."""
    known = {item["name"] for item in (*types_of_groups(groups, declared), *types)}
    return [choice.name for choice in declared.instance_types if types and choice.name not in known]
