"""Who changed an object last, and when, by UbiOps' audit trail. Reads only.

An audit event names an object's type and name, no id (UbiOps reference, 3.12), and a version is called `v1` in every
second deployment. So what hangs on a deployment is looked for in that deployment's own trail alone, and what has a name
of its own in the project (deployments, services, groups, environments) in the project's. Where an event may be another
object's, nobody is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from whisperctl.control.api import Api, Json
from whisperctl.errors import NotFound
from whisperctl.plan.changes import Action, Change
from whisperctl.state.resources import BELOW, Address, Kind

PAGE = 100
"""Events of one answer: the most that the official CLI asks for."""
PAGES = 5
"""How far back is looked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LastChange:
    """The newest audit event of one object."""

    user: str
    time: str
    """ISO 8601, UTC."""
    event: str
    """In UbiOps' words."""

    def __str__(self) -> str:
        return f"{self.time} {self.user}: {self.event}"


_TYPES: Mapping[Kind, tuple[str, ...]] = {
    Kind.DEPLOYMENT: ("deployment",),
    Kind.VERSION: ("deployment_version", "version"),
    Kind.ENV_VAR: ("deployment_version_environment_variable", "environment_variable"),
    Kind.PACKAGE: ("deployment_version_revision", "revision"),
    Kind.SERVICE: ("service",),
    Kind.ENVIRONMENT: ("environment",),
    Kind.ENVIRONMENT_TAG: ("environment_tag", "tag"),
    Kind.INSTANCE_TYPE_GROUP: ("instance_type_group",),
}
_OF_A_DEPLOYMENT = (Kind.DEPLOYMENT, *BELOW[Kind.DEPLOYMENT])
"""Kinds whose events stand in the trail of their deployment, as long as that exists."""
_ACTIONS: Mapping[Action, tuple[str, ...]] = {
    "create": ("create", "update"),
    "update": ("create", "update"),
    "replace": ("create", "update"),
    "delete": ("delete",),
}
"""What happened to the object -> the actions of events that may have done it."""


def last_changes(api: Api, changes: Iterable[Change]) -> dict[Address, LastChange]:
    """The newest event of each changed object, where the trail tells it.

    Args:
        api: the control plane.
        changes: what happened to each object: an `update` was changed on UbiOps, a `delete` is gone from it.

    Raises:
        ApiError: the trail cannot be read.
    """
    trails: dict[str | None, list[Change]] = {}
    for change in changes:
        kind, names = change.address.kind, change.address.names
        trails.setdefault(names[0] if kind in _OF_A_DEPLOYMENT else None, []).append(change)
    newest: dict[Address, LastChange] = {}
    for deployment, among in trails.items():
        if deployment is None:
            newest |= _matched(_events(api, None), among, several=False)
            continue
        versions = api.versions(deployment) if any(_is_variable(change) for change in among) else []
        try:
            newest |= _matched(_events(api, deployment), among, several=len(versions) > 1)
        except NotFound:  # the deployment is gone, and its trail with it; its name is the project's
            gone = [change for change in among if change.address.kind is Kind.DEPLOYMENT]
            newest |= _matched(_events(api, None), gone, several=False)
    return newest


def _is_variable(change: Change) -> bool:
    return change.address.kind is Kind.ENV_VAR


def _events(api: Api, deployment: str | None) -> Iterator[Json]:
    """Newest first, a page at a time, as far as they are looked at."""
    for page in range(PAGES):
        events = api.audit(deployment, limit=PAGE, offset=page * PAGE)
        yield from events
        if len(events) < PAGE:
            return


def _matched(events: Iterator[Json], changes: Sequence[Change], several: bool) -> dict[Address, LastChange]:
    """`several`: whether the deployment has more versions than one, whose env vars may share a name."""
    newest: dict[Address, LastChange] = {}
    left = list(changes)
    for event in events if left else ():
        for change in left:
            if _concerns(event, change, several):
                newest[change.address] = _last_change(event)
        left = [change for change in left if change.address not in newest]
        if not left:
            break
    return newest


def _concerns(event: Json, change: Change, several: bool) -> bool:
    """Whether an event is about the object: its type, its name, and what happened to it."""
    address = change.address
    if event.get("object_type") not in _TYPES[address.kind] or event.get("action") not in _ACTIONS[change.action]:
        return False
    name = address.names[1] if address.kind is Kind.PACKAGE else address.names[-1]
    if several and address.kind is Kind.ENV_VAR and not _names(event, address.names[1]):
        return False
    # The name in the event is empty once the object is gone: then its text has to say it.
    return event["object_name"] == name if event.get("object_name") else _names(event, name)


def _names(event: Json, name: str) -> bool:
    """Whether the event's text has the name as a word of its own."""
    return re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", str(event.get("event"))) is not None


def _last_change(event: Json) -> LastChange:
    return LastChange(user=str(event.get("user") or ""), time=_time(event), event=str(event.get("event") or ""))


def _time(event: Json) -> str:
    """The event's date in UTC; as it is where it cannot be read."""
    text = str(event.get("date") or "")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
