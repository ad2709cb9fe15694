"""Deployment versions: scaling bounds, environment and instance group references, status."""

from __future__ import annotations

from typing import Any

from ubiops_emulator.api import shapes
from ubiops_emulator.api.call import (
    Call,
    default_version,
    deployment,
    duplicate,
    find_environment,
    find_tag,
    in_use,
    labelled,
    newest_tag,
    project,
    version,
)
from ubiops_emulator.refusal import Refusal, invalid, not_found
from ubiops_emulator.store import Doc, Duplicate, Store

DEFAULT_ENVIRONMENT = "ubiops-ubuntu24-04-python3-12"
GPU_IDLE_TIME = 300
RESTARTING = frozenset(
    "environment environment_name environment_tag instance_type_group_id instance_type_group_name command args".split()
)
CHOSEN = ("environment", "environment_name", "environment_tag", "instance_type", "instance_type_group_name")


def index(call: Call) -> list[dict[str, Any]]:
    """List the versions of a deployment, by label if asked."""
    parent = deployment(call)
    docs = labelled(call, call.store.children("version", parent.id))
    return [shapes.keep(shapes.VERSION_LIST, view(call, parent, doc)) for doc in docs]


def get(call: Call) -> dict[str, Any]:
    """One version."""
    parent = deployment(call)
    return _detail(call, parent, version(call))


def create(call: Call) -> dict[str, Any]:
    """Create a version; the first of a deployment is its default.

    Raises:
        Refusal: instance types or environment are not there, contradictory or not for this deployment; bounds that do
            not fit, an idle time too short for a GPU, half a health check, or a command with request format; or the
            name is taken.
    """
    parent = deployment(call)
    body = call.checked(shapes.VERSION, creating=True)
    _fill_bounds(parent, body)
    _choose_group(call, body)
    _choose_environment(call, parent, body, given=body)
    body |= {
        "active_revision": None,
        "latest_revision": None,
        "last_file_upload": None,
        "has_request_method": None,
        "has_requests_method": None,
        "creation_date": call.stamp,
        "last_updated": call.stamp,
    }
    _check(call, parent, body)
    try:
        doc = call.store.add("version", parent.id, body["version"], body)
    except Duplicate as error:
        raise duplicate(call, "Deployment version", body["version"]) from error
    if not parent.body["_default"]:
        parent.body["_default"] = doc.id
        call.store.save(parent)
    call.touch(doc.id)
    return _detail(call, parent, doc)


def update(call: Call) -> dict[str, Any]:
    """Change a version; instances are started and stopped as its bounds say.

    Raises:
        Refusal: instance types or environment are not there, contradictory or not for this deployment; bounds that do
            not fit, an idle time too short for a GPU, half a health check, or a command with request format; or the
            name is taken.
    """
    parent, doc = deployment(call), version(call)
    changes = call.checked(shapes.VERSION, creating=False)
    doc.body |= {key: value for key, value in changes.items() if key not in CHOSEN}
    if not parent.body["supports_request_format"] and "minimum_instances" in changes:
        doc.body["maximum_instances"] = changes.get("maximum_instances", changes["minimum_instances"])
    if not changes.keys().isdisjoint(("instance_type_group_id", "instance_type_group_name", "instance_type")):
        _choose_group(call, doc.body, changes)
    if not changes.keys().isdisjoint(("environment", "environment_name", "environment_tag")):
        _choose_environment(call, parent, doc.body, given=changes)
    _check(call, parent, doc.body)
    doc.body["last_updated"] = call.stamp
    doc.name = doc.body["version"]
    try:
        call.store.save(doc)
    except Duplicate as error:
        raise duplicate(call, "Deployment version", doc.name or "") from error
    call.touch(doc.id)
    if call.switches.restart_on_change and RESTARTING & set(changes):
        recycle(call.store, doc.id)
    return _detail(call, parent, doc)


def delete(call: Call) -> None:
    """Delete a version and its instances, unless a service points at it.

    Raises:
        Refusal: a service points at it, and the switch `service_blocks_delete` is on.
    """
    doc = version(call)
    users = [s.body["name"] for s in call.store.every("service") if target(call.store, s) == doc.id]
    if users and call.switches.service_blocks_delete:
        raise in_use(call, f"Deployment version is used by service {', '.join(users)}")
    remove(call, doc)
    parent = deployment(call)
    if parent.body["_default"] == doc.id:
        parent.body["_default"] = None
        call.store.save(parent)


def remove(call: Call, doc: Doc) -> None:
    """Delete a version with everything below it."""
    for kind in ("revision", "variable", "request"):
        call.store.delete_children(kind, doc.id)
    call.store.delete(doc)
    call.touch(doc.id)


def recycle(store: Store, version_id: str) -> None:
    """Mark a version's instances as outdated: each is replaced once its successor runs."""
    for instance in store.children("instance", version_id):
        instance.body["_outdated"] = True
        store.save(instance)


def target(store: Store, service: Doc) -> str | None:
    """The id of the version a service routes to: its own, or its deployment's default."""
    if service.body["_version"]:
        return str(service.body["_version"])
    parent = store.by_id("deployment", service.body["_deployment"])
    try:
        return default_version(store, parent).id if parent else None
    except Refusal:
        return None


def built(parent: Doc, doc: Doc) -> bool:
    """Whether there is something to run: a built revision, or for an app its image."""
    return bool(doc.body["active_revision"]) or not parent.body["supports_request_format"]


def view(call: Call, parent: Doc, doc: Doc) -> dict[str, Any]:
    """The version as every answer shows it."""
    chosen = call.store.by_id("group", doc.body["instance_type_group_id"])
    return doc.body | {
        "deployment": parent.name,
        "default": parent.body["_default"] == doc.id,
        "status": _status(call, parent, doc),
        "instance_type_group_name": chosen.body["name"] if chosen else None,
    }


def _status(call: Call, parent: Doc, doc: Doc) -> str:
    if not call.switches.status_follows_instances:
        return "available" if built(parent, doc) else "unavailable"
    running = any(i.body["status"] == "running" for i in call.store.children("instance", doc.id))
    return "available" if running else "unavailable"


def _detail(call: Call, parent: Doc, doc: Doc) -> dict[str, Any]:
    return shapes.keep(shapes.VERSION_DETAIL, view(call, parent, doc))


def _fill_bounds(parent: Doc, body: dict[str, Any]) -> None:
    if parent.body["supports_request_format"]:
        body.setdefault("minimum_instances", 0)
        body.setdefault("maximum_instances", max(5, body["minimum_instances"]))
    else:
        body.setdefault("minimum_instances", 1)
        body.setdefault("maximum_instances", body["minimum_instances"])


def _has(group: Doc, instance_type: str | None) -> bool:
    """Whether an instance type of that name, if one is asked for, is in the group."""
    return instance_type is None or any(item["name"] == instance_type for item in group.body["instance_types"])


def _choose_group(call: Call, body: dict[str, Any], given: dict[str, Any] | None = None) -> None:
    given = body if given is None else given
    groups = call.store.children("group", project(call).id)
    ident, name = given.get("instance_type_group_id"), given.get("instance_type_group_name")
    kind = given.get("instance_type")
    matches = [
        doc for doc in groups if ident in (None, doc.id) and name in (None, doc.body["name"]) and _has(doc, kind)
    ]
    if not matches:
        if ident and name and any(doc.id == ident for doc in groups):
            raise invalid("instance_type_group_id and instance_type_group_name contradict each other")
        raise not_found("Instance type" if kind and not ident and not name else "Instance type group")
    chosen = matches[0]
    body["instance_type_group_id"] = chosen.id
    body["instance_type"] = kind or chosen.body["instance_types"][0]["name"]


def _choose_environment(call: Call, parent: Doc, body: dict[str, Any], *, given: dict[str, Any]) -> None:
    alias, name = given.get("environment"), given.get("environment_name")
    if alias is not None and name is not None and alias != name:
        raise invalid("environment and environment_name contradict each other")
    name = name or alias
    body.pop("environment", None)
    if name is None and given is not body:
        name = body["environment_name"]
    if name is None:
        if not parent.body["supports_request_format"] or given.get("environment_tag"):
            raise invalid("environment_name: this field is required")
        name = DEFAULT_ENVIRONMENT
    environment = find_environment(call, name)
    tag_name = given.get("environment_tag")
    chosen = find_tag(call.store, environment, tag_name) if tag_name else newest_tag(call.store, environment)
    if chosen.body["supports_request_format"] != parent.body["supports_request_format"]:
        raise invalid("Given environment is not supported for the deployment")
    body["environment_name"], body["environment_tag"] = environment.name, chosen.name
    body["_tag"] = chosen.id


def _check(call: Call, parent: Doc, body: dict[str, Any]) -> None:
    low, high = body["minimum_instances"], body["maximum_instances"]
    app = not parent.body["supports_request_format"]
    group = call.store.by_id("group", body["instance_type_group_id"])
    gpu = group is not None and any(item["accelerator"] for item in group.body["instance_types"])
    health = body["health_check"]
    problems = [
        ("minimum_instances: must not exceed maximum_instances", low > high),
        (
            f"maximum_instances: must be at most {call.switches.maximum_instances}",
            high > call.switches.maximum_instances,
        ),
        ("maximum_instances: must equal minimum_instances without request format", app and low != high),
        (
            f"maximum_idle_time: must be at least {GPU_IDLE_TIME} with a GPU",
            gpu and body["maximum_idle_time"] < GPU_IDLE_TIME,
        ),
        ("health_check: port and path are required together", _half(health)),
        (
            "command and args: only allowed without request format",
            not app and (body["command"] or body["args"]) is not None,
        ),
    ]
    texts = [text for text, wrong in problems if wrong]
    if texts:
        raise invalid("; ".join(texts))


def _half(health: dict[str, Any] | None) -> bool:
    return bool(health) and None in {(health or {}).get("port"), (health or {}).get("path")}
