"""What is written down about what happens: audit entries, project events and instance events."""

from __future__ import annotations

from typing import Any

from ubiops_emulator.api import shapes
from ubiops_emulator.api.call import Call, deployment, instance, moment, number, project
from ubiops_emulator.api.rules.paging import page
from ubiops_emulator.clock import stamp
from ubiops_emulator.refusal import invalid
from ubiops_emulator.store import Doc, Store

AUDIT = "id date action user event object_type object_name".split()
EVENT = "id date object_type object_id object_name parent_object_name parent_object_id type log_timestamp text".split()
ACTIONS = ("create", "update", "delete", "info")
EVENT_TYPES = ("deployment_version", "pipeline_version", "service", "environment_tag", "node_pool")


def audit(store: Store, project_id: str, entry: dict[str, Any]) -> None:
    """Record a write: who (`user`), did what (`action`, `event`), to what (`object_type`, `object_name`)."""
    store.add("audit", project_id, None, entry)


def project_audit(call: Call) -> list[dict[str, Any]]:
    """List who changed what in the project, newest first."""
    return _audit(call, None)


def deployment_audit(call: Call) -> list[dict[str, Any]]:
    """List who changed what of a deployment, newest first."""
    return _audit(call, deployment(call).id)


def _audit(call: Call, deployment_id: str | None) -> list[dict[str, Any]]:
    action = call.query.get("action")
    if action is not None and action not in ACTIONS:
        raise invalid(f"action: use one of {', '.join(ACTIONS)}")
    limit, offset = number(call, "limit", 50, 1, 100), number(call, "offset", 0, 0, 10**9)
    rows = [
        doc.body
        for doc in call.store.newest("audit", project(call).id, -1)
        if action in {None, doc.body["action"]} and deployment_id in {None, doc.body.get("_deployment")}
    ]
    return [shapes.keep(AUDIT, row) for row in rows[offset : offset + limit]]


def event(store: Store, project_id: str, entry: dict[str, Any]) -> None:
    """Record something that happened by itself, such as a crash of an instance."""
    store.add("event", project_id, None, entry)


def project_events(call: Call) -> list[dict[str, Any]]:
    """List what happened by itself, newest first; of one object, type or time window if asked.

    Raises:
        Refusal: 400 for an object without a type or a type without an object, an unknown type, or `last_seconds`
            together with another time.
    """
    query = call.query
    if ("object_type" in query) != ("object_id" in query):
        raise invalid("object_type and object_id are required together")
    if query.get("object_type", EVENT_TYPES[0]) not in EVENT_TYPES:
        raise invalid(f"object_type: use one of {', '.join(EVENT_TYPES)}")
    low, high = _window(call)
    limit, offset = number(call, "limit", 50, 1, 1000), number(call, "offset", 0, 0, 10**9)
    rows = [
        doc.body
        for doc in call.store.newest("event", project(call).id, -1)
        if all(query.get(key) in {None, doc.body[key]} for key in ("object_type", "object_id", "type"))
        and low <= doc.body["_at"] < high
    ]
    return [shapes.keep(EVENT, row) for row in rows[offset : offset + limit]]


def _window(call: Call) -> tuple[float, float]:
    query = call.query
    if "last_seconds" in query:
        if "start_time" in query or "end_time" in query:
            raise invalid("last_seconds: cannot be combined with start_time and end_time")
        return call.now - number(call, "last_seconds", 0, 1, 10**9), float("inf")
    low = moment(call, "start_time") if "start_time" in query else 0.0
    high = moment(call, "end_time") if "end_time" in query else float("inf")
    return low, high


def instance_event(store: Store, doc: Doc, text: str, now: float) -> None:
    """Record what happened to an instance."""
    store.add("instance_event", doc.id, None, {"time_created": stamp(now), "description": text})


def instance_events(call: Call) -> dict[str, Any]:
    """List what happened to an instance, oldest first."""
    docs = call.store.children("instance_event", instance(call).id)
    return page(call, docs, lambda doc: shapes.keep(["id", "time_created", "description"], doc.body))
