"""What UbiOps' answers look like, as far as we read them: checked where they come in, so that nothing else has to.

A table of the official client's methods; what it does not name is an object or a list of objects. Only what would break
us is checked: unknown fields and missing optional ones are UbiOps' business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_TEXTS = ("id", "name", "version", "deployment", "status", "creation_date", "last_updated", "endpoint", "tag")
"""Fields that are text wherever they are not null."""
_MAPPING = "labels"
"""The field that is a mapping of texts, or null."""
_NEVER_NULL = ("id", "name", "status")
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "deployments": ("name",),
    "deployment_versions": ("version",),
    "services": ("name",),
    "environments": ("name",),
    "environment_tags": ("name",),
    "instance_type_groups": ("id", "name"),
    "instance_types": ("name",),
    "deployment_version_environment_variables": ("id", "name"),
    "revisions": ("id",),
    "instances": ("id",),
    "permissions": ("name",),
}
"""Kind of object -> fields without which it is none; of the methods that list, get, create and update it."""
PAGED = ("instance_types_list", "instance_type_groups_list", "instances_list", "instance_events_list",
    "project_instances_list",)  # fmt: skip
"""Lists that come in pages."""
_VERBS = ("_list", "_get", "_create", "_update")


def must_answer(method: str) -> bool:
    """Whether an empty answer to the client's `method` is none."""
    return method.endswith(("_list", "_get", "_create", "_upload", "status", "user", "_usage"))


def misfit(method: str, found: Any) -> str | None:
    """What is wrong with the answer to the client's `method`, in words that follow `The answer`; None if nothing is."""
    if method in _OTHER:
        return None if _OTHER[method](found) else "has another shape than UbiOps' answers have"
    if method.endswith("_list"):
        return _of_list(method, found)
    if isinstance(found, list):
        return "is a list, not an object" if not all(isinstance(item, dict) for item in found) else None
    if not isinstance(found, dict):
        return "is not an object"
    return _of_object(method, found)


def _of_list(method: str, found: Any) -> str | None:
    if method in PAGED:
        if not isinstance(found, dict) or "results" not in found:
            return "is not a page of a list"
        following = found.get("next")
        if following is not None and not isinstance(following, str):
            return "has a `next` that is no text"
        found = found["results"]
    if not isinstance(found, list):
        return "is not a list"
    for item in found:
        if not isinstance(item, dict):
            return "is not a list of objects"
        if (why := _of_object(method, item)) is not None:
            return why
    return None


def _of_object(method: str, item: Mapping[str, Any]) -> str | None:
    kind = next((method.removesuffix(verb) for verb in _VERBS if method.endswith(verb)), method)
    for name in _NEEDED.get(kind, ()):
        if name not in item:
            return f"has an object without `{name}`"
    for name in _TEXTS:
        value = item.get(name, "")
        if not isinstance(value, str) and (value is not None or name in _NEVER_NULL) and not _is_nested(name, value):
            return f"has a `{name}` that is no text"
    labels = item.get(_MAPPING)
    if labels is not None and not (isinstance(labels, dict) and all(isinstance(v, str) for v in labels.values())):
        return "has `labels` that are no mapping of texts"
    return None


def _is_nested(name: str, value: Any) -> bool:
    """Numbers as ids, as some events have, and objects in whose place others have their name."""
    return (name == "id" and isinstance(value, int)) or (name not in ("id", "name") and isinstance(value, dict))


def _objects(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(item, dict) for item in found)


def _texts(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(item, str) for item in found)


def _points(found: Any) -> bool:
    return _objects(found) and all(isinstance(item.get("start_date"), str) and "value" in item for item in found)


_OTHER: Mapping[str, Callable[[Any], bool]] = {
    "revisions_file_upload": lambda found: isinstance(found, dict) and isinstance(found.get("revision"), str),
    "environment_tags_usage": _objects,
    "roles_get": lambda found: isinstance(found, dict) and _texts(found.get("permissions")),
    "quotas_list": _objects,
    "logs_list": _objects,
    "time_series_data_list": lambda found: (
        isinstance(found, dict) and _points(found.get("data_points", found.get("data")))
    ),
}
"""What is neither, and its own check."""
