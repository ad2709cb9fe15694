"""The project, its user, quotas and counts: what status pages and permission checks read."""

from __future__ import annotations

from typing import Any

from ubiops_emulator.api import shapes
from ubiops_emulator.api.call import SYSTEM, Call, duplicate, labelled, project
from ubiops_emulator.api.fields import Field
from ubiops_emulator.api.rules.groups import give_default_groups
from ubiops_emulator.clock import stamp
from ubiops_emulator.refusal import not_found
from ubiops_emulator.store import Doc, Duplicate, Store

PROJECT = {
    "advanced_permissions": Field(kind="bool"),
    "credits": Field(kind="number", nullable=True, low=0),
    "cors_origins": Field(kind="strings"),
    "labels": Field(kind="labels"),
    "suspend": Field(kind="bool"),
}


CREATE = {
    "name": Field(kind="str", required=True, low=1, high=64, pattern=shapes.NAME, hint=shapes.NAME_HINT),
    "organization_name": Field(kind="str", required=True, low=1),
    **{name: field for name, field in PROJECT.items() if name != "suspend"},
}


def create(call: Call) -> dict[str, Any]:
    """Create a project, with the usual instance type groups and whoever asks as its administrator.

    Raises:
        Refusal: its name is taken.
    """
    body = call.checked(CREATE, creating=True)
    try:
        doc = add(call.store, body, call.user.id, call.now)
    except Duplicate as error:
        raise duplicate(call, "Project", body["name"]) from error
    return shapes.keep(shapes.PROJECT_DETAIL, doc.body)


def add(store: Store, body: dict[str, Any], user_id: str, now: float) -> Doc:
    """A project.

    Raises:
        Duplicate: its name is taken.
    """
    defaults = {
        "creation_date": stamp(now)[:10],
        "advanced_permissions": False,
        "credits": None,
        "labels": {},
        "suspended": False,
        "suspended_reason": None,
        "cors_origins": [],
    }
    doc = store.add("project", SYSTEM, body["name"], defaults | body)
    whole = {"assignee_type": "user", "resource": body["name"], "resource_type": "project"}
    store.add("grant", doc.id, None, {"assignee": user_id, "role": "project-admin"} | whole)
    give_default_groups(store, doc.id, now)
    return doc


def status(_call: Call) -> dict[str, Any]:
    """Whether the API works."""
    return {"status": "ok"}


def user(call: Call) -> dict[str, Any]:
    """The user whose token asks.

    Raises:
        Refusal: 404 if that user is not there.
    """
    doc = call.store.by_id("user", call.user.id)
    if doc is None:
        raise not_found("User")
    return shapes.keep(shapes.USER_KEEP, doc.body)


def index(call: Call) -> list[dict[str, Any]]:
    """List the projects, of one organization or by label if asked."""
    organization = call.query.get("organization")
    docs = labelled(call, call.store.children("project", SYSTEM))
    return [
        shapes.keep(shapes.PROJECT_LIST, doc.body)
        for doc in docs
        if organization in {None, doc.body["organization_name"]}
    ]


def get(call: Call) -> dict[str, Any]:
    """The project."""
    return shapes.keep(shapes.PROJECT_DETAIL, project(call).body)


def update(call: Call) -> dict[str, Any]:
    """Everything but the name; renaming a project stays with its organization."""
    doc = project(call)
    changes = call.checked(PROJECT, creating=False)
    if "suspend" in changes:
        doc.body["suspended"] = changes.pop("suspend")
        doc.body["suspended_reason"] = "Suspended by a user" if doc.body["suspended"] else None
    doc.body |= changes
    call.store.save(doc)
    return shapes.keep(shapes.PROJECT_DETAIL, doc.body)


def quotas(call: Call) -> list[dict[str, Any]]:
    """Limits: none but the room for instances of an instance type, where it has one; its name is the resource's."""
    project(call)
    rows: dict[str, int | None] = dict.fromkeys(("deployments", "deployment_versions", "environments"))
    return [{"resource": name, "quota": quota} for name, quota in {**rows, **call.capacity}.items()]


def resources(call: Call) -> dict[str, Any]:
    """Count what the project holds."""
    owner, store = project(call), call.store
    deployments = store.children("deployment", owner.id)
    return {
        "deployments": len(deployments),
        "deployment_versions": sum(store.count("version", doc.id) for doc in deployments),
        "pipelines": 0,
        "pipeline_versions": 0,
        "buckets": 0,
        "environments": store.count("environment", owner.id),
    }
