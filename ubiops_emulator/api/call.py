"""One API call as the rules see it: no HTTP, only who asks for what. And the look-ups that every rule needs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ubiops_emulator.api.fields import Field, checked, trimmed
from ubiops_emulator.clock import stamp
from ubiops_emulator.numbers import whole
from ubiops_emulator.refusal import Refusal, invalid, not_found
from ubiops_emulator.store import Doc, Store
from ubiops_emulator.switches import Switches

SYSTEM = "system"
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Who asks: a user or a service user."""

    id: str
    email: str
    permissions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A received file, already stored by content."""

    sha256: str
    path: Path
    filename: str
    size: int


@dataclass(frozen=True, slots=True)
class Signal:
    """What the platform must hear of: `version`, `request` (of the version `parent`), `cancel`, `stop`, `services`."""

    kind: str
    id: str = ""
    parent: str = ""


@dataclass(slots=True, kw_only=True)
class Call:
    """A checked-in API call.

    Attributes:
        url: the call's address without its query, for links to further pages.
        signals: what the platform must hear of when the call's transaction is through.
        free_port: reserves a loopback port for a new service.
        capacity: how many instances of a type there is room for, by its name.
    """

    store: Store
    user: User
    now: float
    switches: Switches = field(default_factory=Switches)
    path: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    body: Any = None
    upload: Upload | None = None
    signals: set[Signal] = field(default_factory=set)
    url: str = ""
    known_permissions: tuple[str, ...] = ()
    free_port: Callable[[], int | None] = lambda: None
    capacity: Mapping[str, int] = field(default_factory=dict)

    @property
    def stamp(self) -> str:
        """The time of the call, as UbiOps writes it."""
        return stamp(self.now)

    def touch(self, version_id: str) -> None:
        """The platform shall look at this version's instances."""
        self.signals.add(Signal("version", version_id))

    def checked(self, fields: dict[str, Field], *, creating: bool) -> dict[str, Any]:
        """The body, checked against a table of fields."""
        lenient = not self.switches.reject_unknown_fields
        body = trimmed(self.body) if self.switches.trim_text else self.body
        return checked(fields, body, creating=creating, ignore_unknown=lenient)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileAnswer:
    """A download."""

    path: Path
    filename: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The answer is known when a deployment request is done."""

    request: str
    stream: bool = False


def duplicate(call: Call, what: str, name: str) -> Refusal:
    """The refusal of a second object of one name."""
    return Refusal(call.switches.duplicate_status, f"{what} with name '{name}' already exists")


def in_use(call: Call, text: str) -> Refusal:
    """The refusal to delete what something else needs."""
    return Refusal(call.switches.in_use_status, text)


def project(call: Call) -> Doc:
    """The project of the path.

    Raises:
        Refusal: 404.
    """
    doc = call.store.find("project", SYSTEM, call.path["project_name"])
    if doc is None:
        raise not_found("Project")
    return doc


def deployment(call: Call) -> Doc:
    """The deployment of the path.

    Raises:
        Refusal: 404.
    """
    doc = call.store.find("deployment", project(call).id, call.path["deployment_name"])
    if doc is None:
        raise not_found("Deployment")
    return doc


def version(call: Call) -> Doc:
    """The version of the path; without one, the deployment's default.

    Raises:
        Refusal: 404 if there is none of that name, or no default.
    """
    parent = deployment(call)
    if "version" not in call.path:
        return default_version(call.store, parent)
    doc = call.store.find("version", parent.id, call.path["version"])
    if doc is None:
        raise not_found("Deployment version")
    return doc


def default_version(store: Store, parent: Doc) -> Doc:
    """The default version of a deployment.

    Raises:
        Refusal: 404 if it has none.
    """
    ident = parent.body.get("_default")
    doc = store.by_id("version", ident) if ident else None
    if doc is None:
        raise not_found("Deployment version")
    return doc


def environment(call: Call, name: str | None = None) -> Doc:
    """An environment of the project, or one of the platform's."""
    return find_environment(call, name or call.path["environment_name"])


def find_environment(call: Call, name: str) -> Doc:
    """An environment by name: the project's own before the platform's; `python3-12` where a switch lets it.

    Raises:
        Refusal: 404.
    """
    store = call.store
    doc = store.find("environment", project(call).id, name) or store.find("environment", SYSTEM, name)
    if doc is None and call.switches.legacy_environment_names and re.fullmatch(r"python3-\d+", name):
        doc = store.find("environment", SYSTEM, f"ubiops-ubuntu24-04-{name}")
    if doc is None:
        raise not_found("Environment")
    return doc


def tag(call: Call) -> Doc:
    """The environment tag of the path.

    Raises:
        Refusal: 404.
    """
    return find_tag(call.store, environment(call), call.path["tag_name"])


def find_tag(store: Store, parent: Doc, name: str) -> Doc:
    """A tag of an environment by name.

    Raises:
        Refusal: 404.
    """
    doc = store.find("tag", parent.id, name)
    if doc is None:
        raise not_found("Environment tag")
    return doc


def newest_tag(store: Store, parent: Doc) -> Doc:
    """The tag meant by an environment's bare name: the newest available one, else the newest.

    Raises:
        Refusal: 404 if it has no tag.
    """
    tags = store.children("tag", parent.id)
    if not tags:
        raise not_found("Environment tag")
    ready = [doc for doc in tags if doc.body["status"] == "available"]
    return (ready or tags)[-1]


def instance(call: Call) -> Doc:
    """The instance of the path, if it is one of the path's version.

    Raises:
        Refusal: 404.
    """
    doc = call.store.by_id("instance", call.path["instance_id"])
    if doc is None or (doc.parent != version(call).id if "version" in call.path else False):
        raise not_found("Instance")
    return doc


def group(call: Call) -> Doc:
    """The instance type group of the path.

    Raises:
        Refusal: 404.
    """
    doc = call.store.by_id("group", call.path["instance_type_group_id"])
    if doc is None or doc.parent != project(call).id:
        raise not_found("Instance type group")
    return doc


def service(call: Call) -> Doc:
    """The service of the path.

    Raises:
        Refusal: 404.
    """
    doc = call.store.find("service", project(call).id, call.path["service_name"])
    if doc is None:
        raise not_found("Service")
    return doc


def labelled(call: Call, docs: list[Doc]) -> list[Doc]:
    """Those with at least one of the labels in `labels=key:value,key2:value2`; without that query, all.

    Raises:
        Refusal: 400 for a label without a colon or without a key.
    """
    text = call.query.get("labels")
    if not text:
        return docs
    pairs = []
    for part in text.split(","):
        key, sign, value = part.partition(":")
        if not sign or not key:
            raise invalid("labels: use key:value pairs separated by commas")
        pairs.append((key, value))
    return [doc for doc in docs if any(doc.body["labels"].get(key) == value for key, value in pairs)]


def flag(call: Call, name: str) -> bool | None:
    """A boolean of the query string; the official client writes Python's literals.

    Raises:
        Refusal: 400 for anything but true and false, however capitalised.
    """
    text = call.query.get(name)
    if text is None:
        return None
    if text.lower() not in {"true", "false"}:
        raise invalid(f"{name}: a boolean is required")
    return text.lower() == "true"


def number(call: Call, name: str, default: int, low: int, high: int) -> int:
    """A whole number of the query string, within bounds.

    Raises:
        Refusal: 400 for what is no whole number, or out of bounds.
    """
    given = whole(call.query.get(name, str(default)))
    if given is None or not low <= given <= high:
        raise invalid(f"{name}: a number from {low} to {high} is required")
    return given


def moment(call: Call, name: str) -> float:
    """An ISO-8601 date of the query string, in seconds since the epoch.

    Raises:
        Refusal: 400 if it is missing, or no ISO-8601 date.
    """
    try:
        # A `+` that was not encoded arrives as a space.
        date = datetime.fromisoformat(call.query[name].replace(" ", "+"))
    except (KeyError, ValueError) as error:
        raise invalid(f"{name}: an ISO-8601 date is required") from error
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
