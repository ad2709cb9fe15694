"""What UbiOps' answers look like, as far as we read them: checked where they come in, so that nothing else has to.

A table of fields, wherever an object has them, and one of what an object of a kind must have. What they do not name is
UbiOps' business: only what would break us is checked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _number(value: Any) -> bool:
    """One that can be computed with: JSON, as Python reads it, knows NaN, infinity and numbers of any length."""
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def _time(value: Any) -> bool:
    try:
        datetime.fromisoformat(value).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def _count(value: Any) -> bool:
    """A whole number, also as digits in a text: nanoseconds are more than other languages' numbers hold."""
    return (isinstance(value, int) and not isinstance(value, bool)) or (_text(value) and value.isdecimal())


def _object(value: Any) -> bool:
    return isinstance(value, dict)


def _objects(value: Any) -> bool:
    return isinstance(value, list) and all(map(_object, value))


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _labels(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_text, value.values()))


def _points(value: Any) -> bool:
    ends = ("start_date", "end_date")
    return _objects(value) and all("value" in each and all(_time(each.get(end)) for end in ends) for each in value)


def _text_or_object(value: Any) -> bool:
    """A name, or in its place the object that has it."""
    return _text(value) or _object(value)


_FIELDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(
        (
            "id", "name", "display_name", "status", "endpoint", "resource", "resource_type", "role", "user_email",
            "instance_type_group_id", "instance_type_group_name", "environment_name", "environment_tag",
            "active_revision", "latest_revision", "error_message", "description", "log",
        ),
        (_text, "text"),
    ),
    **dict.fromkeys(("version", "deployment", "tag"), (_text_or_object, "text")),
    **dict.fromkeys(("creation_date", "last_updated", "time_created", "time_updated"), (_time, "time")),
    **dict.fromkeys(
        (
            "minimum_instances", "maximum_instances", "maximum_idle_time", "credit_rate", "priority",
            "schedule_timeout", "instances_ready", "quota", "size", "port", "accelerator", "memory",
        ),
        (_number, "number"),
    ),
    "timestamp": (_count, "whole number"),
    "labels": (_labels, "mapping of texts"),
    "metadata": (_object, "object"),
    "instance_type": (_text_or_object, "object"),
    "instance_types": (_objects, "list of objects"),
    "health_check": (_object, "object"),
    "permissions": (_texts, "list of texts"),
}  # fmt: skip
"""Field -> what it is wherever it is not null, and its word."""
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "deployments": ("name",),
    "deployment_versions": ("version",),
    "services": ("name",),
    "environments": ("name",),
    "environment_tag_dependencies": ("name",),
    "environment_tags": ("name", "status"),
    "instance_type_groups": ("id", "name"),
    "instance_types": ("name",),
    "deployment_version_environment_variables": ("id", "name"),
    "deployment_environment_variables": ("id", "name"),
    "project_environment_variables": ("id", "name"),
    "deployment_version_requests": ("id",),
    "revisions": ("id", "status", "creation_date"),
    "instances": ("id", "status", "time_updated"),
    "project_instances": ("id", "status"),
    "instance_events": ("time_created", "description"),
    "permissions": ("name",),
    "roles": ("permissions",),
    "role_assignments_per_object": ("role", "resource_type"),
    "quotas": ("resource",),
    "logs": ("timestamp", "log"),
}
"""Kind of object -> fields that are never null; of the methods that list and get it."""
_NAMES = dict.fromkeys(("version", "deployment"), (_text, "text"))
_FIELDS_OF: Mapping[str, Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "deployment_versions": _NAMES,
    "services": _NAMES,
    "instances": {"instance_type": (_object, "object")},
    "project_instances": {"instance_type": (_object, "object")},
}
"""Kind of object -> fields that are elsewhere a name or an object, and there the one or the other."""
_ANY_ID = ("instance_events", "project_audit_events", "deployment_audit_events")
"""Kinds whose `id` nobody reads: some are numbers."""
PAGED = ("instance_types_list", "instance_type_groups_list", "instances_list", "instance_events_list",
    "project_instances_list",)  # fmt: skip
"""Lists that come in pages."""
_NESTED = ("instance_type", "instance_types")
"""Fields with objects whose own fields are checked."""
_OTHER: Mapping[str, Callable[[Any], bool]] = {
    "revisions_file_upload": lambda answer: _object(answer) and _text(answer.get("revision")),
    "environment_tags_usage": lambda answer: _objects(answer) and all(_text(each.get("deployment")) for each in answer),
    "deployment_version_requests_batch_get": lambda answer: (
        _objects(answer) and all(_time(each.get("time_created")) for each in answer)
    ),
    "time_series_data_list": lambda answer: _object(answer) and _points(answer.get("data_points", answer.get("data"))),
    "projects_resource_usage": lambda answer: (
        _object(answer) and all(value is None or _number(value) for value in answer.values())
    ),
}
"""What is no object of a kind, and its own check."""
_VERBS = ("_list", "_get", "_create", "_update")


def must_answer(method: str) -> bool:
    """Whether an empty answer to the client's `method` is none."""
    return method.endswith(("_list", "_get", "_create", "_upload", "status", "user", "_usage"))


def misfit(method: str, answer: Any) -> str | None:
    """What is wrong with the answer to the client's `method`, in words that follow `The answer`; None if nothing is."""
    if method in _OTHER:
        return None if _OTHER[method](answer) else "has another shape than UbiOps' answers have"
    if method.endswith("_list"):
        return _of_list(method, answer)
    if not isinstance(answer, dict):
        return "is not an object"
    return _of_object(method, answer)


def without_misfits(method: str, answer: Any) -> tuple[Any, list[str]]:
    """The answer to a method that lists, without the objects that are none, and what is wrong with each of these."""
    if not method.endswith("_list") or (method in PAGED and not isinstance(answer, dict)):
        return answer, []
    items = answer.get("results") if method in PAGED else answer
    if not isinstance(items, list):
        return answer, []
    wrong = {index: why for index, item in enumerate(items) if (why := _of_item(method, item)) is not None}
    sound = [item for index, item in enumerate(items) if index not in wrong]
    return ({**answer, "results": sound} if method in PAGED else sound), list(wrong.values())


def _of_list(method: str, answer: Any) -> str | None:
    if method in PAGED:
        if not isinstance(answer, dict) or "results" not in answer:
            return "is not a page of a list"
        following = answer.get("next")
        if following is not None and not isinstance(following, str):
            return "has a `next` that is no text"
        answer = answer["results"]
    if not isinstance(answer, list):
        return "is not a list"
    return next((why for item in answer if (why := _of_item(method, item)) is not None), None)


def _of_item(method: str, item: Any) -> str | None:
    return _of_object(method, item) if isinstance(item, dict) else "is not a list of objects"


def _of_object(method: str, item: Mapping[str, Any]) -> str | None:
    kind = next((method.removesuffix(verb) for verb in _VERBS if method.endswith(verb)), method)
    return next(_wrong_fields(kind, _NEEDED.get(kind, ()) if must_answer(method) else (), item), None)


def _wrong_fields(kind: str, needed: tuple[str, ...], item: Mapping[str, Any]) -> Iterator[str]:
    for name in needed:
        if item.get(name) is None:
            yield f"has an object without `{name}`"
    for name, (fits, word) in {**_FIELDS, **_FIELDS_OF.get(kind, {})}.items():
        value = item.get(name)
        if value is not None and not fits(value) and not (name == "id" and kind in _ANY_ID):
            yield f"has a `{name}` that is no {word}"
    for name in _NESTED:
        value = item.get(name)
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict):
                yield from _wrong_fields("instance_types", ("id",), each)
