"""Environment variables on three levels, and the secrets of environment tags. Secret values never leave."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ubiops_emulator.api import shapes
from ubiops_emulator.api.call import Call, deployment, duplicate, find_environment, find_tag, project, tag, version
from ubiops_emulator.api.fields import Field
from ubiops_emulator.api.rules import versions
from ubiops_emulator.refusal import invalid, not_found
from ubiops_emulator.store import Doc, Duplicate, Store


def index(call: Call) -> list[dict[str, Any]]:
    """The effective set: own variables, then inherited ones that no own one hides."""
    levels = _levels(call)
    docs = call.store.children("variable", levels[0].id)
    if len(levels) == 1:
        return [_plain(doc) for doc in docs]
    rows = {doc.name: _plain(doc) | {"inheritance_type": None, "inheritance_name": None} for doc in docs}
    for level in levels[1:]:
        for doc in call.store.children("variable", level.id):
            rows.setdefault(doc.name, _plain(doc) | {"inheritance_type": level.kind, "inheritance_name": level.name})
    return list(rows.values())


def get(call: Call) -> dict[str, Any]:
    """One variable of this level, by id or name; an inherited one is 404."""
    return _plain(_variable(call, _levels(call)[0], "variable"))


def create(call: Call) -> dict[str, Any]:
    """Create an environment variable on this level."""
    owner = _levels(call)[0]
    doc = _add(call, "variable", owner, call.checked(shapes.VARIABLE_FIELDS, creating=True))
    _changed(call, owner)
    return _plain(doc)


def update(call: Call) -> dict[str, Any]:
    """Change a variable of this level; a secret stays one."""
    owner = _levels(call)[0]
    doc = _change(call, _variable(call, owner, "variable"))
    _changed(call, owner)
    return _plain(doc)


def delete(call: Call) -> None:
    """Delete a variable of this level."""
    owner = _levels(call)[0]
    call.store.delete(_variable(call, owner, "variable"))
    _changed(call, owner)


def copy(call: Call) -> list[dict[str, Any]]:
    """Copy another deployment's or version's own variables; same-named ones are overwritten.

    Raises:
        Refusal: 404 if the other deployment or version is not there.
    """
    target = _levels(call)[0]
    body = call.checked(shapes.COPY, creating=True)
    source = call.store.find("deployment", project(call).id, body["source_deployment"])
    if source is None:
        raise not_found("Deployment")
    if "source_version" in body:
        parent = source
        source = call.store.find("version", parent.id, body["source_version"])
        if source is None:
            raise not_found("Deployment version")
    rows = _copied(call.store, "variable", source, target)
    _changed(call, target)
    return rows


def secrets(call: Call) -> list[dict[str, Any]]:
    """List the secrets of an environment tag, without values."""
    return [_plain(doc) for doc in call.store.children("secret", tag(call).id)]


def secret_get(call: Call) -> dict[str, Any]:
    """One secret of a tag, without its value."""
    return _plain(_variable(call, tag(call), "secret"))


def secret_create(call: Call) -> dict[str, Any]:
    """Create a secret that the build of a tag sees.

    Raises:
        Refusal: `secret` is not true, or the name is taken.
    """
    body = call.checked(shapes.VARIABLE_FIELDS, creating=True)
    if not body["secret"]:
        raise invalid("secret: must be true")
    return _plain(_add(call, "secret", tag(call), body))


def secret_update(call: Call) -> dict[str, Any]:
    """Change a secret of a tag."""
    return _plain(_change(call, _variable(call, tag(call), "secret")))


def secret_delete(call: Call) -> None:
    """Delete a secret of a tag."""
    call.store.delete(_variable(call, tag(call), "secret"))


def secrets_copy(call: Call) -> list[dict[str, Any]]:
    """Both documented spellings of the source are taken."""
    body = dict(call.body) if isinstance(call.body, dict) else {}
    for name in ("source_environment", "source_tag"):
        if f"{name}_name" in body:
            body.setdefault(name, body.pop(f"{name}_name"))
    text = Field(kind="str", required=True, low=1)
    body = replace_body(call, body).checked({"source_environment": text, "source_tag": text}, creating=True)
    source = find_tag(call.store, find_environment(call, body["source_environment"]), body["source_tag"])
    return _copied(call.store, "secret", source, tag(call))


def replace_body(call: Call, body: dict[str, Any]) -> Call:
    """The same call with another body."""
    return replace(call, body=body)


def effective(store: Store, target: Doc) -> dict[str, str]:
    """The variables of a version's processes: version over deployment over project, secrets included."""
    parent = store.by_id("deployment", target.parent)
    levels = [parent.parent, parent.id, target.id] if parent else [target.id]
    return {str(doc.name): doc.body["value"] for level in levels for doc in store.children("variable", level)}


def _levels(call: Call) -> list[Doc]:
    if "version" in call.path:
        return [version(call), deployment(call), project(call)]
    if "deployment_name" in call.path:
        return [deployment(call), project(call)]
    return [project(call)]


def _changed(call: Call, owner: Doc) -> None:
    if not call.switches.restart_on_change:
        return
    for doc in call.store.every("version"):
        if owner.kind == "project" or owner.id in {doc.id, doc.parent}:
            versions.recycle(call.store, doc.id)
            call.touch(doc.id)


def _add(call: Call, kind: str, owner: Doc, body: dict[str, Any]) -> Doc:
    try:
        return call.store.add(kind, owner.id, body["name"], body)
    except Duplicate as error:
        raise duplicate(call, "Environment variable", body["name"]) from error


def _change(call: Call, doc: Doc) -> Doc:
    changes = call.checked(shapes.VARIABLE_FIELDS, creating=False)
    if doc.body["secret"] and changes.get("secret") is False:
        raise invalid("secret: a secret variable cannot be made readable")
    doc.body |= changes
    doc.name = doc.body["name"]
    try:
        call.store.save(doc)
    except Duplicate as error:
        raise duplicate(call, "Environment variable", str(doc.name)) from error
    return doc


def _copied(store: Store, kind: str, source: Doc, target: Doc) -> list[dict[str, Any]]:
    rows = []
    for doc in store.children(kind, source.id):
        body = {"name": doc.name, "value": doc.body["value"], "secret": doc.body["secret"]}
        existing = store.find(kind, target.id, str(doc.name))
        if existing is None:
            existing = store.add(kind, target.id, doc.name, body)
        else:
            existing.body |= body
            store.save(existing)
        rows.append(_plain(existing))
    return rows


def _variable(call: Call, owner: Doc, kind: str) -> Doc:
    """By id or by name, and only of this very level."""
    doc = call.store.by_id(kind, call.path["id"]) or call.store.find(kind, owner.id, call.path["id"])
    if doc is None or doc.parent != owner.id:
        raise not_found("Environment variable" if kind == "variable" else "Secret")
    return doc


def _plain(doc: Doc) -> dict[str, Any]:
    row = shapes.keep(shapes.VARIABLE_KEEP, doc.body)
    if row["secret"]:
        row["value"] = None
    return row
