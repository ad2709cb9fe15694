"""Deployments: immutable types, default version, deletion that takes the versions along."""

from __future__ import annotations

from typing import Any

from ubiops_emulator.api import shapes
from ubiops_emulator.api.call import Call, deployment, duplicate, flag, in_use, labelled, project
from ubiops_emulator.api.rules import versions
from ubiops_emulator.refusal import invalid, not_found
from ubiops_emulator.store import Doc, Duplicate, Store


def index(call: Call) -> list[dict[str, Any]]:
    """List the deployments, by label or format if asked."""
    docs = labelled(call, call.store.children("deployment", project(call).id))
    structured = flag(call, "supports_request_format")
    return [_listed(doc) for doc in docs if structured is None or doc.body["supports_request_format"] == structured]


def get(call: Call) -> dict[str, Any]:
    """One deployment."""
    return _detail(call.store, deployment(call))


def create(call: Call) -> dict[str, Any]:
    """Create a deployment without a version.

    Raises:
        Refusal: a type is missing, fields do not fit the type or share a name, or the deployment's name is taken.
    """
    parent = project(call)
    body = call.checked(shapes.DEPLOYMENT, creating=True)
    _check_types(body)
    body |= {"project": parent.name, "creation_date": call.stamp, "last_updated": call.stamp, "_default": None}
    try:
        doc = call.store.add("deployment", parent.id, body["name"], body)
    except Duplicate as error:
        raise duplicate(call, "Deployment", body["name"]) from error
    return shapes.keep(shapes.DEPLOYMENT_CREATED, doc.body)


def update(call: Call) -> dict[str, Any]:
    """Change a deployment: name, description, labels, fields, default version.

    Raises:
        Refusal: several changes at once to one with widgets, a default version that is not there or not built, fields
            that do not fit the type or share a name, or the deployment's new name is taken.
    """
    doc = deployment(call)
    changes = call.checked(shapes.DEPLOYMENT, creating=False)
    if len(changes) > 1 and _has_widgets(doc.body):
        raise invalid("A deployment with widgets can only be changed one field at a time")
    version = changes.pop("default_version", None)
    if version is not None:
        _promote(call, doc, version)
    doc.body |= changes
    _check_types(doc.body)
    doc.body["last_updated"] = call.stamp
    doc.name = doc.body["name"]
    try:
        call.store.save(doc)
    except Duplicate as error:
        raise duplicate(call, "Deployment", doc.name or "") from error
    return _detail(call.store, doc)


def delete(call: Call) -> None:
    """Delete a deployment with all that is below it, unless a service points at it.

    Raises:
        Refusal: a service points at it, and the switch `service_blocks_delete` is on.
    """
    doc = deployment(call)
    users = [s.body["name"] for s in call.store.every("service") if s.body["_deployment"] == doc.id]
    if users and call.switches.service_blocks_delete:
        raise in_use(call, f"Deployment is used by service {', '.join(users)}")
    for version in call.store.children("version", doc.id):
        versions.remove(call, version)
    call.store.delete_children("variable", doc.id)
    call.store.delete(doc)


def templates(_call: Call) -> list[Any]:
    """This platform offers no template deployments."""
    return []


def _promote(call: Call, doc: Doc, name: str) -> None:
    target = call.store.find("version", doc.id, name)
    if target is None:
        raise not_found("Deployment version")
    if not versions.built(doc, target):
        raise invalid("Default cannot be set to an unavailable version")
    call.touch(target.id)
    call.touch(doc.body["_default"] or target.id)
    doc.body["_default"] = target.id


def _check_types(body: dict[str, Any]) -> None:
    for side in ("input", "output"):
        kind, fields = body[f"{side}_type"], body[f"{side}_fields"]
        if kind is None and body["supports_request_format"]:
            raise invalid(f"{side}_type: this field is required when the request format is supported")
        if kind != "structured" and fields:
            raise invalid(f"{side}_fields: must be empty unless the {side} type is structured")
        names = [field["name"] for field in fields]
        if len(set(names)) != len(names):
            raise invalid(f"{side}_fields: field names must be unique")


def _has_widgets(body: dict[str, Any]) -> bool:
    return any(field.get("widget") for field in body["input_fields"] + body["output_fields"])


def _detail(store: Store, doc: Doc) -> dict[str, Any]:
    default = store.by_id("version", doc.body["_default"]) if doc.body["_default"] else None
    return shapes.keep(shapes.DEPLOYMENT_DETAIL, doc.body | {"default_version": default.name if default else None})


def _listed(doc: Doc) -> dict[str, Any]:
    body = shapes.keep(shapes.DEPLOYMENT_CREATED, doc.body)
    for side in ("input_fields", "output_fields"):
        body[side] = [{"name": item["name"], "data_type": item["data_type"]} for item in body[side]]
    return body
