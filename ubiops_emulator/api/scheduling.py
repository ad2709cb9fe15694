"""Which instance type an instance gets, where there is room for so many instances of a type and no more.

Contract: pure but for the store. The types of a version's group are tried in the order of their priority, each for its
`schedule_timeout` (seconds of the emulator's clock, whatever its speed). UbiOps documents that order and that the
events of an instance name the attempts; what becomes of an instance that no type had room for is not documented: here
it disappears, as a stopped one does, and a new one is made if it is still wanted.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from ubiops_emulator.api.rules import records
from ubiops_emulator.numbers import whole
from ubiops_emulator.refusal import invalid
from ubiops_emulator.store import Doc, Store

AT_ONCE = 1.0
"""The `due` of a document that is to be looked at now."""
SHOWN = ("id", "name", "display_name")


class Placement(Enum):
    """What came of looking for room."""

    PLACED = "it has an instance type"
    WAITING = "it waits for room, and is looked at again when its attempt is over"
    UNSCHEDULED = "no type of its group had room in time"


def place(store: Store, doc: Doc, capacity: Mapping[str, int], now: float) -> Placement:
    """Give a pending instance the first type of its group that has room.

    Args:
        capacity: instances by name of the instance type; a type that is not named has room for any number.
    """
    kinds = _kinds(store, doc)
    if not kinds:
        doc.body["instance_type"] = dict.fromkeys(SHOWN)
        return Placement.PLACED
    for kind in kinds[doc.body.get("_attempt", 0) :]:
        if "_deadline" not in doc.body:
            _attempt(store, doc, kind, now, since=doc.body.get("_over", now))
        if _has_room(store, kind, capacity):
            doc.body["instance_type"] = {key: kind.get(key) for key in SHOWN}
            records.instance_event(store, doc, "Instance is deployed on node pool local", now)
            return Placement.PLACED
        if now < doc.body["_deadline"]:
            doc.due = doc.body["_deadline"]
            store.save(doc)
            return Placement.WAITING
        doc.body["_over"] = doc.body.pop("_deadline")
        doc.body["_attempt"] = doc.body.get("_attempt", 0) + 1
    return Placement.UNSCHEDULED


def room_changed(store: Store) -> None:
    """Look again at every instance that waits for room, the longest waiting first."""
    for doc in store.every("instance"):
        if doc.body["status"] == "pending" and "_deadline" in doc.body:
            doc.due = AT_ONCE
            store.save(doc)


def tried(store: Store, doc: Doc) -> str:
    """The instance types that an instance was tried with, for a person."""
    return ", ".join(str(kind["name"]) for kind in _kinds(store, doc))


def parse(text: str, known: tuple[str, ...]) -> dict[str, int]:
    """`TYPE=N` as given on the command line.

    Raises:
        Refusal: 400 for an unknown type or no number.
    """
    name, sign, word = text.rpartition("=")
    number = whole(word)
    if not sign or number is None or number < 0:
        raise invalid(f"capacity {text!r} is not TYPE=NUMBER")
    return changed({}, {name: number}, known)


def changed(capacity: Mapping[str, int], changes: Mapping[str, Any], known: tuple[str, ...]) -> dict[str, int]:
    """A capacity with some types' changed; null takes a type's limit away.

    Raises:
        Refusal: 400 for an unknown type or no number.
    """
    for name, number in changes.items():
        if name not in known:
            raise invalid(f"unknown instance type {name!r}; known: {', '.join(known)}")
        if number is not None and (type(number) is not int or number < 0):
            raise invalid(f"capacity of {name}: a number of instances is required")
    return {name: number for name, number in {**capacity, **changes}.items() if number is not None}


def _kinds(store: Store, doc: Doc) -> list[dict[str, Any]]:
    """The types of the group of an instance's version, in the order of their priority."""
    version = store.by_id("version", doc.parent)
    group = store.by_id("group", version.body["instance_type_group_id"]) if version else None
    return list(group.body["instance_types"]) if group else []


def _attempt(store: Store, doc: Doc, kind: dict[str, Any], now: float, since: float) -> None:
    text = f"Attempting to deploy instance with instance type {kind['name']} on node pool local"
    records.instance_event(store, doc, text, now)
    doc.body["_deadline"] = since + kind["schedule_timeout"]


def _has_room(store: Store, kind: dict[str, Any], capacity: Mapping[str, int]) -> bool:
    limit = capacity.get(kind["name"])
    if limit is None:
        return True
    placed = [doc.body["instance_type"] for doc in store.every("instance") if doc.body["instance_type"]]
    return sum(1 for each in placed if each["id"] == kind["id"]) < limit
