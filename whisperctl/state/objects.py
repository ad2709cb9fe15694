"""How one object of each kind is read, created, changed and deleted on UbiOps: one row a kind.

Each row is four calls of the control plane. What is read is the raw object as UbiOps tells it, None if there is none.
Nothing here decides anything. Tags and packages, which are uploaded and built, are `apply/builds.py`'s; that a tag or
an environment is only deleted once nobody uses it is `apply/deletions.py`'s; nothing else tells the kinds apart for a
request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, assert_never

from whisperctl.control.api import Api, Json
from whisperctl.state.resources import Address, Kind

Body = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """The four calls for one object; `names` are those of its address."""

    read: Callable[[], Json | None]
    create: Callable[[Body], Json]
    change: Callable[[Json, Body], Json]
    """Takes the raw object, for those that are changed by their id."""
    delete: Callable[[Json], None]
    """Likewise; one that is gone already is fine."""


def access(api: Api, address: Address, known: Json | None = None) -> Access | None:
    """The calls for the object behind `address`; None for what is uploaded and built, and never changed.

    Args:
        api: the control plane of its project.
        address: which object.
        known: the object as it was last seen: groups of one name are told apart by their id.
    """
    names = address.names
    match address.kind:
        case Kind.DEPLOYMENT:
            return Access(
                read=lambda: api.deployment(*names),
                create=api.create_deployment,
                change=lambda _raw, body: api.update_deployment(names[0], body),
                delete=lambda _raw: api.delete_deployment(*names),
            )
        case Kind.VERSION:
            return Access(
                read=lambda: api.version(*names),
                create=lambda body: api.create_version(names[0], body),
                change=lambda _raw, body: api.update_version(names[0], names[1], body),
                delete=lambda _raw: api.delete_version(*names),
            )
        case Kind.ENV_VAR:
            return Access(
                read=lambda: _env_var(api, names),
                create=lambda body: api.create_env_var(names[0], names[1], body),
                change=lambda raw, body: api.update_env_var(names[0], names[1], raw["id"], body),
                delete=lambda raw: api.delete_env_var(names[0], names[1], raw["id"]),
            )
        case Kind.SERVICE:
            return Access(
                read=lambda: api.find_service(*names),
                create=api.create_service,
                change=lambda _raw, body: api.update_service(names[0], body),
                delete=lambda _raw: api.delete_service(*names),
            )
        case Kind.INSTANCE_TYPE_GROUP:
            return Access(
                read=lambda: _group(api, names[0], known),
                create=api.create_group,
                change=lambda raw, body: api.update_group(raw["id"], body),
                delete=lambda raw: api.delete_group(raw["id"]),
            )
        case Kind.ENVIRONMENT:
            return Access(
                read=lambda: api.environment(*names),
                create=api.create_environment,
                change=lambda _raw, body: api.update_environment(names[0], body),
                delete=lambda _raw: api.delete_environment(*names),
            )
        case Kind.ENVIRONMENT_TAG | Kind.PACKAGE:
            return None
        case kind:
            assert_never(kind)


def _env_var(api: Api, names: tuple[str, ...]) -> Json | None:
    """The version's own variable, never an inherited one of the same name."""
    own = (item for item in api.env_vars(*names[:2]) if not item.get("inheritance_type"))
    return next((item for item in own if item["name"] == names[2]), None)


def _group(api: Api, name: str, known: Json | None) -> Json | None:
    """The known group, or else the first of that name: names of groups are not unique."""
    same = [group for group in api.groups() if group["name"] == name]
    return next((group for group in same if known and group["id"] == known["id"]), same[0] if same else None)
