"""The project, its user, quotas and counts: what status pages and permission checks read."""

from __future__ import annotations

from typing import Any

from ubiops_emulator.api import shapes
from ubiops_emulator.api.call import SYSTEM, Call, labelled, project
from ubiops_emulator.api.fields import Field
from ubiops_emulator.refusal import not_found

PROJECT = {
    "advanced_permissions": Field(kind="bool"),
    "credits": Field(kind="number", nullable=True, low=0),
    "cors_origins": Field(kind="strings"),
    "labels": Field(kind="labels"),
    "suspend": Field(kind="bool"),
}


def status(_call: Call) -> dict[str, Any]:
    """Whether the API works."""
    return {"status": "ok"}


def user(call: Call) -> dict[str, Any]:
    """The user whose token asks."""
    doc = call.store.by_id("user", call.user.id)
    if doc is None:
        raise not_found("User")
    return shapes.keep(shapes.USER_KEEP, doc.body)


def index(call: Call) -> list[dict[str, Any]]:
    """List the projects, of one organization or by label if asked."""
    wanted = call.query.get("organization")
    docs = labelled(call, call.store.children("project", SYSTEM))
    return [
        shapes.keep(shapes.PROJECT_LIST, doc.body) for doc in docs if wanted in {None, doc.body["organization_name"]}
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
