"""Deployment requests: what is asked of an instance's `request()`, and the stored traffic of services."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from ubiops_emulator.api import shapes
from ubiops_emulator.api.call import (
    Call,
    Signal,
    Waiting,
    default_version,
    deployment,
    flag,
    moment,
    number,
    project,
    version,
)
from ubiops_emulator.api.fields import Field, checked
from ubiops_emulator.clock import stamp
from ubiops_emulator.refusal import invalid, not_found
from ubiops_emulator.store import Doc, Store

STATUSES = ("pending", "processing", "failed", "completed", "cancelled", "cancelled_pending")
BATCH_MOST = 250
IDS = {"request_ids": Field(kind="strings", required=True)}


def create(call: Call) -> Waiting:
    """A direct request: answered when it is processed."""
    timeout = number(call, "timeout", 300, 10, 3600)
    doc = _add(call, call.body, timeout, "direct")
    return Waiting(request=doc.id)


def stream(call: Call) -> Waiting:
    """Make a request whose answer is streamed."""
    timeout = number(call, "timeout", 300, 10, 3600)
    doc = _add(call, call.body, timeout, "streaming")
    return Waiting(request=doc.id, stream=True)


def batch(call: Call) -> list[dict[str, Any]]:
    """Make requests that are answered later.

    Raises:
        Refusal: 400 for none or more than `BATCH_MOST`, data that does not fit the input type, or a version that cannot
            take requests.
    """
    timeout = number(call, "timeout", 14400, 10, 172800)
    items = call.body if isinstance(call.body, list) else [call.body]
    if not 1 <= len(items) <= BATCH_MOST:
        raise invalid(f"1 to {BATCH_MOST} requests are allowed in a batch")
    docs = [_add(call, item, timeout, "batch") for item in items]
    return [shapes.keep(shapes.REQUEST_BATCH, view(call.store, doc)) for doc in docs]


def index(call: Call) -> list[dict[str, Any]]:
    """List the requests of a version, newest first."""
    owners = [version(call)] if "version" in call.path else call.store.children("version", deployment(call).id)
    return _listed(call, owners, shapes.REQUEST_LIST)


def project_index(call: Call) -> list[dict[str, Any]]:
    """List the requests of the whole project, newest first."""
    parents = call.store.children("deployment", project(call).id)
    owners = [doc for parent in parents for doc in call.store.children("version", parent.id)]
    keys = "id deployment pipeline version status time_created time_started time_completed input_size output_size"
    return _listed(call, owners, keys.split())


def _listed(call: Call, owners: list[Doc], keys: list[str]) -> list[dict[str, Any]]:
    statuses = call.query.get("status", "completed").split(",")
    unknown = sorted(set(statuses) - set(STATUSES))
    if unknown:
        raise invalid(f"status: unknown {', '.join(unknown)}")
    limit, offset = number(call, "limit", 50, 1, 50), number(call, "offset", 0, 0, 10**9)
    docs = [doc for owner in owners for doc in call.store.children("request", owner.id)]
    matching = (doc for doc in docs if doc.body["status"] in statuses and _searched(call, doc))
    docs = sorted(matching, key=lambda doc: -doc.seq)
    return [shapes.keep(keys, view(call.store, doc)) for doc in docs[offset : offset + limit]]


def _searched(call: Call, doc: Doc) -> bool:
    query, created = call.query, doc.body["time_created"]
    if doc.body.get("_mode") == "none" or not doc.id.startswith(query.get("search_id", "")):
        return False
    return all(
        (moment(call, name) <= datetime.fromisoformat(created).timestamp()) is before
        for name, before in (("start_date", True), ("end_date", False))
        if name in query
    )


def get(call: Call) -> dict[str, Any]:
    """One request, without its data if only metadata is asked for."""
    body = _retained(call, _request(call))
    if flag(call, "metadata_only"):
        body |= {"request_data": None, "result": None}
    return shapes.keep(shapes.REQUEST_SINGLE, body)


def input_get(call: Call) -> Any:
    """The data of a request."""
    return _retained(call, _request(call))["request_data"]


def output_get(call: Call) -> Any:
    """The result of a request."""
    return _retained(call, _request(call))["result"]


def update(call: Call) -> dict[str, Any]:
    """Cancel a request."""
    doc = _request(call)
    call.checked({"status": Field(kind="str", required=True, choices=("cancelled",))}, creating=True)
    _cancel(call, doc)
    return shapes.keep(shapes.REQUEST_SINGLE, view(call.store, doc))


def delete(call: Call) -> None:
    """Delete a request.

    Raises:
        Refusal: 400 while it is being processed.
    """
    doc = _request(call)
    if doc.body["status"] == "processing":
        raise invalid("A request that is being processed cannot be deleted")
    call.store.delete(doc)


def collect(call: Call) -> list[dict[str, Any]]:
    """Several requests by id."""
    return [shapes.keep(shapes.REQUEST_DETAIL, _retained(call, doc)) for doc in _several(call)]


def cancel(call: Call) -> dict[str, Any]:
    """Cancel several requests by id."""
    for doc in _several(call):
        _cancel(call, doc)
    return {"success": True}


def delete_several(call: Call) -> dict[str, Any]:
    """Delete several requests by id."""
    for doc in _several(call):
        call.store.delete(doc)
    return {"success": True}


def created(store: Store, ident: str) -> dict[str, Any]:
    """The answer to a direct request that is done.

    Raises:
        Refusal: 404 if the request is not there.
    """
    doc = store.by_id("request", ident)
    if doc is None:
        raise not_found("Deployment request")
    return shapes.keep(shapes.REQUEST_CREATED, view(store, doc))


def view(store: Store, doc: Doc) -> dict[str, Any]:
    """A request as the API shows it."""
    owner = store.by_id("version", doc.parent)
    parent = store.by_id("deployment", owner.parent) if owner else None
    names = {"deployment": parent.name if parent else None, "version": owner.name if owner else None}
    return doc.body | names | {"pipeline": None, "success": doc.body["status"] == "completed"}


def _retained(call: Call, doc: Doc) -> dict[str, Any]:
    """With `request_retention_mode: metadata` neither data nor result are shown again."""
    body = view(call.store, doc)
    return body | {"request_data": None, "result": None} if doc.body.get("_mode") == "metadata" else body


def new_request(now: float, data: Any, timeout: int, kind: str) -> dict[str, Any]:
    """The body of a request that waits for an instance."""
    return {
        "status": "pending",
        "time_created": stamp(now),
        "time_started": None,
        "time_completed": None,
        "input_size": len(json.dumps(data)),
        "output_size": None,
        "error_message": None,
        "timeout": timeout,
        "request_data": data,
        "result": None,
        "additional_data": None,
        "origin": {"created_by": "", "request_type": kind},
        "_kind": kind,
    }


def _add(call: Call, data: Any, timeout: int, kind: str) -> Doc:
    parent = deployment(call)
    owner = version(call) if "version" in call.path else default_version(call.store, parent)
    if not parent.body["supports_request_format"]:
        raise invalid("The deployment does not support requests")
    if not owner.body["active_revision"]:
        raise invalid("Deployment version is not available: it has no built revision")
    if owner.body["maximum_instances"] == 0:
        raise invalid("Deployment version is not available: maximum_instances is 0")
    _check_data(parent, data)
    body = new_request(call.now, data, timeout, kind)
    body["origin"]["created_by"] = call.user.email
    doc = call.store.add("request", owner.id, None, body, due=call.now + timeout)
    call.signals.add(Signal("request", doc.id, owner.id))
    return doc


def _check_data(parent: Doc, data: Any) -> None:
    if parent.body["input_type"] != "structured":
        return
    if not isinstance(data, dict):
        raise invalid("data: an object with the deployment's input fields is required")
    known = {field["name"] for field in parent.body["input_fields"]}
    unknown = sorted(set(data) - known)
    if unknown:
        raise invalid(f"data: unknown input field {', '.join(unknown)}")


def _request(call: Call) -> Doc:
    doc = call.store.by_id("request", call.path["request_id"])
    allowed = (
        {version(call).id}
        if "version" in call.path
        else {one.id for one in call.store.children("version", deployment(call).id)}
    )
    if doc is None or doc.parent not in allowed or doc.body.get("_mode") == "none":
        raise not_found("Deployment request")
    return doc


def _several(call: Call) -> list[Doc]:
    body = {"request_ids": call.body} if isinstance(call.body, list) else call.body
    given = checked(IDS, body, creating=True)
    idents = given["request_ids"]
    if len(idents) > BATCH_MOST:
        raise invalid(f"at most {BATCH_MOST} requests are allowed")
    docs = []
    for ident in idents:
        call.path["request_id"] = ident
        docs.append(_request(call))
    return docs


def _cancel(call: Call, doc: Doc) -> None:
    if doc.body["status"] not in {"pending", "processing"}:
        raise invalid("Only pending or processing requests can be cancelled")
    doc.body |= {"status": "cancelled", "time_completed": call.stamp}
    doc.due = None
    call.store.save(doc)
    call.signals.add(Signal("cancel", doc.id))
