"""The host, the token, the project: reached, accepted, there, allowed, not full."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from whisperctl.control.api import Api, Json
from whisperctl.errors import ApiError, Forbidden, NotFound, Unauthorized, Unreachable
from whisperctl.operate.doctor.check import Check, failed, ok, skipped, warning
from whisperctl.state.live import ENVIRONMENT

API_VERSION = "v2"
"""What client 4.15 speaks; v2.1 is the API of 4.14 and before (UbiOps reference, 0.2)."""
NEEDED = frozenset(
    f"{thing}.{verb}"
    for thing, verbs in {
        "deployments": ("list", "get", "create", "update", "delete"),
        "deployments.versions": ("list", "get", "create", "update", "delete"),
        "deployments.versions.revisions": ("list", "get", "create"),
        "deployments.versions.environment-variables": ("list", "create", "update", "delete"),
        "deployments.versions.instances": ("list",),
        "deployments.requests": ("create",),
        "environments": ("list", "get", "create", "update", "delete"),
        "environments.tags": ("list", "get", "create", "delete"),
        "services": ("list", "get", "create", "update", "delete"),
        "instance-type-groups": ("list",),
        "logs": ("list",),
    }.items()
    for verb in verbs
)
"""Permissions that apply and destroy use, as `GET /permissions` names them (UbiOps reference, 3.10)."""


def checks(api: Api, has_token: bool, name: str | None) -> tuple[bool, Sequence[Check]]:
    """Whether the project can be read, and every check on the way there."""
    reached, results = _host(api)
    user, check = _user(api) if reached and has_token else (None, skipped("token accepted", _why(reached, has_token)))
    results = [*results, check]
    if user is None or not name:
        why = "no project is named" if user else "there is no accepted token"
        return False, [*results, *(skipped(item, why) for item in ("project", "permissions", "quota"))]
    there, check = _project(api)
    results.append(check)
    if not there:
        return False, [
            *results,
            *(skipped(item, "there is no project to ask for") for item in ("permissions", "quota")),
        ]
    return True, [*results, _reading(api), _changing(api, user), _quota(api)]


def _why(reached: bool, has_token: bool) -> str:
    return "there is no token" if reached and not has_token else "the host does not answer"


def _host(api: Api) -> tuple[bool, list[Check]]:
    spoken = urlsplit(api.host).path.rstrip("/").rpartition("/")[2]
    try:
        status = api.status()
    except Unreachable as error:
        return False, [
            failed("host", error.reason, "check --host or UBIOPS_API_HOST, and the network"),
            _version(spoken),
        ]
    except ApiError as error:
        if error.status not in (401, 403):
            fix = "check --host or UBIOPS_API_HOST: it must be the API, such as https://api.ubiops.com/v2"
            return False, [failed("host", f"{api.host}: {error.reason}", fix), _version(spoken)]
        status = {"status": "ok"}
    if status.get("status") != "ok":
        detail = f"{api.host} says that it is not well: {status.get('reason') or status.get('status')}"
        return True, [warning("host", detail, "wait, or look at UbiOps' status page"), _version(spoken)]
    return True, [ok("host", api.host), _version(spoken)]


def _version(spoken: str) -> Check:
    if spoken == API_VERSION:
        return ok("API version", spoken)
    return warning("API version", f"{spoken}; made for {API_VERSION}", f"end UBIOPS_API_HOST with /{API_VERSION}")


def _user(api: Api) -> tuple[Json | None, Check]:
    name = "token accepted"
    try:
        user = api.user()
    except Unauthorized as error:
        return None, failed(
            name, f"no: {error.reason}", "make a new token for the service user and set UBIOPS_API_TOKEN"
        )
    except ApiError as error:
        return {}, warning(name, f"it cannot be told whose it is: {error.reason}", "go on if the next checks are ok")
    return user, ok(name, f"of {user.get('email') or user.get('name') or 'an unnamed user'}")


def _project(api: Api) -> tuple[bool, Check]:
    try:
        project = api.get_project()
    except (NotFound, Forbidden) as error:
        fix = (
            "check the name (--project, UBIOPS_PROJECT, project: in the stack file) and that the token's user is in it"
        )
        return False, failed("project", f"{api.project}: {error.reason}", fix)
    except ApiError as error:
        return False, failed("project", f"{api.project}: {error.reason}", "try again")
    if project.get("suspended"):
        why = project.get("suspended_reason") or "no reason given"
        return True, failed("project", f"{api.project} is suspended: {why}", "ask the organization's admin")
    return True, ok("project", f"{api.project} (of {project.get('organization_name')})")


def _reading(api: Api) -> Check:
    now = int(time.time()) * 10**9
    readers: dict[str, Callable[[], Any]] = {
        "deployments": api.deployments,
        "services": api.services,
        "environments": lambda: api.environment(ENVIRONMENT),
        "instance type groups": api.groups,
        "instance types": api.instance_types,
        "logs": lambda: api.logs(f"| environment_name=`{ENVIRONMENT}`", now - 10**9, now, 1),
    }
    refused, unclear = [], []
    for thing, read in readers.items():
        try:
            read()
        except Forbidden as error:
            refused.append(f"{thing} ({error.reason})")
        except ApiError as error:
            unclear.append(f"{thing} ({error.reason})")
    if refused:
        return failed("may read", f"not {', '.join(refused)}", "give the token's user the role project-viewer or more")
    if unclear:
        return warning("may read", f"no clear answer for {', '.join(unclear)}", "try again")
    return ok("may read", ", ".join(readers))


def _changing(api: Api, user: Json) -> Check:
    name = "may change"
    try:
        permissions = api.permissions_of(str(user["id"]))
        needed = NEEDED & api.known_permissions()
    except (ApiError, KeyError):
        return skipped(name, "the token may not read its own roles: only an apply will tell")
    if not permissions:
        return skipped(name, "no role of the token's user is visible: only an apply will tell")
    if lacking := sorted(needed - permissions):
        return failed(name, f"lacks {', '.join(lacking)}", "give the token's user the role project-admin, or these")
    return ok(name, "its roles allow everything that apply and destroy do")


def _quota(api: Api) -> Check:
    try:
        quotas, used = {item["resource"]: item["quota"] for item in api.quotas()}, api.usage()
    except ApiError as error:
        return skipped("quota", f"cannot be read: {error.reason}")
    limits = {name: limit for name, limit in quotas.items() if limit is not None}
    full = [name for name, limit in limits.items() if (used.get(name) or 0) >= limit]
    figures = ", ".join(f"{name} {used.get(name, '?')} of {limit:g}" for name, limit in sorted(limits.items()))
    if full:
        return warning("quota", figures, f"{', '.join(sorted(full))}: delete some, or ask UbiOps for more")
    return ok("quota", figures or "no limits are set")
