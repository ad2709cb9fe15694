"""Revisions: uploads, copies, empty ones and rebuilds. Their progress is the lifecycle's business."""

from __future__ import annotations

from typing import Any

from ubiops_emulator.api import shapes
from ubiops_emulator.api.call import Call, FileAnswer, deployment, project, version
from ubiops_emulator.clock import short_stamp
from ubiops_emulator.refusal import invalid, not_found
from ubiops_emulator.store import ENTERED, Doc


def index(call: Call) -> list[dict[str, Any]]:
    """List the revisions of a version, newest first."""
    parent = version(call)
    docs = call.store.newest("revision", parent.id, -1)
    return [_view(parent, doc) for doc in docs]


def get(call: Call) -> dict[str, Any]:
    """One revision."""
    parent = version(call)
    return _view(parent, _revision(call, parent))


def upload(call: Call) -> dict[str, Any]:
    """A package, a copy of another version's package, or nothing (an empty revision).

    Raises:
        Refusal: 400 for a deployment without request format, an unknown form field, a file together with a source, or
            half of a source; 404 for a template, or a source that is not there.
    """
    parent = version(call)
    if not deployment(call).body["supports_request_format"]:
        raise invalid("A deployment without request format runs its environment's image and takes no revisions")
    form = dict(call.body or {})
    source = form.pop("source_deployment", None), form.pop("source_version", None)
    if form.pop("template_deployment_id", None):
        raise not_found("Template deployment")
    if form:
        raise invalid(f"{', '.join(sorted(form))}: unknown field")
    if any(source) and call.upload:
        raise invalid("file: cannot be combined with source_deployment and source_version")
    if any(source) and not all(source):
        raise invalid("source_deployment and source_version are required together")
    package = _copied(call, str(source[0]), str(source[1])) if all(source) else _uploaded(call)
    return {"success": True, "revision": _add(call, parent, package).id}


def rebuild(call: Call) -> dict[str, Any]:
    """Build a revision's package again, as a new revision."""
    parent = version(call)
    old = _revision(call, parent)
    return _view(parent, _add(call, parent, old.body["_package"]))


def download(call: Call) -> FileAnswer:
    """The package of a revision.

    Raises:
        Refusal: 404 for an empty revision.
    """
    doc = _revision(call, version(call))
    package = doc.body["_package"]
    if package is None:
        raise not_found("Deployment file")
    path = call.store.folder / "files" / package["sha256"]
    return FileAnswer(path=path, filename=package["filename"])


def _uploaded(call: Call) -> dict[str, Any] | None:
    if call.upload is None:
        return None
    return {"sha256": call.upload.sha256, "filename": call.upload.filename, "size": call.upload.size}


def _copied(call: Call, deployment_name: str, version_name: str) -> dict[str, Any] | None:
    source = call.store.find("deployment", project(call).id, deployment_name)
    if source is None:
        raise not_found("Deployment")
    origin = call.store.find("version", source.id, version_name)
    if origin is None:
        raise not_found("Deployment version")
    latest = call.store.by_id("revision", origin.body["latest_revision"] or "")
    if latest is None:
        raise not_found("Revision")
    package: dict[str, Any] | None = latest.body["_package"]
    return package


def _add(call: Call, parent: Doc, package: dict[str, Any] | None) -> Doc:
    body = {
        "creation_date": short_stamp(call.now),
        "created_by": call.user.email,
        "status": "queued",
        "error_message": "",
        "has_request_method": None,
        "has_requests_method": None,
        "empty": package is None,
        "_package": package,
    }
    doc = call.store.add("revision", parent.id, None, body, due=ENTERED)
    parent.body |= {
        "latest_revision": doc.id,
        "last_updated": call.stamp,
        "last_file_upload": call.stamp if package else parent.body["last_file_upload"],
    }
    call.store.save(parent)
    return doc


def _revision(call: Call, parent: Doc) -> Doc:
    doc = call.store.by_id("revision", call.path["revision_id"])
    if doc is None or doc.parent != parent.id:
        raise not_found("Revision")
    return doc


def _view(parent: Doc, doc: Doc) -> dict[str, Any]:
    return shapes.keep(shapes.REVISION, doc.body | {"version": parent.name})
