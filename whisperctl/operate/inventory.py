"""Every stack of a project, from the labels of its objects alone; what runs, what that costs, and whom it serves.

No stack file is needed. A version leaks that has a minimum above 0, or runs, and is not the one that serves, although
the stack has a service, or had one when last applied. While an apply is at work nothing leaks: a rollout runs two
versions for a while. Reads only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from whisperctl.apply.holder import is_gone
from whisperctl.control.api import Api, Json
from whisperctl.plan.cost import dearest
from whisperctl.state.labels import Labels
from whisperctl.state.ownership import is_made_by_us, owner
from whisperctl.state.rollout import preview_name

StackState = Literal["ok", "failed", "paused", "building"]
RUNS = ("initialising", "running")
"""Statuses of an instance that has its machine (UbiOps reference, 3.13)."""
HOURS = 24
BUILDING = ("pending", "building", "validating")
"""Statuses of a version whose revision is being built (UbiOps reference, 4.2)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionUse:
    """One version of a stack, and what it is there for."""

    name: str
    serves: bool
    minimum_instances: int
    running: int
    credits_per_hour: float | None
    """Of what is kept or running now; None where the instance types do not tell."""
    leak: bool
    """It costs and serves nobody."""
    failed: str = ""
    """What its rollout failed at: `start`, `gate`, `switch` or `bake`."""

    @property
    def credits_per_day(self) -> float | None:
        """What it costs in a day as it is."""
        return None if self.credits_per_hour is None else self.credits_per_hour * HOURS


@dataclass(frozen=True, kw_only=True, slots=True)
class StackEntry:
    """One stack of a project, as its labels tell."""

    stack: str
    project: str
    origin: str | None
    """Repository and file that it was applied from."""
    deployment: str | None
    """None where only a service is left."""
    version: str | None
    """The version that serves, or would."""
    endpoint: str | None
    state: StackState
    """ok; paused: asleep until `resume`; building: an apply or a build is at work; failed: the last apply, or its
    rollout, did not end well."""
    credits_per_hour: float | None
    tool: str | None
    """The version of whisperctl that applied it."""
    orphan: bool
    """No stack file at hand declares it."""
    versions: tuple[VersionUse, ...] = ()

    @property
    def leaks(self) -> tuple[VersionUse, ...]:
        """Versions that cost and serve nobody."""
        return tuple(version for version in self.versions if version.leak)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lists:
    """What UbiOps holds of a project, list by list."""

    deployments: Sequence[Json]
    services: Sequence[Json]
    groups: Sequence[Json]
    instances: Sequence[Json]
    """Of the whole project."""


def read_lists(api: Api) -> Lists:
    """The lists of a project, read at the same time.

    Raises:
        ApiError: UbiOps cannot be read.
    """
    with ThreadPoolExecutor(4) as pool:
        reads = [pool.submit(read) for read in (api.deployments, api.services, api.groups, api.project_instances)]
        deployments, services, groups, instances = (read.result() for read in reads)
    return Lists(deployments=deployments, services=services, groups=groups, instances=instances)


def read_inventory(api: Api, declared: Collection[str] | None = None, parallelism: int = 10) -> list[StackEntry]:
    """Every stack of a project, by name.

    Args:
        api: the control plane of the project.
        declared: names of the stacks that files at hand declare for it; None where no files are looked at.
        parallelism: requests at a time.

    Raises:
        ApiError: UbiOps cannot be read.
    """
    lists = read_lists(api)
    ours = [raw for raw in lists.deployments if is_a_stacks(raw, declared or ())]
    with ThreadPoolExecutor(parallelism) as pool:
        entries = list(pool.map(lambda raw: _entry(api, raw, lists, declared), ours))
    left = [raw for raw in lists.services if is_a_stacks(raw, declared or ()) and not _is_of(raw, ours)]
    entries += [_service_alone(api, raw, declared) for raw in left]
    return sorted(entries, key=lambda entry: (entry.stack, entry.deployment or ""))


def is_a_stacks(raw: Json, declared: Collection[str] = ()) -> bool:
    """Whether an object belongs to a stack: by an owner's label, and more unless a file declares the stack."""
    return owner(raw) is not None and (owner(raw) in declared or is_made_by_us(raw))


def _is_of(service: Json, deployments: Iterable[Json]) -> bool:
    """Whether a service is of a stack that has a deployment."""
    return any(owner(raw) == owner(service) for raw in deployments)


def _entry(api: Api, deployment: Json, lists: Lists, declared: Collection[str] | None) -> StackEntry:
    stack, name, labels = str(owner(deployment)), str(deployment["name"]), Labels.of(deployment)
    listed = [raw for raw in api.versions(name) if owner(raw) == stack]
    services = own_services(lists.services, stack, name)
    serving = serving_version(listed, services, labels.served)
    versions = version_uses(api, deployment, listed, lists, serving)
    shown = serving or _newest(listed)
    rates = [version.credits_per_hour for version in versions]
    known = [rate for rate in rates if rate is not None]
    return StackEntry(
        stack=stack,
        project=api.project,
        origin=labels.origin,
        deployment=name,
        version=shown,
        endpoint=_endpoint(api, services),
        state=_state(labels, listed, shown),
        credits_per_hour=sum(known) if len(known) == len(rates) else None,
        tool=labels.tool,
        orphan=declared is not None and stack not in declared,
        versions=tuple(versions),
    )


def _service_alone(api: Api, service: Json, declared: Collection[str] | None) -> StackEntry:
    stack = str(owner(service))
    return StackEntry(
        stack=stack,
        project=api.project,
        origin=None,
        deployment=None,
        version=None,
        endpoint=_endpoint(api, [service]),
        state="failed",
        credits_per_hour=0.0,
        tool=Labels.of(service).tool,
        orphan=declared is not None and stack not in declared,
    )


def own_services(services: Iterable[Json], stack: str, deployment: str) -> list[Json]:
    """The stack's services that lead to its deployment; the preview of a gate is none."""
    preview = preview_name(deployment)
    return [
        raw
        for raw in services
        if owner(raw) == stack and raw.get("deployment") == deployment and raw["name"] != preview
    ]


def serving_version(versions: Sequence[Json], services: Sequence[Json], had_service: bool) -> str | None:
    """The version that the first service leads to; without services the default, unless the stack had a service.

    None has served whose rollout failed, or goes on, before there was a service.
    """
    default = next((str(raw["version"]) for raw in versions if raw.get("default")), None)
    if not services:
        candidates = [] if had_service else [raw for raw in versions if not _is_unproven(raw)]
        return next((str(raw["version"]) for raw in candidates if raw.get("default")), None) or _newest(candidates)
    return str(services[0].get("version") or default or "") or None


def _newest(versions: Sequence[Json]) -> str | None:
    newest = max(versions, key=lambda raw: str(raw.get("creation_date") or ""), default=None)
    return None if newest is None else str(newest["version"])


def version_uses(
    api: Api, deployment: Json, versions: Sequence[Json], lists: Lists, serving: str | None
) -> list[VersionUse]:
    """What each version of a stack's deployment is there for, and what it costs.

    Args:
        api: the control plane; it is asked for the group of what costs.
        deployment: the raw deployment.
        versions: the stack's versions in it.
        lists: those of the project.
        serving: the name of the version that serves; None where nothing does.
    """
    labels, name = Labels.of(deployment), str(deployment["name"])
    services = own_services(lists.services, str(owner(deployment)), name)
    at_work = labels.lease is not None and not is_gone(labels.lease)
    may_leak = bool(services or labels.served) and not at_work
    led_to = {str(raw.get("version") or serving) for raw in services}
    needed = {serving, *led_to}

    def use(raw: Json) -> VersionUse:
        running = [item for item in lists.instances if _runs(item, name, str(raw["version"]))]
        minimum = int(raw.get("minimum_instances") or 0)
        costs = bool(minimum or running)
        return VersionUse(
            name=str(raw["version"]),
            serves=raw["version"] == serving,
            minimum_instances=minimum,
            running=len(running),
            credits_per_hour=_credits(api, name, raw, running, lists.groups) if costs else 0.0,
            leak=may_leak and costs and raw["version"] not in needed,
            failed=_failed_stage(raw),
        )

    return [use(raw) for raw in versions]


def _is_unproven(version: Json) -> bool:
    record = Labels.of(version).rollout
    return record is not None and record.state in ("begun", "failed")


def _failed_stage(version: Json) -> str:
    record = Labels.of(version).rollout
    return record.stage or "gate" if record is not None and record.state == "failed" else ""


def _runs(instance: Json, deployment: str, version: str) -> bool:
    return (
        instance.get("deployment") == deployment
        and instance.get("version") == version
        and instance.get("status") in RUNS
    )


def _credits(api: Api, deployment: str, version: Json, running: Sequence[Json], groups: Sequence[Json]) -> float | None:
    """Of the running instances by their own types; of further ones that the minimum keeps by the group's dearest."""
    types = {item["id"]: item.get("credit_rate") for group in groups for item in group.get("instance_types") or ()}
    kinds = [item.get("instance_type") or {} for item in running]
    rates = [types.get(kind.get("id")) for kind in kinds]
    missing = max(int(version.get("minimum_instances") or 0) - len(running), 0)
    if missing or None in rates:
        rate = _group_rate(api, deployment, str(version["version"]), groups)
        rates = [rate if each is None else each for each in rates] + [rate] * missing
    known = [float(each) for each in rates if each is not None]
    return sum(known) if len(known) == len(rates) else None


def _group_rate(api: Api, deployment: str, version: str, groups: Sequence[Json]) -> float | None:
    """The credits an hour of the dearest type of the group that a version runs in; None where that is not known."""
    detail = api.version(deployment, version) or {}
    group = next((item for item in groups if item["id"] == detail.get("instance_type_group_id")), {})
    return dearest(group.get("instance_types") or ())


def _state(labels: Labels, versions: Sequence[Json], shown: str | None) -> StackState:
    raw = next((item for item in versions if item["version"] == shown), {})
    if labels.lease is not None and not is_gone(labels.lease):
        return "building"
    if Labels.of(raw).paused_minimum is not None:
        return "paused"
    if labels.digest is None or raw.get("status") in ("failed", "cancelled") or _rollout_failed(versions, shown):
        return "failed"
    return "building" if raw.get("status") in BUILDING else "ok"


def _rollout_failed(versions: Sequence[Json], serving: str | None) -> bool:
    """Whether a version that is newer than the one that serves did not pass its gate or its bake."""
    at: Mapping[str, str] = {str(raw["version"]): str(raw.get("creation_date") or "") for raw in versions}
    records = {str(raw["version"]): Labels.of(raw).rollout for raw in versions}
    return any(
        record is not None and record.state == "failed" and name != serving and at[name] > at.get(serving or "", "")
        for name, record in records.items()
    )


def _endpoint(api: Api, services: Sequence[Json]) -> str | None:
    """The URL of the first service."""
    if not services:
        return None
    detail = services[0] if services[0].get("endpoint") else api.find_service(str(services[0]["name"])) or {}
    return str(detail.get("endpoint") or "") or None
