"""Instances as the API shows them, and the one thing it can do to them: stop."""

from __future__ import annotations

from typing import Any

from ubiops_emulator.api import lifecycle, shapes
from ubiops_emulator.api.call import Call, Signal, instance, project, version
from ubiops_emulator.api.fields import Field
from ubiops_emulator.api.rules.paging import page
from ubiops_emulator.refusal import invalid, not_found
from ubiops_emulator.store import Doc

STATUSES = ("pending", "initialising", "running", "stopping")


def index(call: Call) -> dict[str, Any]:
    """List the instances of a version, of some states if asked."""
    docs = _with_status(call, call.store.children("instance", version(call).id))
    return page(call, docs, lambda doc: shapes.keep(shapes.INSTANCE_LIST, doc.body))


def project_index(call: Call) -> dict[str, Any]:
    """List the instances of the whole project, of some states if asked."""
    owner = project(call)
    docs = [doc for doc in call.store.every("instance") if _project_of(call, doc) == owner.id]
    return page(call, _with_status(call, docs), lambda doc: shapes.keep(shapes.INSTANCE_PROJECT, _view(call, doc)), 50)


def get(call: Call) -> dict[str, Any]:
    """One instance, with the node that it runs on."""
    return shapes.keep(shapes.INSTANCE_DETAIL, _view(call, _mine(call)))


def update(call: Call) -> dict[str, Any]:
    """Stop an instance; nothing else can be changed.

    Raises:
        Refusal: 400 unless it asks for the status `stopped`.
    """
    doc = _mine(call)
    changes = call.checked({"status": Field(kind="str", required=True, choices=("stopped",))}, creating=False)
    if not changes:
        raise invalid("status: this field is required")
    effects = lifecycle.stop(call.store, doc, call.now)
    call.touch(doc.parent)
    call.signals.update(Signal("stop", effect.id) for effect in effects)
    return shapes.keep(shapes.INSTANCE_LIST, doc.body)


def _with_status(call: Call, docs: list[Doc]) -> list[Doc]:
    statuses = call.query.get("status")
    if not statuses:
        return docs
    unknown = sorted(set(statuses.split(",")) - set(STATUSES))
    if unknown:
        raise invalid(f"status: unknown {', '.join(unknown)}")
    return [doc for doc in docs if doc.body["status"] in statuses.split(",")]


def _mine(call: Call) -> Doc:
    doc = instance(call)
    if _project_of(call, doc) != project(call).id:
        raise not_found("Instance")
    return doc


def _project_of(call: Call, doc: Doc) -> str | None:
    owner = call.store.by_id("version", doc.parent)
    parent = call.store.by_id("deployment", owner.parent) if owner else None
    return parent.parent if parent else None


def _view(call: Call, doc: Doc) -> dict[str, Any]:
    owner = call.store.by_id("version", doc.parent)
    parent = call.store.by_id("deployment", owner.parent) if owner else None
    return doc.body | {
        "deployment": parent.name if parent else None,
        "version": owner.name if owner else None,
    }
