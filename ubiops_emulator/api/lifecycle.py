"""How tags, revisions and instances move from state to state: a table, and the function that applies it.

Contract: pure but for the store. What a move sets off (a build, a process) is returned as effects; the platform
performs them. Stays are UbiOps-like seconds at speed 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ubiops_emulator.api import billing, scheduling
from ubiops_emulator.api.rules import records, versions
from ubiops_emulator.api.scheduling import Placement
from ubiops_emulator.clock import stamp
from ubiops_emulator.store import ENTERED, Doc, Store

OPEN = ("pending", "processing")
LIVE = ("pending", "initialising", "running")


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A state's way on: to where, after how many seconds, and what that sets off."""

    to: str
    after: float
    effect: str | None = None


# `outcome` is the state that the build's result names. A pending instance goes on when there is room for it, too.
MOVES: dict[tuple[str, str], Move] = {
    ("tag", "queued"): Move(to="building", after=20, effect="build_tag"),
    ("tag", "building"): Move(to="outcome", after=700),
    ("revision", "queued"): Move(to="building", after=5, effect="build_revision"),
    ("revision", "building"): Move(to="outcome", after=55),
    ("instance", "pending"): Move(to="initialising", after=20),
    ("instance", "initialising"): Move(to="running", after=10),
    ("instance", "stopping"): Move(to="gone", after=5),
}


@dataclass(frozen=True, slots=True)
class Effect:
    """Something to be done outside the store, to the document of this id."""

    kind: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How quickly things move.

    Attributes:
        speed: times UbiOps' own pace.
        processes: whether instances are processes, whose readiness decides, or only rows.
        capacity: how many instances of a type there is room for, by its name; any number of those not named.
    """

    speed: float
    processes: bool
    capacity: Mapping[str, int] = field(default_factory=dict)


def advance(store: Store, now: float, pace: Pace, served: Mapping[str, float]) -> list[Effect]:
    """Move everything whose moment has come.

    Args:
        served: when service traffic last reached an instance, where such traffic counts.
    """
    effects: list[Effect] = []
    for doc in store.due(now):
        if doc.kind == "request":
            effects += _request(store, doc)
        elif doc.kind == "instance" and doc.body["status"] == "running":
            effects += _idle(store, doc, now, served.get(doc.id, 0.0))
        else:
            effects += _step(store, doc, now, pace)
    return effects


def _request(store: Store, doc: Doc) -> list[Effect]:
    """An open request has run out of time; a done one has been kept for long enough."""
    if doc.body["status"] in OPEN:
        doc.due = None
        store.save(doc)
        return [Effect("expire", doc.id)]
    store.delete(doc)
    return []


def _step(store: Store, doc: Doc, now: float, pace: Pace) -> list[Effect]:
    move = MOVES.get((doc.kind, doc.body["status"]))
    if move is None or _waits_for_process(doc, pace):
        doc.due = None
        store.save(doc)
        return []
    if doc.due == ENTERED:
        doc.due = now + move.after / pace.speed
        store.save(doc)
        return []
    if doc.kind == "revision" and doc.body["status"] == "queued" and _tag_underway(store, doc):
        doc.due = now + max(1 / pace.speed, 0.1)
        store.save(doc)
        return []
    if move.to == "outcome":
        return _finish(store, doc, now)
    if (doc.kind, doc.body["status"]) == ("instance", "pending"):
        return _place(store, doc, move, pace, now)
    if move.to == "gone":
        remove_instance(store, doc, now)
        return [Effect("touch", doc.parent)]
    enter(store, doc, move.to, now)
    return [Effect(move.effect, doc.id)] if move.effect else [Effect("touch", doc.parent)]


def _place(store: Store, doc: Doc, move: Move, pace: Pace, now: float) -> list[Effect]:
    match scheduling.place(store, doc, pace.capacity, now):
        case Placement.PLACED:
            enter(store, doc, move.to, now)
            return [Effect("start", doc.id)]
        case Placement.WAITING:
            return []
        case Placement.UNSCHEDULED:
            doc.due = None
            store.save(doc)
            return [Effect("unscheduled", doc.id)]


def enter(store: Store, doc: Doc, status: str, now: float) -> None:
    """Put a document into a state; the table decides when it goes on."""
    if doc.kind == "instance":
        (billing.begin if status == "running" else billing.end)(store, doc, now)
    doc.body["status"] = status
    doc.due = ENTERED
    if doc.kind == "instance":
        doc.body["time_updated"] = stamp(now)
        if status == "running":
            doc.body["_used"] = now
        records.instance_event(store, doc, f"Instance status changed to {status}", now)
    store.save(doc)


def _waits_for_process(doc: Doc, pace: Pace) -> bool:
    return pace.processes and doc.kind == "instance" and doc.body["status"] in {"initialising", "stopping"}


def _tag_underway(store: Store, revision: Doc) -> bool:
    version = store.by_id("version", revision.parent)
    tag = store.by_id("tag", version.body["_tag"]) if version else None
    return tag is not None and tag.body["status"] in {"queued", "building"}


def _finish(store: Store, doc: Doc, now: float) -> list[Effect]:
    result = doc.body.pop("_result", None)
    if result is None:
        # The build outlasts its usual time: `built` brings the document back when the result is there.
        doc.due = None
        store.save(doc)
        return []
    good = "available" if doc.kind == "tag" else "success"
    doc.body["status"] = "failed" if result["error"] else good
    doc.body["error_message"] = (result["error"] or "")[:1024] or (None if doc.kind == "tag" else "")
    doc.body |= result["facts"]
    doc.due = None
    store.save(doc)
    if doc.kind == "revision" and not result["error"]:
        return _activate(store, doc, now)
    return []


def _activate(store: Store, revision: Doc, now: float) -> list[Effect]:
    version = store.by_id("version", revision.parent)
    if version is None or version.body["latest_revision"] != revision.id:
        return []
    methods = {key: revision.body[key] for key in ("has_request_method", "has_requests_method")}
    version.body |= {"active_revision": revision.id, "last_updated": stamp(now)} | methods
    store.save(version)
    versions.recycle(store, version.id)
    return [Effect("touch", version.id)]


def built(store: Store, kind: str, ident: str, error: str, facts: dict[str, object], now: float) -> None:
    """Record a build's result; the state changes when its usual time is over, too."""
    doc = store.by_id(kind, ident)
    if doc is None or doc.body["status"] != "building":
        return
    doc.body["_result"] = {"error": error, "facts": facts}
    if doc.due is None:
        doc.due = now
    store.save(doc)


def _built_version(store: Store, version_id: str) -> Doc | None:
    """The version, if it is there and its package is built, so that instances can run."""
    version = store.by_id("version", version_id)
    parent = store.by_id("deployment", version.parent) if version else None
    return version if version is not None and parent is not None and versions.built(parent, version) else None


def scale(store: Store, version_id: str, waiting: int, busy: set[str], now: float) -> list[Effect]:
    """Start and stop instances so that their number fits the version's bounds and its work."""
    instances = [doc for doc in store.children("instance", version_id) if doc.body["status"] in LIVE]
    version = _built_version(store, version_id)
    if version is None:
        return [effect for doc in instances for effect in stop(store, doc, now)]
    low, high = version.body["minimum_instances"], version.body["maximum_instances"]
    fresh = [doc for doc in instances if not doc.body.get("_outdated")]
    old = [doc for doc in instances if doc.body.get("_outdated")]
    work = -(-(waiting + len(busy)) // version.body["instance_processes"])
    count = min(high, max(low, work, len(old)))
    for _ in range(count - len(fresh)):
        _start(store, version, now)
    effects = [effect for doc in fresh[high:] for effect in stop(store, doc, now)]
    running = [doc for doc in fresh if doc.body["status"] == "running"]
    if len(running) >= len(old) or high == 0:
        effects += [effect for doc in old if doc.id not in busy for effect in stop(store, doc, now)]
    for doc in (doc for doc in running if doc.due is None):
        doc.due = doc.body["_used"] + version.body["maximum_idle_time"]
        store.save(doc)
    return effects


def stop(store: Store, doc: Doc, now: float) -> list[Effect]:
    """Send an instance on its way out."""
    if doc.body["status"] == "stopping":
        return []
    started = doc.body["status"] != "pending"
    enter(store, doc, "stopping", now)
    if not started:
        doc.due = now
        remove_instance(store, doc, now)
        return []
    return [Effect("stop", doc.id)]


def remove_instance(store: Store, doc: Doc, now: float) -> None:
    """A stopped instance disappears, and its events with it."""
    billing.end(store, doc, now)
    store.delete_children("instance_event", doc.id)
    store.delete(doc)
    scheduling.room_changed(store)


def _start(store: Store, version: Doc, now: float) -> None:
    body = {
        "status": "pending",
        "instance_type": None,
        "time_created": stamp(now),
        "time_updated": stamp(now),
        "node": {"ipv4_address": "127.0.0.1", "ipv6_address": "::1"},
        "node_pool": {"cluster": {"type": "local"}},
        "_revision": version.body["active_revision"],
        "_tag": version.body["_tag"],
        "_used": now,
        "_healthy": version.body["health_check"] is None,
    }
    doc = store.add("instance", version.id, None, body, due=ENTERED)
    records.instance_event(store, doc, "Instance is created", now)


def _idle(store: Store, doc: Doc, now: float, served: float) -> list[Effect]:
    """A running instance is looked at again when its idle time would be over."""
    version = store.by_id("version", doc.parent)
    if version is None:
        return stop(store, doc, now)
    over = max(doc.body["_used"], served) + version.body["maximum_idle_time"]
    siblings = [i for i in store.children("instance", doc.parent) if i.body["status"] in LIVE]
    if now < over or doc.body.get("_busy"):
        doc.due = max(over, now + 1)
    elif len(siblings) > version.body["minimum_instances"]:
        return stop(store, doc, now)
    else:
        doc.due = now + version.body["maximum_idle_time"]
    store.save(doc)
    return []
