"""Users, service users, tokens, roles and role assignments: who may do what. Tokens are kept as digests only."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from datetime import datetime
from typing import Any

from ubiops_emulator.api import shapes
from ubiops_emulator.api.call import SYSTEM, Call, duplicate, in_use, project
from ubiops_emulator.api.fields import Field
from ubiops_emulator.refusal import invalid, not_found
from ubiops_emulator.store import Doc, Duplicate, Store

READ = ("list", "get")
WRITE = (*READ, "create", "update")
ALL = (*WRITE, "delete")
# Role -> verbs it may use, and the objects it may use them on (all when empty).
DEFAULT_ROLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "project-admin": (ALL, ()),
    "project-editor": (WRITE, ()),
    "project-viewer": (READ, ()),
    "deployment-admin": (ALL, ("deployments",)),
    "deployment-editor": (WRITE, ("deployments",)),
    "deployment-viewer": (READ, ("deployments",)),
    "deployment-request-user": (("list", "get", "create"), ("deployments.requests",)),
}
# Editors change a project's contents, not who may do so.
ADMIN_OBJECTS = ("roles", "role-assignments", "service-users", "projects")
CALL_SERVICE = "deployments.requests.create"

SERVICE_USER = {
    "name": Field(kind="str", nullable=True, low=1, high=256, default=None),
    "expiry_date": Field(kind="date", nullable=True, default=None),
    "description": Field(kind="str", nullable=True, high=400, default=None),
}
SERVICE_USER_KEEP = "id email name description creation_date expiry_date token_last_used".split()
ROLE = {
    "name": Field(kind="str", required=True, low=1, high=64, pattern=shapes.ROLE, hint=shapes.ROLE_HINT),
    "permissions": Field(kind="strings", required=True),
}
ASSIGNMENT = {
    "role": Field(kind="str", required=True, low=1),
    "assignee": Field(kind="str", required=True, low=1),
    "assignee_type": Field(kind="str", choices=("user", "deployment"), default="user"),
    "resource": Field(kind="str", low=1),
    "resource_type": Field(kind="str", choices=("project", "deployment", "pipeline", "bucket")),
}
ASSIGNMENT_KEEP = "id assignee assignee_type role resource resource_type".split()


def digest(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_token(store: Store, user: Doc) -> str:
    """A fresh token for a user; the old one no longer works."""
    token = secrets.token_hex(20)
    set_token(store, user, token)
    return token


def set_token(store: Store, user: Doc, token: str) -> None:
    """Make this the user's API token; only its digest is kept."""
    store.delete_children("token", user.id)
    store.add("token", user.id, digest(token), {})


def token_user(store: Store, token: str, now: float) -> Doc | None:
    """Whose token it is; None for an unknown or expired one."""
    doc = store.named("token", digest(token))
    user = store.by_id("user", doc.parent) if doc else None
    expiry = user.body.get("expiry_date") if user else None
    if expiry and datetime.fromisoformat(expiry).timestamp() <= now:
        return None
    return user


def allowed(store: Store, user_id: str, permission: str, path: dict[str, str]) -> bool:
    """Whether a role assigned to the user, on the project or on the path's deployment, holds the permission."""
    owner = store.find("project", SYSTEM, path.get("project_name", ""))
    if owner is None or not permission:
        return True
    for grant in store.children("grant", owner.id):
        body = grant.body
        if body["assignee"] != user_id:
            continue
        if body["resource_type"] == "deployment" and body["resource"] != path.get("deployment_name"):
            continue
        if grants(store, owner.id, body["role"], permission):
            return True
    return False


def grants(store: Store, project_id: str, role: str, permission: str) -> bool:
    """Whether a role holds a permission."""
    if role in DEFAULT_ROLES:
        verbs, objects = DEFAULT_ROLES[role]
        name, _, verb = permission.rpartition(".")
        if verbs == WRITE and name.split(".")[0] in ADMIN_OBJECTS and "environment-variables" not in name:
            return verb in READ
        return verb in verbs and (not objects or any(f"{name}.".startswith(f"{one}.") for one in objects))
    doc = store.find("role", project_id, role)
    return doc is not None and permission in doc.body["permissions"]


def permissions(call: Call) -> list[dict[str, Any]]:
    """List every permission that a role may have."""
    return [{"name": name} for name in call.known_permissions]


def users(call: Call) -> list[dict[str, Any]]:
    """List the users of the project, of one type if asked.

    Raises:
        Refusal: 400 for a type other than user and service_user.
    """
    owner = project(call)
    kind = call.query.get("user_type")
    if kind not in {None, "user", "service_user"}:
        raise invalid("user_type: use user or service_user")
    people = [] if kind == "service_user" else call.store.children("user", SYSTEM)
    machines = [] if kind == "user" else call.store.children("user", owner.id)
    return [_person(doc) for doc in people + machines]


def user_get(call: Call) -> dict[str, Any]:
    """One user of the project.

    Raises:
        Refusal: 404 if the project has none of that id.
    """
    doc = call.store.by_id("user", call.path["user_id"])
    if doc is None or doc.parent not in {SYSTEM, project(call).id}:
        raise not_found("User")
    return _person(doc)


def service_users(call: Call) -> list[dict[str, Any]]:
    """List the service users of the project."""
    return [_service_user(doc) for doc in call.store.children("user", project(call).id)]


def service_user_get(call: Call) -> dict[str, Any]:
    """One service user."""
    return _service_user(_mine(call))


def service_user_create(call: Call) -> dict[str, Any]:
    """Create a service user; only this answer has its token."""
    owner = project(call)
    body = call.checked(SERVICE_USER, creating=True)
    _check_expiry(call, body)
    ident = str(uuid.uuid4())
    body |= {
        "id": ident,
        "email": f"{ident}.{owner.name}@serviceuser.ubiops.com",
        "creation_date": call.stamp,
        "token_last_used": None,
        "registration_date": call.stamp,
        "surname": "service user",
        "authentication": "token",
    }
    doc = call.store.add("user", owner.id, body["email"], body)
    return _service_user(doc) | {"token": new_token(call.store, doc)}


def service_user_update(call: Call) -> dict[str, Any]:
    """Change the name, description or expiry of a service user."""
    doc = _mine(call)
    changes = call.checked(SERVICE_USER, creating=False)
    _check_expiry(call, changes)
    doc.body |= changes
    call.store.save(doc)
    return _service_user(doc)


def service_user_delete(call: Call) -> None:
    """Delete a service user, its token and its role assignments."""
    doc = _mine(call)
    call.store.delete_children("token", doc.id)
    for grant in call.store.children("grant", project(call).id):
        if grant.body["assignee"] == doc.id:
            call.store.delete(grant)
    call.store.delete(doc)


def service_user_token(call: Call) -> dict[str, Any]:
    """Replace the token of a service user; the old one ends at once.

    Raises:
        Refusal: 400 if the service user has expired.
    """
    doc = _mine(call)
    expiry = doc.body["expiry_date"]
    if expiry and datetime.fromisoformat(expiry).timestamp() <= call.now:
        raise invalid("The service user has expired")
    return {"token": new_token(call.store, doc)}


def roles(call: Call) -> list[dict[str, Any]]:
    """List the platform's roles and the project's own."""
    return [shapes.keep(["id", "name", "default"], body) for body in _roles(call)]


def role_get(call: Call) -> dict[str, Any]:
    """One role by name.

    Raises:
        Refusal: 404 if there is none of that name.
    """
    for body in _roles(call):
        if body["name"] == call.path["role_name"]:
            return shapes.keep(["id", "name", "default", "permissions"], body)
    raise not_found("Role")


def role_create(call: Call) -> dict[str, Any]:
    """Create a role of the project.

    Raises:
        Refusal: a permission is unknown, or the name is taken by a role of the project or the platform.
    """
    body = call.checked(ROLE, creating=True)
    _check_permissions(call, body)
    if body["name"] in DEFAULT_ROLES:
        raise duplicate(call, "Role", body["name"])
    body["default"] = False
    try:
        return call.store.add("role", project(call).id, body["name"], body).body
    except Duplicate as error:
        raise duplicate(call, "Role", body["name"]) from error


def role_update(call: Call) -> dict[str, Any]:
    """Change the permissions or the name of a role of the project.

    Raises:
        Refusal: it is the platform's, a permission is unknown, an assigned role is renamed, or the name is taken.
    """
    doc = _custom_role(call)
    changes = call.checked(ROLE, creating=False)
    _check_permissions(call, changes)
    if changes.get("name", doc.name) != doc.name:
        if changes["name"] in DEFAULT_ROLES:
            raise duplicate(call, "Role", changes["name"])
        if _assigned(call, doc):
            raise in_use(call, "name: the role is assigned")
    doc.body |= changes
    doc.name = doc.body["name"]
    try:
        call.store.save(doc)
    except Duplicate as error:
        raise duplicate(call, "Role", str(doc.name)) from error
    return doc.body


def role_delete(call: Call) -> None:
    """Delete a role of the project that nobody has; the platform's stay.

    Raises:
        Refusal: it is the platform's, or it is assigned.
    """
    doc = _custom_role(call)
    if _assigned(call, doc):
        raise in_use(call, "Role is assigned")
    call.store.delete(doc)


def assignments(call: Call) -> list[dict[str, Any]]:
    """List who has which role, of one resource or assignee if asked.

    Raises:
        Refusal: 400 for a resource without a type, or a type without a resource.
    """
    query = call.query
    if ("resource" in query) != ("resource_type" in query):
        raise invalid("resource and resource_type are required together")
    keys = ("resource", "resource_type", "assignee", "assignee_type")
    docs = call.store.children("grant", project(call).id)
    return [
        shapes.keep(ASSIGNMENT_KEEP, doc.body)
        for doc in docs
        if all(query.get(key) in {None, doc.body[key]} for key in keys)
    ]


def assignment_create(call: Call) -> dict[str, Any]:
    """Give a user a role on the project or a deployment.

    Raises:
        Refusal: a resource without a type or a type without a resource; role, assignee or resource is not there; or the
            same assignment exists.
    """
    owner = project(call)
    body = call.checked(ASSIGNMENT, creating=True)
    if ("resource" in body) != ("resource_type" in body):
        raise invalid("resource and resource_type are required together")
    body.setdefault("resource", owner.name)
    body.setdefault("resource_type", "project")
    _check_assignment(call, owner, body)
    if any(doc.body | {"id": ""} == body | {"id": ""} for doc in call.store.children("grant", owner.id)):
        raise duplicate(call, "Role assignment", body["role"])
    return shapes.keep(ASSIGNMENT_KEEP, call.store.add("grant", owner.id, None, body).body)


def assignment_get(call: Call) -> dict[str, Any]:
    """One role assignment."""
    return shapes.keep(ASSIGNMENT_KEEP, _assignment(call).body)


def assignment_delete(call: Call) -> None:
    """Take a role from a user."""
    call.store.delete(_assignment(call))


def _check_assignment(call: Call, owner: Doc, body: dict[str, Any]) -> None:
    store = call.store
    if body["role"] not in DEFAULT_ROLES and store.find("role", owner.id, body["role"]) is None:
        raise not_found("Role")
    if body["assignee_type"] == "user" and store.by_id("user", body["assignee"]) is None:
        raise not_found("User")
    if body["assignee_type"] == "deployment" and store.find("deployment", owner.id, body["assignee"]) is None:
        raise not_found("Deployment")
    match body["resource_type"]:
        case "project" if body["resource"] != owner.name:
            raise not_found("Project")
        case "deployment" if store.find("deployment", owner.id, body["resource"]) is None:
            raise not_found("Deployment")
        case "pipeline" | "bucket":
            raise not_found(body["resource_type"].capitalize())


def _check_permissions(call: Call, body: dict[str, Any]) -> None:
    unknown = sorted(set(body.get("permissions", [])) - set(call.known_permissions))
    if unknown:
        raise invalid(f"permissions: unknown {', '.join(unknown)}")


def _check_expiry(call: Call, body: dict[str, Any]) -> None:
    expiry = body.get("expiry_date")
    if expiry and datetime.fromisoformat(expiry).timestamp() <= call.now:
        raise invalid("expiry_date: must be in the future")


def _roles(call: Call) -> list[dict[str, Any]]:
    owner = project(call)
    rows = []
    for name in DEFAULT_ROLES:
        permissions = [one for one in call.known_permissions if grants(call.store, owner.id, name, one)]
        ident = str(uuid.uuid5(uuid.UUID(owner.id), name))
        rows.append({"id": ident, "name": name, "default": True, "permissions": permissions})
    return rows + [doc.body for doc in call.store.children("role", owner.id)]


def _custom_role(call: Call) -> Doc:
    name = call.path["role_name"]
    if name in DEFAULT_ROLES:
        raise invalid("Default roles cannot be changed or deleted")
    doc = call.store.find("role", project(call).id, name)
    if doc is None:
        raise not_found("Role")
    return doc


def _assigned(call: Call, doc: Doc) -> bool:
    return any(grant.body["role"] == doc.name for grant in call.store.children("grant", doc.parent))


def _assignment(call: Call) -> Doc:
    doc = call.store.by_id("grant", call.path["id"])
    if doc is None or doc.parent != project(call).id:
        raise not_found("Role assignment")
    return doc


def _mine(call: Call) -> Doc:
    doc = call.store.by_id("user", call.path["service_user_id"])
    if doc is None or doc.parent != project(call).id:
        raise not_found("Service user")
    return doc


def _service_user(doc: Doc) -> dict[str, Any]:
    return shapes.keep(SERVICE_USER_KEEP, doc.body)


def _person(doc: Doc) -> dict[str, Any]:
    return {
        "id": doc.id,
        "email": doc.body["email"],
        "name": doc.body.get("name") or "",
        "surname": doc.body.get("surname") or "",
    }
