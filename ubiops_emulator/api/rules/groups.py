"""Instance types, which the platform provides, and instance type groups, which a project makes of them."""

from __future__ import annotations

from typing import Any

from ubiops_emulator.api import shapes
from ubiops_emulator.api.call import SYSTEM, Call, group, in_use, project
from ubiops_emulator.api.rules.paging import page
from ubiops_emulator.clock import stamp
from ubiops_emulator.refusal import invalid, not_found
from ubiops_emulator.store import Doc, Store


def types(call: Call) -> dict[str, Any]:
    """List the instance types of the platform."""
    project(call)
    return page(call, call.store.children("instance_type", SYSTEM), _type)


def _type(doc: Doc) -> dict[str, Any]:
    return {key: value for key, value in doc.body.items() if not key.startswith("_")}


def index(call: Call) -> dict[str, Any]:
    """List the instance type groups of the project."""
    return page(call, call.store.children("group", project(call).id), _view)


def get(call: Call) -> dict[str, Any]:
    """One instance type group."""
    return _view(group(call))


def create(call: Call) -> dict[str, Any]:
    """Create an instance type group."""
    body = call.checked(shapes.GROUP, creating=True)
    body["instance_types"] = members(call, body["instance_types"])
    body.setdefault("name", body["instance_types"][0]["display_name"])
    body |= {"time_created": call.stamp, "time_updated": call.stamp}
    return _view(call.store.add("group", project(call).id, None, body))


def update(call: Call) -> dict[str, Any]:
    """Change the name of a group, or replace all of its instance types."""
    doc = group(call)
    changes = call.checked(shapes.GROUP, creating=False)
    if "instance_types" in changes:
        changes["instance_types"] = members(call, changes["instance_types"])
    doc.body |= changes | {"time_updated": call.stamp}
    call.store.save(doc)
    return _view(doc)


def delete(call: Call) -> None:
    """Delete a group that no version uses.

    Raises:
        Refusal: a version uses it.
    """
    doc = group(call)
    users = [str(version.name) for version in _using(call, doc)]
    if users:
        raise in_use(call, f"Instance type group is used by deployment version {', '.join(users)}")
    call.store.delete(doc)


def give_default_groups(store: Store, project_id: str, now: float) -> None:
    """A new project has a group for each of the usual instance types."""
    for kind in store.children("instance_type", SYSTEM):
        if kind.body["_grouped"]:
            member = {key: value for key, value in kind.body.items() if key != "_grouped"}
            member |= {"priority": 0, "schedule_timeout": 300}
            body = {"name": kind.body["display_name"], "instance_types": [member]}
            body |= {"time_created": stamp(now), "time_updated": stamp(now)}
            store.add("group", project_id, None, body)


def usage(call: Call) -> dict[str, Any]:
    """List the versions that use a group."""
    doc = group(call)

    def row(version: Doc) -> dict[str, Any]:
        deployment = call.store.by_id("deployment", version.parent)
        return {
            "id": version.id,
            "deployment": deployment.name if deployment else None,
            "version": version.name,
            "instance_type_group_id": doc.id,
            "instance_type_group_name": doc.body["name"],
        }

    return page(call, _using(call, doc), row)


def members(call: Call, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The complete instance types of a group, in the order of their priority.

    Raises:
        Refusal: 400 for an empty list or a type that is listed twice, 404 for a type that the platform does not have.
    """
    if not items:
        raise invalid("instance_types: this list may not be empty")
    idents = [item["id"] for item in items]
    if len(set(idents)) != len(idents):
        raise invalid("instance_types: an instance type can only be listed once")
    rows = []
    for position, item in enumerate(items):
        kind = call.store.by_id("instance_type", item["id"])
        if kind is None:
            raise not_found("Instance type")
        item.setdefault("priority", position)
        rows.append({key: value for key, value in kind.body.items() if not key.startswith("_")} | item)
    return sorted(rows, key=lambda row: row["priority"])


def _using(call: Call, doc: Doc) -> list[Doc]:
    docs = call.store.every("version")
    return [version for version in docs if version.body["instance_type_group_id"] == doc.id]


def _view(doc: Doc) -> dict[str, Any]:
    return shapes.keep(shapes.GROUP_KEEP, doc.body)
