"""Which call answers which path: data. The object of a route names permissions and audit entries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from ubiops_emulator.api.call import Call
from ubiops_emulator.api.rules import (
    access,
    deployments,
    environments,
    groups,
    instances,
    logs,
    metrics,
    projects,
    records,
    requests,
    revisions,
    services,
    variables,
    versions,
)

Rule = Callable[[Call], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One call of the API.

    Attributes:
        permission: `<object>[.<child>].<verb>`; empty for what needs no permission (but a token).
        public: answers without a token.
        kind: rate limit group: `other`, `request`, `file` or `user`.
    """

    verb: str
    parts: tuple[str, ...]
    rule: Rule
    permission: str
    status: int
    public: bool = False
    kind: str = "other"

    @property
    def object(self) -> str:
        """What the route is about, as permissions name it: `deployments.versions`."""
        return self.permission.rpartition(".")[0]


P = "/projects/{project_name}"
D = P + "/deployments/{deployment_name}"
V = D + "/versions/{version}"
E = P + "/environments/{environment_name}"
T = E + "/tags/{tag_name}"
S = P + "/services/{service_name}"
G = P + "/instance-type-groups/{instance_type_group_id}"

Row = tuple[str, str, Rule, str]
PLAIN: list[Row] = [
    ("GET", "/user", projects.user, ""),
    ("GET", "/permissions", access.permissions, ""),
    ("GET", "/projects", projects.index, ""),
    ("POST", "/projects", projects.create, ""),
    ("GET", "/template-deployments", deployments.templates, ""),
    ("GET", P, projects.get, "projects.get"),
    ("PATCH", P, projects.update, "projects.update"),
    ("GET", P + "/quotas", projects.quotas, "projects.quotas.list"),
    ("GET", P + "/resources", projects.resources, "projects.resources.get"),
    ("GET", P + "/users", access.users, "projects.users.list"),
    ("GET", P + "/users/{user_id}", access.user_get, "projects.users.get"),
    ("GET", P + "/logs", logs.index, "logs.list"),
    ("GET", P + "/audit", records.project_audit, "audit.list"),
    ("GET", P + "/events", records.project_events, "events.list"),
    ("GET", P + "/requests", requests.project_index, "deployments.requests.list"),
    ("GET", P + "/instance-types", groups.types, "instance-types.list"),
    ("GET", P + "/instance-type-groups", groups.index, "instance-type-groups.list"),
    ("POST", P + "/instance-type-groups", groups.create, "instance-type-groups.create"),
    ("GET", G, groups.get, "instance-type-groups.get"),
    ("PATCH", G, groups.update, "instance-type-groups.update"),
    ("DELETE", G, groups.delete, "instance-type-groups.delete"),
    ("GET", G + "/usage", groups.usage, "instance-type-groups.usage.list"),
    ("GET", P + "/instances", instances.project_index, "deployments.versions.instances.list"),
    ("GET", P + "/instances/{instance_id}", instances.get, "deployments.versions.instances.get"),
    ("PATCH", P + "/instances/{instance_id}", instances.update, "deployments.versions.instances.update"),
    ("GET", P + "/environments", environments.index, "environments.list"),
    ("POST", P + "/environments", environments.create, "environments.create"),
    ("GET", E, environments.get, "environments.get"),
    ("PATCH", E, environments.update, "environments.update"),
    ("DELETE", E, environments.delete, "environments.delete"),
    ("GET", E + "/tags", environments.tags, "environments.tags.list"),
    ("POST", E + "/tags", environments.tag_create, "environments.tags.create"),
    ("GET", T, environments.tag_get, "environments.tags.get"),
    ("PATCH", T, environments.tag_update, "environments.tags.update"),
    ("DELETE", T, environments.tag_delete, "environments.tags.delete"),
    ("GET", T + "/dependency-files", environments.dependency_files, "environments.tags.get"),
    ("GET", T + "/usage", environments.usage, "environments.tags.usage.list"),
    ("GET", T + "/secrets", variables.secrets, "environments.tags.secrets.list"),
    ("POST", T + "/secrets", variables.secret_create, "environments.tags.secrets.create"),
    ("GET", T + "/secrets/{id}", variables.secret_get, "environments.tags.secrets.get"),
    ("PATCH", T + "/secrets/{id}", variables.secret_update, "environments.tags.secrets.update"),
    ("DELETE", T + "/secrets/{id}", variables.secret_delete, "environments.tags.secrets.delete"),
    ("POST", T + "/copy-secrets", variables.secrets_copy, "environments.tags.secrets.create"),
    ("GET", P + "/deployments", deployments.index, "deployments.list"),
    ("POST", P + "/deployments", deployments.create, "deployments.create"),
    ("GET", D, deployments.get, "deployments.get"),
    ("PATCH", D, deployments.update, "deployments.update"),
    ("DELETE", D, deployments.delete, "deployments.delete"),
    ("GET", D + "/audit", records.deployment_audit, "audit.list"),
    ("GET", D + "/versions", versions.index, "deployments.versions.list"),
    ("POST", D + "/versions", versions.create, "deployments.versions.create"),
    ("GET", V, versions.get, "deployments.versions.get"),
    ("PATCH", V, versions.update, "deployments.versions.update"),
    ("DELETE", V, versions.delete, "deployments.versions.delete"),
    ("GET", V + "/revisions", revisions.index, "deployments.versions.revisions.list"),
    ("GET", V + "/revisions/{revision_id}", revisions.get, "deployments.versions.revisions.get"),
    ("POST", V + "/revisions/{revision_id}/rebuild", revisions.rebuild, "deployments.versions.revisions.create"),
    ("GET", V + "/instances", instances.index, "deployments.versions.instances.list"),
    ("GET", V + "/instances/{instance_id}", instances.get, "deployments.versions.instances.get"),
    ("PATCH", V + "/instances/{instance_id}", instances.update, "deployments.versions.instances.update"),
    ("GET", V + "/instances/{instance_id}/events", records.instance_events, "deployments.versions.instances.get"),
    ("GET", P + "/services", services.index, "services.list"),
    ("POST", P + "/services", services.create, "services.create"),
    ("GET", S, services.get, "services.get"),
    ("PATCH", S, services.update, "services.update"),
    ("DELETE", S, services.delete, "services.delete"),
    ("GET", S + "/status", services.status, "services.get"),
    ("GET", P + "/service-users", access.service_users, "service-users.list"),
    ("POST", P + "/service-users", access.service_user_create, "service-users.create"),
    ("GET", P + "/service-users/{service_user_id}", access.service_user_get, "service-users.get"),
    ("PATCH", P + "/service-users/{service_user_id}", access.service_user_update, "service-users.update"),
    ("DELETE", P + "/service-users/{service_user_id}", access.service_user_delete, "service-users.delete"),
    ("PUT", P + "/service-users/{service_user_id}/token", access.service_user_token, "service-users.update"),
    ("GET", P + "/roles", access.roles, "roles.list"),
    ("POST", P + "/roles", access.role_create, "roles.create"),
    ("GET", P + "/roles/{role_name}", access.role_get, "roles.get"),
    ("PATCH", P + "/roles/{role_name}", access.role_update, "roles.update"),
    ("DELETE", P + "/roles/{role_name}", access.role_delete, "roles.delete"),
    ("GET", P + "/role-assignments", access.assignments, "role-assignments.list"),
    ("POST", P + "/role-assignments", access.assignment_create, "role-assignments.create"),
    ("GET", P + "/role-assignments/{id}", access.assignment_get, "role-assignments.get"),
    ("DELETE", P + "/role-assignments/{id}", access.assignment_delete, "role-assignments.delete"),
    ("GET", P + "/metrics", metrics.index, "metrics.list"),
    ("GET", P + "/metrics/{metric_name}", metrics.get, "metrics.get"),
    ("GET", P + "/time-series/data", metrics.data, "metrics.get"),
]  # fmt: skip
FILES: list[Row] = [
    ("POST", T + "/build", environments.tag_build, "environments.tags.update"),
    ("POST", T + "/rebuild", environments.tag_rebuild, "environments.tags.update"),
    ("GET", T + "/download", environments.tag_download, "environments.tags.get"),
    ("POST", V + "/revisions", revisions.upload, "deployments.versions.revisions.create"),
    ("GET", V + "/revisions/{revision_id}/download", revisions.download, "deployments.versions.revisions.get"),
]
STATUS = {"POST": 201, "DELETE": 204}
# A POST that makes nothing answers 200.
ACTIONS = {"cancel", "delete", "collect", "copy-environment-variables", "copy-secrets", "build", "rebuild"}


def _rows() -> list[tuple[Row, str]]:
    rows = [(row, "other") for row in PLAIN] + [(row, "file") for row in FILES]
    for path, name in ((P, "projects"), (D, "deployments"), (V, "deployments.versions")):
        stem, permission = path + "/environment-variables", f"{name}.environment-variables"
        rows += [
            (("GET", stem, variables.index, f"{permission}.list"), "other"),
            (("POST", stem, variables.create, f"{permission}.create"), "other"),
            (("GET", stem + "/{id}", variables.get, f"{permission}.get"), "other"),
            (("PATCH", stem + "/{id}", variables.update, f"{permission}.update"), "other"),
            (("DELETE", stem + "/{id}", variables.delete, f"{permission}.delete"), "other"),
        ]
        if path != P:
            copy = path + "/copy-environment-variables"
            rows.append((("POST", copy, variables.copy, f"{permission}.create"), "other"))
            rows += [(row, "request") for row in _requests(path)]
    for limits in ("user-rate-limits", "user-concurrency-limits"):
        rows += [(row, "other") for row in _limits(limits)]
    return rows


def _requests(path: str) -> list[Row]:
    stem, name = path + "/requests", "deployments.requests"
    return [
        ("GET", stem, requests.index, f"{name}.list"),
        ("POST", stem, requests.create, f"{name}.create"),
        ("POST", stem + "/batch", requests.batch, f"{name}.create"),
        ("POST", stem + "/stream", requests.stream, f"{name}.create"),
        ("POST", stem + "/collect", requests.collect, f"{name}.get"),
        ("POST", stem + "/cancel", requests.cancel, f"{name}.update"),
        ("POST", stem + "/delete", requests.delete_several, f"{name}.delete"),
        ("GET", stem + "/{request_id}", requests.get, f"{name}.get"),
        ("PATCH", stem + "/{request_id}", requests.update, f"{name}.update"),
        ("DELETE", stem + "/{request_id}", requests.delete, f"{name}.delete"),
        ("GET", stem + "/{request_id}/input", requests.input_get, f"{name}.get"),
        ("GET", stem + "/{request_id}/output", requests.output_get, f"{name}.get"),
    ]


def _limits(limits: str) -> list[Row]:
    stem, name = f"{S}/{{limits:{limits}}}", f"services.{limits}"
    return [
        ("GET", stem, services.limits, f"{name}.list"),
        ("POST", stem, services.limit_create, f"{name}.create"),
        ("GET", stem + "/{user_id}", services.limit_get, f"{name}.get"),
        ("PATCH", stem + "/{user_id}", services.limit_update, f"{name}.update"),
        ("DELETE", stem + "/{user_id}", services.limit_delete, f"{name}.delete"),
    ]


def _route(row: Row, kind: str) -> Route:
    verb, path, rule, permission = row
    parts = tuple(path.strip("/").split("/"))
    status = 200 if verb == "POST" and parts[-1] in ACTIONS else STATUS.get(verb, 200)
    kind = "user" if parts[0] == "user" or "service-users" in parts else kind
    return Route(verb=verb, parts=parts, rule=rule, permission=permission, status=status, kind=kind)


OPEN = Route(verb="GET", parts=("status",), rule=projects.status, permission="", status=200, public=True, kind="user")
ROUTES: list[Route] = [OPEN, *(_route(row, kind) for row, kind in _rows())]
PERMISSIONS = sorted({route.permission for route in ROUTES if route.permission})


def _index() -> dict[tuple[str, int], list[Route]]:
    index: dict[tuple[str, int], list[Route]] = {}
    for route in ROUTES:
        index.setdefault((route.verb, len(route.parts)), []).append(route)
    for routes in index.values():
        # Literal parts win over placeholders: `requests/batch` over `requests/{request_id}`.
        routes.sort(key=lambda route: [part.startswith("{") for part in route.parts])
    return index


_INDEX = _index()


def match(verb: str, raw_path: str) -> tuple[Route, dict[str, str]] | None:
    """The route of a path below the API's root, and its placeholders' values. A `%2F` stays inside its part."""
    parts = raw_path.strip("/").split("/")
    for route in _INDEX.get((verb, len(parts)), []):
        values = _values(route.parts, parts)
        if values is not None:
            return route, values
    return None


def _values(pattern: tuple[str, ...], parts: list[str]) -> dict[str, str] | None:
    values = {}
    for template, part in zip(pattern, parts, strict=True):
        if not template.startswith("{"):
            if template != part:
                return None
            continue
        name, _, literal = template[1:-1].partition(":")
        if literal and literal != part:
            return None
        values[name] = unquote(part)
    return values
