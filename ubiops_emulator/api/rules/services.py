"""Services: a name, a port and the version behind it. Traffic is the proxy's business."""

from __future__ import annotations

from typing import Any

from ubiops_emulator.api import shapes
from ubiops_emulator.api.call import Call, Signal, duplicate, labelled, project, service
from ubiops_emulator.api.fields import Field
from ubiops_emulator.api.rules import versions
from ubiops_emulator.refusal import invalid, not_found
from ubiops_emulator.store import Doc, Duplicate, Store

SERVICES = Signal("services")
IMPORTED = ("imported_name", "imported_namespace", "imported_cluster_domain")


def index(call: Call) -> list[dict[str, Any]]:
    """List the services, by label or version if asked."""
    docs = labelled(call, call.store.children("service", project(call).id))
    version_ids = call.query.get("deployment_version_ids")
    if version_ids:
        idents = set(version_ids.split(","))
        docs = [doc for doc in docs if versions.target(call.store, doc) in idents]
    return [shapes.keep(shapes.SERVICE_LIST, _view(call.store, doc)) for doc in docs]


def get(call: Call) -> dict[str, Any]:
    """One service, with its endpoint."""
    return _detail(call.store, service(call))


def create(call: Call) -> dict[str, Any]:
    """Create a service; it listens when the call is answered.

    Raises:
        Refusal: no deployment is named; deployment or version is not there; an imported service or a field of one, or
            limits for users without authentication; or the name is taken.
    """
    body = call.checked(shapes.SERVICE, creating=True)
    if "deployment" not in body:
        raise invalid("deployment: this field is required")
    _aim(call, body, body)
    _check(body)
    body |= {"time_created": call.stamp, "time_updated": call.stamp, "imported_scheme": None}
    body["_port"] = call.free_port()
    try:
        doc = call.store.add("service", project(call).id, body["name"], body)
    except Duplicate as error:
        raise duplicate(call, "Service", body["name"]) from error
    call.signals.add(SERVICES)
    return _detail(call.store, doc)


def update(call: Call) -> dict[str, Any]:
    """Change a service: where it points, its port, its limits.

    Raises:
        Refusal: deployment or version is not there; another deployment without a version, for a service that has one;
            an imported service or a field of one, or limits for users without authentication; or the name is taken.
    """
    doc = service(call)
    changes = call.checked(shapes.SERVICE, creating=False)
    if "deployment" in changes or "version" in changes:
        _aim(call, doc.body, changes)
    doc.body |= {key: value for key, value in changes.items() if key not in {"deployment", "version"}}
    _check(doc.body)
    doc.body["time_updated"] = call.stamp
    doc.name = doc.body["name"]
    try:
        call.store.save(doc)
    except Duplicate as error:
        raise duplicate(call, "Service", str(doc.name)) from error
    call.signals.add(SERVICES)
    return _detail(call.store, doc)


def delete(call: Call) -> None:
    """Delete a service, and the limits of its users."""
    doc = service(call)
    for kind in ("user-rate-limits", "user-concurrency-limits"):
        call.store.delete_children(kind, doc.id)
    call.store.delete(doc)
    call.signals.add(SERVICES)


def status(call: Call) -> dict[str, Any]:
    """Whether a service has an instance that is ready, and how many."""
    doc = service(call)
    ready = len(ready_instances(call.store, doc))
    return {"id": doc.id, "ready": ready > 0, "instances_ready": ready}


def ready_instances(store: Store, doc: Doc) -> list[Doc]:
    """The instances that a service may route to: running, and healthy when the version checks health."""
    ident = versions.target(store, doc)
    docs = store.children("instance", ident) if ident else []
    return [one for one in docs if one.body["status"] == "running" and one.body["_healthy"]]


def limits(call: Call) -> list[dict[str, Any]]:
    """List the users' own limits of a service."""
    return [doc.body for doc in call.store.children(_kind(call), service(call).id)]


def limit_create(call: Call) -> dict[str, Any]:
    """Give a user limits of its own.

    Raises:
        Refusal: there is no such user, or it has such a limit already.
    """
    owner = service(call)
    body = call.checked(
        {"user_id": Field(kind="uuid", required=True), "limit": Field(kind="int", required=True, low=1)}
        | {"id": Field(kind="uuid")},
        creating=True,
    )
    body.pop("id", None)
    user = call.store.by_id("user", body["user_id"])
    if user is None:
        raise not_found("User")
    body["user_email"] = user.body["email"]
    try:
        return call.store.add(_kind(call), owner.id, user.id, body).body
    except Duplicate as error:
        raise duplicate(call, "Limit", user.body["email"]) from error


def limit_get(call: Call) -> dict[str, Any]:
    """A user's own limits."""
    return _user_limit(call).body


def limit_update(call: Call) -> dict[str, Any]:
    """Change a user's own limits."""
    doc = _user_limit(call)
    doc.body |= call.checked({"limit": Field(kind="int", low=1)}, creating=False)
    call.store.save(doc)
    return doc.body


def limit_delete(call: Call) -> None:
    """Take a user's own limits away: the service's default counts again."""
    call.store.delete(_user_limit(call))


def _kind(call: Call) -> str:
    return call.path["limits"]


def _user_limit(call: Call) -> Doc:
    doc = call.store.find(_kind(call), service(call).id, call.path["user_id"])
    if doc is None:
        raise not_found("Limit")
    return doc


def _aim(call: Call, body: dict[str, Any], given: dict[str, Any]) -> None:
    """Resolve deployment and version names to ids, so that renames do not break the service."""
    store = call.store
    if "deployment" in given:
        parent = store.find("deployment", project(call).id, given["deployment"])
        body["_version"] = None if given is body else body.get("_version")
    else:
        parent = store.by_id("deployment", body["_deployment"])
    if parent is None:
        raise not_found("Deployment")
    if given.get("version") is not None:
        chosen = store.find("version", parent.id, given["version"])
        if chosen is None:
            raise not_found("Deployment version")
        body["_version"] = chosen.id
    elif "version" in given:
        body["_version"] = None
    elif body.get("_deployment") not in {None, parent.id} and body.get("_version"):
        raise invalid("version: required when the deployment of a service with a version changes")
    if body["_version"] is None and not parent.body["_default"]:
        raise invalid("version: the deployment has no default version")
    body["_deployment"] = parent.id
    body.pop("deployment", None)
    body.pop("version", None)


def _check(body: dict[str, Any]) -> None:
    if body["type"] != "standard":
        raise invalid("type: kubernetes_imported services are not enabled for this project")
    wrong = [name for name in IMPORTED if body[name] is not None]
    if wrong:
        raise invalid(f"{', '.join(wrong)}: only allowed for a kubernetes_imported service")
    if not body["authentication_required"]:
        users = [name for name in ("rate_limit_user_default", "concurrency_limit_user_default") if body[name]]
        if users:
            raise invalid(f"{', '.join(users)}: only allowed when authentication is required")


def _view(store: Store, doc: Doc) -> dict[str, Any]:
    parent = store.by_id("deployment", doc.body["_deployment"])
    chosen = store.by_id("version", doc.body["_version"]) if doc.body["_version"] else None
    port = doc.body.get("_port")
    return doc.body | {
        "deployment": parent.name if parent else "",
        "version": chosen.name if chosen else None,
        "endpoint": f"http://127.0.0.1:{port}" if port else None,
    }


def _detail(store: Store, doc: Doc) -> dict[str, Any]:
    return shapes.keep(shapes.SERVICE_DETAIL, _view(store, doc))
