"""The status of stacks as text and as JSON."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import click

from whisperctl.operate.inventory import VersionUse
from whisperctl.operate.status import MISSING, Door, Instance, Part, Status
from whisperctl.operate.versions import LineVersion
from whisperctl.plan.document import remarks_document, stacks_document
from whisperctl.plan.rollout import failure_text
from whisperctl.serving.failures import Cause
from whisperctl.views.history import aligned, moment
from whisperctl.views.listing import credits_text, version_document


def status_text(statuses: Sequence[Status], color: bool) -> str:
    """Resources, instances, endpoint and health of each stack: one block a stack."""
    return "\n\n".join("\n".join(_lines(status, color)) for status in statuses)


def _lines(status: Status, color: bool) -> Iterator[str]:
    yield (click.style(status.stack, bold=True) if color else status.stack) + f" in project {status.project}"
    if status.applying:
        yield f"  An apply is at work on it: {status.applying}"
    if not status.deployed:
        yield "  Not deployed yet" if status.applying else f"  Not deployed: `whisperctl apply {status.file}` makes it."
    if status.deployed or any(part.state != MISSING for part in status.parts):
        rows = [(str(part.address), _colored(part.state, part.good, color)) for part in status.parts]
        yield from _table("Resources", rows)
    if status.deployed:
        yield from _running_lines(status, color)


def _running_lines(status: Status, color: bool) -> Iterator[str]:
    """Instances, versions, endpoint, credits and warnings of what is deployed."""
    yield from _table(_instances_title(status), [_instance_row(instance) for instance in status.instances])
    yield from _failed_start(status.failed_start)
    if len(status.versions) > 1 or any(version.leak for version in status.versions):
        yield from _table("Versions", [_version_row(version) for version in status.versions])
    if status.doors:
        yield from _table("Endpoint", [_door_row(door, color) for door in status.doors])
    yield from (f"  {text}" for text in _failures(status.line))
    if status.credits_per_hour is not None:
        yield f"  Credits: {status.credits_per_hour:g} per hour for the instances that run now"
    yield from (f"  warning: {remark.text}".replace("\n", "\n  ") for remark in status.inherited)
    yield f"  Whether this is what the file says: whisperctl plan {status.file}"


def _failed_start(cause: Cause | None) -> Iterator[str]:
    if cause is not None:
        yield f"  The last start failed: {cause.error}"
        yield from ([f"    {cause.advice}"] if cause.advice else [])


def _failed_start_document(cause: Cause | None) -> dict[str, str | None] | None:
    return None if cause is None else {"error": cause.error, "advice": cause.advice or None}


def _version_row(version: VersionUse) -> tuple[str, ...]:
    use = "serves" if version.serves else f"failed at its {version.failed}" if version.failed else "sleeps"
    if version.leak:
        use = f"leak: costs {credits_text(version.credits_per_day)} credits per day and serves nobody"
    return (version.name, use)


def _failures(versions: Sequence[LineVersion]) -> Iterator[str]:
    """The rollouts that failed since what serves was made."""
    for version in itertools.takewhile(lambda version: version.use != "serves", versions):
        if version.use == "failed" and version.record is not None:
            yield failure_text(version.record, version.name)


def _instances_title(status: Status) -> str:
    bounds = f"{status.minimum_instances} to {status.maximum_instances}"
    if status.paused is not None:
        return f"Instances (paused: minimum 0 until `whisperctl resume` puts {status.paused} back)"
    if not status.instances and status.minimum_instances == 0:
        return f"Instances ({bounds}): none runs, a deployment request such as `whisperctl smoke` wakes one"
    return f"Instances ({bounds})" + ("" if status.instances else ": none yet")


def _table(title: str, rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"  {title}"
    yield from (f"    {line}" for line in (aligned(rows) if rows else []))


def _instance_row(instance: Instance) -> tuple[str, ...]:
    return (
        instance.id,
        instance.status,
        f"since {moment(instance.since)}",
        instance.instance_type or instance.waits_for,
        instance.waits_for if instance.instance_type else "",
    )


def _door_row(door: Door, color: bool) -> tuple[str, ...]:
    return (door.name, door.url or "-", _colored(door.health, door.healthy, color))


def _colored(text: str, good: bool | None, color: bool) -> str:
    return click.style(text, fg="green" if good else "red") if color and good is not None else text


def status_document(statuses: Sequence[Status]) -> dict[str, Any]:
    """The document of `status --format json`; schemas/status.schema.json describes it."""
    return stacks_document([_document(status) for status in statuses])


def _document(status: Status) -> dict[str, Any]:
    return {
        "stack": status.stack,
        "project": status.project,
        "deployed": status.deployed,
        "resources": [_part(part) for part in status.parts],
        "revision": {
            "active": status.active_revision,
            "latest": status.latest_revision,
            "latest_status": status.latest_status or None,
        },
        "paused": status.paused is not None,
        "minimum_instances": status.minimum_instances if status.deployed else None,
        "maximum_instances": status.maximum_instances if status.deployed else None,
        "minimum_instances_after_resume": status.paused,
        "instances": [_instance(instance) for instance in status.instances],
        "services": [_door(door) for door in status.doors],
        "credits_per_hour": status.credits_per_hour,
        "applying": status.applying or None,
        "versions": [version_document(v) | {"failed": v.failed or None} for v in status.versions],
        "failed_start": _failed_start_document(status.failed_start),
        "warnings": remarks_document((*status.warnings, *status.inherited)),
    }


def _part(part: Part) -> dict[str, Any]:
    return {"address": str(part.address), "state": part.state, "good": part.good}


def _instance(instance: Instance) -> dict[str, Any]:
    return {
        "id": instance.id,
        "status": instance.status,
        "instance_type": instance.instance_type or None,
        "since": instance.since.isoformat(),
        "waits_for": instance.waits_for or None,
    }


def _door(door: Door) -> dict[str, Any]:
    return {
        "name": door.name,
        "endpoint": door.url or None,
        "instances_ready": door.ready,
        "healthy": door.healthy,
        "health": door.health,
    }
