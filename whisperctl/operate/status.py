"""How a stack's objects are right now: there or not, built, awake, healthy, and what they cost. Reads only.

Whether they are what the stack file says is the plan's question, not this module's. An endpoint is asked only while
an instance is up, so that looking never wakes (and bills) a sleeping one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from whisperctl.apply.failed_starts import last_failure
from whisperctl.apply.holder import holder_in_words, is_gone
from whisperctl.clock import Clock, SystemClock, latest_moment
from whisperctl.control.api import Api, Json
from whisperctl.endpoint.client import Endpoint
from whisperctl.errors import ApiError, WhisperctlError
from whisperctl.operate.inventory import VersionUse, own_services, read_lists, serving_version, version_uses
from whisperctl.operate.versions import LineVersion, read_versions
from whisperctl.package.build import build_environment
from whisperctl.plan.changes import Remark, remarks
from whisperctl.plan.inherited import inherited_remarks
from whisperctl.serving.failures import Cause
from whisperctl.spec import Service, Stack
from whisperctl.state.inherited import inherited_variables
from whisperctl.state.labels import Labels
from whisperctl.state.line import is_line
from whisperctl.state.ownership import owner
from whisperctl.state.resources import (
    Address,
    deployment_address,
    group_address,
    package_address,
    service_address,
    tag_address,
    version_address,
)
from whisperctl.state.serving import serving
from whisperctl.untrusted import printable_lines

MISSING = "not there"
WATCH_SECONDS = 5.0
"""Between two looks at stacks that are watched."""
START_SECONDS = 3600
"""How far back a failed start is looked for."""
HEALTH_SECONDS = 10.0
TOO_MANY_REQUESTS = 429
"""How long one look at /health may take."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One resource and its state in a word or two."""

    address: Address
    state: str
    good: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """One running copy of the version."""

    id: str
    status: str
    instance_type: str
    """Empty until it is scheduled."""
    since: datetime
    waits_for: str
    """The last thing that UbiOps did for it, while it is not running; empty when it runs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Door:
    """One service: where it is and whether the server behind it answers."""

    name: str
    url: str
    """Empty while UbiOps has not given it one."""
    ready: int
    """Instances that UbiOps routes to."""
    health: str
    healthy: bool | None
    """None: it was not asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """One stack as it is."""

    stack: str
    file: str
    project: str
    deployed: bool
    """Whether there is a version at all."""
    warnings: Sequence[Remark] = ()
    """What the stack file gives reason to warn of."""
    parts: Sequence[Part] = ()
    minimum_instances: int = 0
    maximum_instances: int = 0
    paused: int | None = None
    """minimum_instances that resume puts back; None when it is not paused."""
    active_revision: str | None = None
    latest_revision: str | None = None
    latest_status: str = ""
    instances: Sequence[Instance] = ()
    doors: Sequence[Door] = ()
    credits_per_hour: float | None = None
    """What the running instances cost; None when the instance types do not tell."""
    line: Sequence[LineVersion] = ()
    """Of a line of versions: the one that serves, those that sleep for a rollback, failed ones; newest first."""
    applying: str = ""
    """Who holds the lease; empty when no apply runs."""
    versions: Sequence[VersionUse] = ()
    """Every version of the stack's deployment: the one that serves, kept ones, failed ones, those that leak."""
    failed_start: Cause | None = None
    """Why the newest start failed, where instances should run and none does."""
    inherited: Sequence[Remark] = ()
    """Env vars of the deployment or the project that steer what runs, and are not in the file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Objects:
    """What UbiOps tells of one stack, as it tells it."""

    deployment: Json | None
    version: Json | None
    tags: Sequence[tuple[Address, Json | None]]
    """The version's own first, if there is a version."""
    latest: Json | None
    group: Json | None
    services: Sequence[tuple[Service, Json | None]]
    instances: Sequence[tuple[Json, str]]
    """Each with the text of its newest event."""


def read_statuses(apis: Sequence[Api], stacks: Sequence[Stack], clock: Clock, *, watch: bool) -> Iterator[list[Status]]:
    """The status of each stack; with `watch` again and again, without end.

    Args:
        apis: the control plane of each stack's project.
        stacks: which.
        clock: sleeps between two looks.
        watch: whether to look again.

    Raises:
        ApiError: UbiOps cannot be read.
    """
    yield [read_status(api, stack) for api, stack in zip(apis, stacks, strict=True)]
    while watch:
        clock.sleep(WATCH_SECONDS)
        yield [read_status(api, stack) for api, stack in zip(apis, stacks, strict=True)]


def read_status(api: Api, stack: Stack) -> Status:
    """The status of one stack.

    Args:
        api: the control plane of its project.
        stack: which.

    Raises:
        ApiError: UbiOps cannot be read.
    """
    stack = serving(api, stack)
    with ThreadPoolExecutor(8) as pool:
        objects = _look(api, stack, pool)
        up = any(instance["status"] == "running" for instance, _ in objects.instances)
        doors = list(pool.map(lambda pair: _door(api, pair[0], pair[1], up), _built(objects)))
    raw = objects.version or {}
    lease = Labels.of(objects.deployment).lease
    return Status(
        stack=stack.name,
        file=stack.file,
        warnings=remarks(stack.warnings),
        project=api.project,
        deployed=objects.version is not None,
        parts=tuple(sorted(_parts(stack, objects, doors), key=lambda part: part.address)),
        minimum_instances=raw.get("minimum_instances", 0),
        maximum_instances=raw.get("maximum_instances", 0),
        paused=Labels.of(raw).paused_minimum,
        active_revision=raw.get("active_revision"),
        latest_revision=raw.get("latest_revision"),
        latest_status=str((objects.latest or {}).get("status", "")),
        instances=tuple(_instance(instance, text) for instance, text in objects.instances),
        doors=tuple(doors),
        credits_per_hour=_credits(objects),
        line=read_versions(api, stack) if is_line(stack) and objects.version else (),
        applying=holder_in_words(lease) if lease and not is_gone(lease) else "",
        versions=_versions(api, stack, objects),
        failed_start=None if up else failed_start(api, stack, raw, objects.instances),
        inherited=_inherited(api, stack) if objects.version is not None else (),
    )


def _inherited(api: Api, stack: Stack) -> tuple[Remark, ...]:
    try:
        listed = api.env_vars(stack.deployment.name, stack.version.name)
    except ApiError:
        return ()  # a token that may not read them: a warning less, and the rest of the status
    own = {var.name for var in stack.env}
    inherited = [var for var in inherited_variables(listed) if var.name not in own]
    return tuple(inherited_remarks(stack, inherited, api.project))


def _versions(api: Api, stack: Stack, objects: _Objects) -> list[VersionUse]:
    if objects.deployment is None or owner(objects.deployment) != stack.name:
        return []
    raws = [raw for raw in api.versions(stack.deployment.name) if owner(raw) == stack.name]
    lists = read_lists(api)
    services = own_services(lists.services, stack.name, stack.deployment.name)
    serves = serving_version(raws, services, Labels.of(objects.deployment).served)
    return version_uses(api, objects.deployment, raws, lists, serves)


def failed_start(api: Api, stack: Stack, version: Json, instances: Sequence[object]) -> Cause | None:
    """Why the newest start of the last hour failed; None where none should run, or the log tells of no failed one.

    Args:
        api: the control plane.
        stack: with the names of deployment and version.
        version: as UbiOps tells it.
        instances: those that there are; none of them runs.
    """
    if not (version.get("minimum_instances") or instances):
        return None
    clock = SystemClock()
    since = int((clock.time() - START_SECONDS) * 1e9)
    return last_failure(api, stack.deployment.name, stack.version.name, since, latest_moment(clock))


def _look(api: Api, stack: Stack, pool: ThreadPoolExecutor) -> _Objects:
    names = (stack.deployment.name, stack.version.name)
    deployment, groups = pool.submit(api.deployment, names[0]), pool.submit(api.groups)
    services = [pool.submit(api.find_service, service.name) for service in stack.services]
    version = api.version(*names)
    tags = [(address, pool.submit(api.tag, *address.names)) for address in _tag_addresses(stack, version)]
    latest, instances = None, list[Json]()
    if version is not None:
        latest = pool.submit(api.revision, *names, version["latest_revision"]) if version["latest_revision"] else None
        instances = api.instances(*names)
    events = list(pool.map(lambda item: _newest_event(api, *names, item), instances))
    return _Objects(
        deployment=deployment.result(),
        version=version,
        tags=[(address, answer.result()) for address, answer in tags],
        latest=latest.result() if latest else None,
        group=_group(groups.result(), version, stack.instance_type_group.name),
        services=[(service, answer.result()) for service, answer in zip(stack.services, services, strict=True)],
        instances=list(zip(instances, events, strict=True)),
    )


def _group(groups: Sequence[Json], version: Json | None, name: str) -> Json | None:
    """The group that the version runs in; without a version the one of that name."""
    key, desired = ("name", name) if version is None else ("id", version.get("instance_type_group_id"))
    return next((group for group in groups if group[key] == desired), None)


def _tag_addresses(stack: Stack, version: Json | None) -> list[Address]:
    """The tag that the version runs in, and the one that an apply of the file builds before it has a version in it."""
    build = build_environment(stack)
    addresses = [tag_address(str(version["environment_name"]), str(version["environment_tag"]))] if version else []
    return list(dict.fromkeys([*addresses, *([tag_address(build.name, build.tag)] if build else [])]))


def _newest_event(api: Api, deployment: str, version: str, instance: Json) -> str:
    if instance["status"] == "running":
        return ""
    events = api.instance_events(deployment, version, instance["id"])
    return str(max(events, key=lambda event: str(event["time_created"]))["description"]) if events else ""


def _instance(raw: Json, newest: str) -> Instance:
    kind = raw.get("instance_type") or {}
    return Instance(
        id=raw["id"],
        status=raw["status"],
        instance_type=str(kind.get("display_name") or kind.get("name") or ""),
        since=datetime.fromisoformat(raw["time_updated"]),
        waits_for=newest,
    )


def _built(objects: _Objects) -> list[tuple[Service, Json]]:
    return [(service, raw) for service, raw in objects.services if raw is not None]


def _door(api: Api, service: Service, raw: Json, up: bool) -> Door:
    """One service and its health; nobody is asked while no instance is up."""
    ready = int(api.service_status(service.name).get("instances_ready") or 0)
    url = str(raw.get("endpoint") or "")
    if not url:
        health, healthy = "it has no address yet", None
    elif not up:
        health, healthy = "not asked: no instance runs", None
    else:
        health, healthy = _health(url, api.token if raw.get("authentication_required", True) else None, api.host)
    return Door(name=service.name, url=url, ready=ready, health=health, healthy=healthy)


def _health(url: str, token: str | None, home: str) -> tuple[str, bool | None]:
    """What /health says, and whether it is healthy; None where a limit of requests keeps it from saying."""
    try:
        with Endpoint(url, token, HEALTH_SECONDS, home=home) as endpoint:
            answer = endpoint.get("/health")
    except WhisperctlError as error:
        return str(error).splitlines()[0], False
    if answer.status == TOO_MANY_REQUESTS:
        return "not known: the service's limit of requests is used up", None
    return ("healthy", True) if answer.status == 200 else (f"/health answers {answer}", False)


def _parts(stack: Stack, objects: _Objects, doors: Sequence[Door]) -> Iterator[Part]:
    names = (stack.deployment.name, stack.version.name)
    group = (objects.group or {}).get("name") or stack.instance_type_group.name
    yield Part(address=group_address(group), state="there" if objects.group else MISSING, good=bool(objects.group))
    yield _part(stack, deployment_address(names[0]), objects.deployment, "there")
    yield _part(stack, version_address(*names), objects.version, _serving(objects))
    ready = {door.name: f"{door.ready} ready" for door in doors}
    for service, raw in objects.services:
        yield _part(stack, service_address(service.name), raw, ready.get(service.name, ""))
    for position, (address, raw) in enumerate(objects.tags):
        if raw is not None or (objects.version and position == 0):
            yield _tag(address, raw)
    if objects.version:
        yield _package(package_address(*names), objects.version, objects.latest)


def _serving(objects: _Objects) -> str:
    """The version's status, which follows its instances: `unavailable` is normal while none is wanted."""
    status = str((objects.version or {}).get("status"))
    up = any(instance["status"] == "running" for instance, _ in objects.instances)
    return f"{status}: no instance runs" if status == "unavailable" and not up else status


def _part(stack: Stack, address: Address, raw: Json | None, state: str) -> Part:
    if raw is None:
        return Part(address=address, state=MISSING, good=False)
    if owner(raw) != stack.name:
        whose = f"of the stack {owner(raw)!r}" if owner(raw) else "of nobody that whisperctl knows"
        return Part(address=address, state=f"{state}, but {whose}", good=False)
    return Part(address=address, state=state, good=True)


def _tag(address: Address, raw: Json | None) -> Part:
    state = str(raw["status"]) if raw else MISSING
    return Part(address=address, state=state + _reason(raw), good=state == "available")


def _reason(raw: Json | None) -> str:
    """Why a build failed, if it did, in one line."""
    text = str((raw or {}).get("error_message") or "")
    return f": {printable_lines(text)[0]}" if text else ""


def _package(address: Address, version: Json, latest: Json | None) -> Part:
    active, newest = version.get("active_revision"), version.get("latest_revision")
    if not newest or latest is None:
        return Part(address=address, state="nothing uploaded yet", good=False)
    if active == newest:
        return Part(address=address, state=f"revision {active} is active", good=True)
    serving = f", {active} is active" if active else ""
    return Part(address=address, state=f"revision {newest} {latest['status']}{_reason(latest)}{serving}", good=False)


def _credits(objects: _Objects) -> float | None:
    """Credits an hour of what runs now: each instance's own type, or the group's first where that is not told."""
    types = sorted((objects.group or {}).get("instance_types") or [], key=lambda item: item.get("priority") or 0)
    rates = {item["id"]: item.get("credit_rate") for item in types}
    if not types or any(rate is None for rate in rates.values()):
        return None
    first = rates[types[0]["id"]]
    kinds = [item.get("instance_type") or {} for item, _ in objects.instances if item["status"] == "running"]
    return float(sum(rates.get(kind.get("id"), first) or 0 for kind in kinds))
