"""When instances ran, and at what rate: what the series of instances and credits are computed from.

Contract: one document of kind `run` a stay in the state `running`, kept below the project, so that it outlasts the
instance and its version as the figures on a bill do. `end` is null while the instance runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ubiops_emulator.store import Doc, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """One instance that ran; moments in seconds since the epoch, `rate` in credits per hour."""

    start: float
    end: float
    rate: float

    def seconds(self, start: float, end: float) -> float:
        """How long of an interval it ran."""
        return max(0.0, min(self.end, end) - max(self.start, start))


def begin(store: Store, instance: Doc, now: float) -> None:
    """An instance runs from now on."""
    version = store.by_id("version", instance.parent)
    deployment = store.by_id("deployment", version.parent) if version else None
    if version is None or deployment is None:
        return
    body: dict[str, Any] = {"version": version.id, "start": now, "end": None, "rate": _rate(store, version, instance)}
    instance.body["_run"] = store.add("run", deployment.parent, None, body).id


def end(store: Store, instance: Doc, now: float) -> None:
    """An instance runs no longer; nothing for one that did not run."""
    run = store.by_id("run", instance.body.pop("_run", ""))
    if run is not None:
        run.body["end"] = now
        store.save(run)


def stays(store: Store, project: str, version: str | None, now: float) -> list[Stay]:
    """Every stay in a project, or of one version; those that go on end now."""
    runs = [doc.body for doc in store.children("run", project)]
    return [
        Stay(start=run["start"], end=now if run["end"] is None else run["end"], rate=run["rate"])
        for run in runs
        if version in {None, run["version"]}
    ]


def _rate(store: Store, version: Doc, instance: Doc) -> float:
    """That of the instance's own type; of the group's first where it was not placed on one."""
    group = store.by_id("group", version.body["instance_type_group_id"])
    kinds = list(group.body["instance_types"]) if group else []
    own = (instance.body["instance_type"] or {}).get("id")
    kind = next((kind for kind in kinds if kind["id"] == own), kinds[0] if kinds else {})
    return float(kind.get("credit_rate") or 0.0)
