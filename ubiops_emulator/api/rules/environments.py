"""Environments and their tags: tags are built once, and stay as they are once available."""

from __future__ import annotations

import uuid
from typing import Any

from ubiops_emulator.api import shapes
from ubiops_emulator.api.call import (
    SYSTEM,
    Call,
    FileAnswer,
    duplicate,
    environment,
    find_environment,
    find_tag,
    flag,
    in_use,
    labelled,
    project,
    tag,
)
from ubiops_emulator.clock import short_stamp
from ubiops_emulator.refusal import Refusal, invalid, not_found
from ubiops_emulator.store import ENTERED, Doc, Duplicate

UNDERWAY = ("queued", "building")


def index(call: Call) -> list[dict[str, Any]]:
    """List environments, of the project, of the platform, or both."""
    system = flag(call, "system")
    docs = [] if system is True else call.store.children("environment", project(call).id)
    if system is not False:
        docs += call.store.children("environment", SYSTEM)
    return [_view(doc) for doc in labelled(call, docs)]


def get(call: Call) -> dict[str, Any]:
    """One environment."""
    return _view(environment(call))


def create(call: Call) -> dict[str, Any]:
    """Create an environment without a tag.

    Raises:
        Refusal: the name is taken by an environment of the project or the platform.
    """
    parent = project(call)
    body = call.checked(shapes.ENVIRONMENT, creating=True)
    if call.store.find("environment", SYSTEM, body["name"]):
        raise duplicate(call, "Environment", body["name"])
    body |= {"project": parent.name, "system": False, "creation_date": call.stamp, "last_updated": call.stamp}
    try:
        return _view(call.store.add("environment", parent.id, body["name"], body))
    except Duplicate as error:
        raise duplicate(call, "Environment", body["name"]) from error


def update(call: Call) -> dict[str, Any]:
    """Change the description or labels of an environment of the project."""
    doc = _own(environment(call))
    doc.body |= call.checked(shapes.ENVIRONMENT, creating=False)
    doc.body["last_updated"] = call.stamp
    call.store.save(doc)
    return _view(doc)


def delete(call: Call) -> None:
    """Delete an environment whose tags no version uses.

    Raises:
        Refusal: it is the platform's, a version uses one of its tags, or one is queued or being built.
    """
    doc = _own(environment(call))
    tags = call.store.children("tag", doc.id)
    users = [name for one in tags for name in _users(call, one)]
    if users:
        raise in_use(call, f"Environment is used by deployment version {', '.join(users)}")
    if any(one.body["status"] in UNDERWAY for one in tags):
        raise in_use(call, "Environment has a tag that is being built")
    for one in tags:
        _remove_tag(call, one)
    call.store.delete(doc)


def tags(call: Call) -> list[dict[str, Any]]:
    """List the tags of an environment, newest first."""
    parent = environment(call)
    structured = flag(call, "supports_request_format")
    docs = call.store.newest("tag", parent.id, -1)
    return [
        _tag_view(parent, doc)
        for doc in docs
        if structured is None or doc.body["supports_request_format"] == structured
    ]


def tag_get(call: Call) -> dict[str, Any]:
    """One tag."""
    return _tag_view(environment(call), tag(call))


def tag_create(call: Call) -> dict[str, Any]:
    """Create a tag, `pending` until it is built.

    Raises:
        Refusal: the environment is the platform's, a status other than `pending` is given, or the name is taken.
    """
    parent = _own(environment(call))
    body = call.checked(shapes.TAG, creating=True)
    if body.pop("status", "pending") != "pending":
        raise invalid("status: a new tag can only be pending")
    name = body.setdefault("name", f"v{uuid.uuid4().hex[:8]}")
    body |= new_tag(call.now)
    try:
        return _tag_view(parent, call.store.add("tag", parent.id, name, body))
    except Duplicate as error:
        raise duplicate(call, "Environment tag", name) from error


def new_tag(now: float) -> dict[str, Any]:
    """What a tag is before it is built."""
    return {
        "creation_date": short_stamp(now),
        "status": "pending",
        "implicit": False,
        "deprecated": False,
        "size": None,
        "error_message": None,
        "base_environment_name": None,
        "base_environment_tag": None,
        "built": True,
        "_file": None,
    }


def tag_update(call: Call) -> dict[str, Any]:
    """Cancel the build of a tag, or change whether it is for the request format.

    Raises:
        Refusal: the environment is the platform's, a status other than `cancelled` is given, there is no build to
            cancel, or the request format is changed while a version uses the tag.
    """
    parent, doc = _own(environment(call)), tag(call)
    changes = call.checked(shapes.TAG, creating=False)
    status = changes.pop("status", None)
    if status is not None:
        if status != "cancelled":
            raise invalid("status: can only be set to cancelled")
        if doc.body["status"] not in UNDERWAY:
            raise invalid("Environment tag is not being built")
        doc.body["status"], doc.due = status, None
    structured = changes.get("supports_request_format", doc.body["supports_request_format"])
    if structured != doc.body["supports_request_format"] and _users(call, doc):
        raise in_use(call, "supports_request_format: the environment tag is in use")
    doc.body |= changes
    call.store.save(doc)
    return _tag_view(parent, doc)


def tag_delete(call: Call) -> None:
    """Delete a tag that no version uses.

    Raises:
        Refusal: the environment is the platform's, the tag is queued or being built, or a version uses it.
    """
    _own(environment(call))
    doc = tag(call)
    if doc.body["status"] in UNDERWAY:
        raise in_use(call, "Environment tag is being built")
    users = _users(call, doc)
    if users:
        raise in_use(call, f"Environment tag is used by deployment version {', '.join(users)}")
    _remove_tag(call, doc)


def tag_build(call: Call) -> dict[str, Any]:
    """Upload what the tag is made from and queue its build.

    Raises:
        Refusal: the environment is the platform's; the tag is available, queued or being built; a form field is
            unknown; there is neither a file nor a whole source, or both; or the source or the base environment is not
            there or does not fit.
    """
    _own(environment(call))
    doc = tag(call)
    _buildable(doc)
    form = dict(call.body or {})
    source = form.pop("source_environment", None), form.pop("source_tag", None)
    if form:
        raise invalid(f"{', '.join(sorted(form))}: unknown field")
    if call.upload is None:
        if not all(source):
            raise invalid("file: a file, or source_environment and source_tag, is required")
        origin = find_tag(call.store, find_environment(call, str(source[0])), str(source[1]))
        for key in ("_file", "base_environment_name", "base_environment_tag"):
            doc.body[key] = origin.body[key]
    else:
        if any(source):
            raise invalid("file: cannot be combined with source_environment and source_tag")
        upload = call.upload
        doc.body["_file"] = {"sha256": upload.sha256, "filename": upload.filename, "size": upload.size}
        doc.body |= _built_on(call, upload.filename)
    _queue(call, doc)
    return {"success": True}


def tag_rebuild(call: Call) -> dict[str, Any]:
    """Build a failed or cancelled tag again from the file it has.

    Raises:
        Refusal: the environment is the platform's, or the tag is available, queued, being built or without a file.
    """
    _own(environment(call))
    doc = tag(call)
    _buildable(doc)
    if doc.body["_file"] is None:
        raise invalid("Environment tag was never built")
    _queue(call, doc)
    return {"success": True}


def tag_download(call: Call) -> FileAnswer:
    """The file that a tag was built from.

    Raises:
        Refusal: 404 if it has no file.
    """
    package = tag(call).body["_file"]
    if package is None:
        raise not_found("Environment file")
    return FileAnswer(path=call.store.folder / "files" / package["sha256"], filename=package["filename"])


def dependency_files(call: Call) -> list[dict[str, Any]]:
    """What the file of a tag lists: packages, system packages."""
    files: list[dict[str, Any]] = tag(call).body.get("_dependencies", [])
    return files


def usage(call: Call) -> list[dict[str, Any]]:
    """List the versions that use a tag."""
    parent, doc = environment(call), tag(call)
    store = call.store
    rows = []
    for version in _using(call, doc):
        deployment = store.by_id("deployment", version.parent)
        running = any(i.body["status"] == "running" for i in store.children("instance", version.id))
        rows.append({
            "id": version.id,
            "deployment": deployment.name if deployment else None,
            "version": version.name,
            "environment_name": parent.name,
            "environment_tag": doc.name,
            "status": "available" if running else "unavailable",
        })  # fmt: skip
    return rows


def _buildable(doc: Doc) -> None:
    status = doc.body["status"]
    if status == "available":
        raise invalid("Environment tag is available and cannot be built again; create a new tag")
    if status in UNDERWAY:
        raise invalid("Environment tag is being built")


def _built_on(call: Call, filename: str) -> dict[str, Any]:
    name, tag_name = call.query.get("base_environment_name"), call.query.get("base_environment_tag")
    if filename.endswith((".tar.gz", ".tgz", ".tar")):
        if name or tag_name:
            raise invalid("base_environment_name: not allowed with a Docker image archive")
        return {}
    if not name or not tag_name:
        raise invalid("base_environment_name and base_environment_tag are required query parameters")
    try:
        base = find_environment(call, name)
        chosen = find_tag(call.store, base, tag_name)
    except Refusal as error:
        raise invalid(f"base environment: {error.text}") from error
    if chosen.body["status"] != "available":
        raise invalid("base_environment_tag: the tag is not available")
    return {"base_environment_name": base.name, "base_environment_tag": chosen.name}


def _queue(call: Call, doc: Doc) -> None:
    doc.body |= {"status": "queued", "error_message": None, "_queued": call.now}
    doc.due = ENTERED
    call.store.save(doc)


def _remove_tag(call: Call, doc: Doc) -> None:
    call.store.delete_children("secret", doc.id)
    call.store.delete(doc)


def _own(doc: Doc) -> Doc:
    if doc.parent == SYSTEM:
        raise Refusal(403, "System environments cannot be changed")
    return doc


def _using(call: Call, doc: Doc) -> list[Doc]:
    return [version for version in call.store.every("version") if version.body["_tag"] == doc.id]


def _users(call: Call, doc: Doc) -> list[str]:
    return [str(version.name) for version in _using(call, doc)]


def _view(doc: Doc) -> dict[str, Any]:
    return shapes.keep(shapes.ENVIRONMENT_KEEP, doc.body)


def _tag_view(parent: Doc, doc: Doc) -> dict[str, Any]:
    return shapes.keep(shapes.TAG_KEEP, doc.body | {"name": doc.name, "environment": parent.name})
