"""The switch of a blue_green rollout and what follows it: services, default and minimum go over, or back.

At no point do two versions keep instances beyond their idle time: the minimum leaves one version before the other gets
it, and deployment requests keep the other awake for as long as it may be needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from whisperctl.apply import writes
from whisperctl.apply.awake import KeptAwake, stop_instances
from whisperctl.apply.context import ApplyContext
from whisperctl.apply.gate import fall_back_asleep
from whisperctl.apply.payloads import change as change_body
from whisperctl.apply.payloads import desired_labels
from whisperctl.apply.versions import (
    make_default,
    patch,
    read,
    record_of,
    rollout_in,
    set_minimum,
    wake_up,
    write_state,
)
from whisperctl.control.api import Json
from whisperctl.errors import GateFailed, WhisperctlError
from whisperctl.plan.operations import Operation
from whisperctl.spec import Service
from whisperctl.state.labels import Labels
from whisperctl.state.records import RolloutRecord, RolloutState
from whisperctl.state.resources import Address, service_address, version_address
from whisperctl.state.rollout import OPENAI_LABELS, LineRollout, sleeps


def switch(context: ApplyContext, operation: Operation) -> None:
    """Point every service at the new version once it runs as many instances as the one that serves.

    Raises:
        GateFailed: it did not work; the services lead to the earlier version again.
    """
    rollout, paused = rollout_in(context), context.plan.desired.paused is not None
    address = version_address(context.deployment, rollout.new)
    try:
        if not paused:
            wake_up(context, address, _instances(context, rollout))
        context.woken = ""
        for service in _services(context):
            _point(context, operation, service)
            context.say(service, f"leads to {rollout.new}")
        make_default(context, rollout.new)
        if not paused:
            _hand_over_the_minimum(context, rollout)
    except WhisperctlError as error:
        back_out(context, "switch")
        raise GateFailed(f"{error}\n  {_went_back(rollout)}") from error


def _point(context: ApplyContext, operation: Operation, service: Address) -> None:
    """Version and port, and what else of the service the file changes, in one request; a rollback changes no more."""
    rollout = rollout_in(context)
    if not (rollout.back or service.names[0] in rollout.only_pointed):
        writes.update(context, Operation(id=operation.id, kind="update", address=service))
        return
    fields = context.plan.desired.state[service].fields
    body = {name: fields[name] for name in ("deployment", "version", "port")}
    context.saw(service, context.api.update_service(service.names[0], body))


def _instances(context: ApplyContext, rollout: LineRollout) -> int:
    """As many as the version that serves runs now, at least one, at most the new one's maximum."""
    running = 0
    if rollout.replaces:
        instances = context.api.instances(context.deployment, rollout.replaces)
        running = sum(item["status"] == "running" for item in instances)
    return max(1, min(running, context.plan.desired.stack.version.maximum_instances))


def _services(context: ApplyContext) -> list[Address]:
    """Live services that the plan changes, in the file's order."""
    changed = {change.address for change in context.plan.changes if change.action == "update"}
    addresses = (service_address(service.name) for service in context.plan.desired.stack.services)
    return [address for address in addresses if address in changed]


def _hand_over_the_minimum(context: ApplyContext, rollout: LineRollout) -> None:
    version = context.plan.desired.stack.version
    minimum = version.minimum_instances
    if rollout.replaces:
        earlier = read(context, rollout.replaces)
        minimum = max(int(earlier.get("minimum_instances") or 0), _planned_minimum(context, rollout.new))
        idle = float(earlier.get("maximum_idle_time") or 300)
        context.awake.append(KeptAwake(context.api, context.deployment, rollout.replaces, max(minimum, 1), idle))
        set_minimum(context, rollout.replaces, 0)
    set_minimum(context, rollout.new, min(minimum, version.maximum_instances))


def back_out(context: ApplyContext, stage: str) -> None:
    """Services and default lead to the earlier version again, which keeps its instances; the new one sleeps."""
    rollout = rollout_in(context)
    for service in context.plan.desired.stack.services:
        _point_back(context, service, rollout)
    if rollout.replaces:
        make_default(context, rollout.replaces)
        minimum = max(_planned_minimum(context, rollout.replaces), _planned_minimum(context, rollout.new))
        set_minimum(context, rollout.new, 0)
        set_minimum(context, rollout.replaces, minimum)
    write_state(context, rollout.new, "failed", stage)
    fall_back_asleep(context, rollout.new)


def _point_back(context: ApplyContext, service: Service, rollout: LineRollout) -> None:
    address = service_address(service.name)
    before, now = context.plan.live.owned.get(address), context.api.find_service(service.name)
    if before is None or now is None or rollout.replaces is None:
        return
    # Where the switch was cut off earlier, the plan has seen it lead to the new version already.
    version = before.get("version") if before.get("version") != rollout.new else rollout.replaces
    fields = {"deployment": before.get("deployment"), "version": version, "port": before.get("port")}
    if any(now.get(name) != value for name, value in fields.items()):
        context.saw(address, context.api.update_service(service.name, fields))


def _planned_minimum(context: ApplyContext, version: str) -> int:
    """The version's minimum as the plan saw it: before the switch the earlier one has it, afterwards the new one."""
    raw = context.plan.live.owned.get(version_address(context.deployment, version)) or {}
    return int(raw.get("minimum_instances") or 0)


def _went_back(rollout: LineRollout) -> str:
    return f"The services lead to {rollout.replaces} again." if rollout.replaces else f"{rollout.new} sleeps."


def retire(context: ApplyContext, operation: Operation) -> None:
    """Earlier versions fall asleep; the new one gets all that the file says and is recorded as served."""
    rollout = rollout_in(context)
    for name in rollout.kept:
        _put_to_sleep(context, name)
    for awake in context.awake:
        awake.stop()
    raw = read(context, rollout.new)
    record = Labels.of(raw).rollout
    if record is None or record.state != "served" or rollout.back:
        context.say(operation.address, "serves")
        patch(context, rollout.new, _as_it_serves(context, operation, raw))
        write_state(context, rollout.new, "served")
    if context.plan.desired.paused is not None:
        stop_instances(context.api, context.deployment, rollout.new)


def _as_it_serves(context: ApplyContext, operation: Operation, raw: Json) -> Callable[[Json], Json]:
    """What the file says of the version; of one that a rollback goes to, the pause, and its listing of before."""
    if not rollout_in(context).back:
        body = change_body(context, operation.address, raw)
        return lambda now: {**body, "labels": desired_labels(context, operation.address, now)}

    def body_of(now: Json) -> Json:
        known = Labels.of(now)
        return {"labels": known.written(user=known.listed, listed={}, paused_minimum=context.plan.desired.paused)}

    return body_of


def _put_to_sleep(context: ApplyContext, version: str) -> None:
    """Minimum 0, no pause, off the project's OpenAI-compatible endpoint, instances stopped; a record that it served.

    A pause that stayed on it would be taken for the line's own after the version that serves was resumed.
    """
    raw = context.api.version(context.deployment, version)
    if raw is None:
        return
    known = Labels.of(raw)
    state = _state_asleep(rollout_in(context), version, known.rollout)
    is_settled = known.rollout is not None and known.rollout.state == state and known.paused_minimum is None
    if not (sleeps(raw) and is_settled):
        record = replace(known.rollout or record_of(context, "served"), state=state)
        patch(context, version, lambda now: _asleep(Labels.of(now), record))
    stop_instances(context.api, context.deployment, version)


def _asleep(known: Labels, record: RolloutRecord) -> Json:
    """The body that puts a version to sleep of which those are the labels."""
    listed = {name: known.all[name] for name in OPENAI_LABELS if name in known.all}
    labels = Labels(known.written(user=dict.fromkeys(listed))).written(
        rollout=record, paused_minimum=None, listed=listed or known.listed
    )
    return {"minimum_instances": 0, "labels": labels}


def _state_asleep(rollout: LineRollout, version: str, record: RolloutRecord | None) -> RolloutState:
    """What the record of a version that is put to sleep says: as before, but of the one that gives way."""
    if version == rollout.replaces and rollout.back:
        return "left"
    if record is None or (version == rollout.replaces and record.state == "passed"):
        return "served"  # the services led to it, even if the apply that switched could not record that any more
    return record.state
