"""What each operation of a plan is for, what it means for who uses the endpoint, and how long it takes. Pure.

Seconds are told where they are known: a start takes what the last proven one took, a bake what the file says, a gate a
start and the transcriptions that the last gate measured. What was never measured has none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from whisperctl.plan.changes import Change
from whisperctl.plan.downtime import build_seconds, start_seconds
from whisperctl.plan.operations import Operation, OperationKind
from whisperctl.plan.plan import Plan
from whisperctl.state.labels import Labels
from whisperctl.state.resources import Address, service_address, version_address
from whisperctl.state.rollout import LineRollout, preview_name

ROUNDS = 4
"""Transcriptions of each sample by one version at its gate: a warm-up, and three that count."""
BOOKKEEPING: Mapping[OperationKind, str] = {
    "claim": "so that env vars which a kill leaves behind are still ours",
    "record": "so that a secret that changes is noticed",
    "seal": "written last, once everything is proven",
}


def explained_operations(plan: Plan) -> Plan:
    """The plan, each of its operations with its reason, its effect on the endpoint, and its seconds where known."""
    changes = {change.address: change for change in plan.changes}
    return replace(plan, operations=tuple(_explained(plan, operation, changes) for operation in plan.operations))


def _explained(plan: Plan, operation: Operation, changes: Mapping[Address, Change]) -> Operation:
    step = STEPS.get(operation.kind)
    if step is not None and plan.rollout is not None:
        return step(plan, plan.rollout, operation)
    if operation.kind == "probe":
        return _probe(plan, operation)
    if operation.kind in BOOKKEEPING:
        return replace(operation, reason=BOOKKEEPING[operation.kind], effect="none on the endpoint")
    change = changes.get(operation.address)
    if operation.kind in ("build", "upload"):
        operation = replace(operation, seconds=build_seconds(plan.live, operation.address))
    return replace(operation, reason=change.reason, effect=change.effect) if change else operation


def _probe(plan: Plan, operation: Operation) -> Operation:
    stack = plan.desired.stack
    does = "transcribe rollout.smoke" if stack.rollout.smokes else "be healthy"
    return replace(
        operation,
        reason="only what was proven counts as done",
        effect=f"an instance is woken where none runs, and must {does}",
        seconds=start_seconds(plan.live, stack.deployment.name),
    )


def _gate(plan: Plan, rollout: LineRollout, operation: Operation) -> Operation:
    through = f" through {service_address(preview_name(rollout.deployment))}" if plan.desired.stack.services else ""
    beside = f" beside {rollout.replaces}" if _compares(rollout) else ""
    start = start_seconds(plan.live, rollout.deployment)
    return replace(
        operation,
        reason="no service leads to what has not passed",
        effect=f"{rollout.new} is woken and heard{through}{beside}; what serves is not touched",
        seconds=None if start is None else start + _gate_seconds(plan, rollout),
    )


def _switch(plan: Plan, rollout: LineRollout, operation: Operation) -> Operation:
    services = _services(plan)
    effect = f"{services} -> {rollout.new}; ids and URLs stay" if services else f"{rollout.new} becomes the default"
    return replace(operation, reason=f"{rollout.new} has passed its gate by then", effect=effect)


def _bake(plan: Plan, rollout: LineRollout, operation: Operation) -> Operation:
    asked = f"asked every second through {_services(plan)}"
    return replace(
        operation,
        reason="what has passed must keep well where it is really asked",
        effect=f"{asked}; three bad answers in a row lead back to {rollout.replaces}",
        seconds=plan.desired.stack.rollout.bake,
    )


def _retire(_plan: Plan, rollout: LineRollout, operation: Operation) -> Operation:
    """`retire`: the version that gave way is the first of those that sleep."""
    asleep = [
        name for name in (rollout.replaces, *rollout.kept) if name and name not in (rollout.new, *rollout.leaving)
    ]
    names = ", ".join(dict.fromkeys(asleep))
    effect = f"{names}: asleep for a rollback, at no cost" if names else "no earlier version is kept"
    return replace(operation, reason=f"{rollout.new} serves", effect=effect)


STEPS: Mapping[OperationKind, Callable[[Plan, LineRollout, Operation], Operation]] = {
    "gate": _gate,
    "switch": _switch,
    "bake": _bake,
    "retire": _retire,
}
"""The operations of a rollout, in their order."""


def _services(plan: Plan) -> str:
    return ", ".join(str(service_address(service.name)) for service in plan.desired.stack.services)


def _compares(rollout: LineRollout) -> bool:
    return rollout.replaces is not None and rollout.compared


def _gate_seconds(plan: Plan, rollout: LineRollout) -> int:
    """Seconds of all transcriptions of a gate, by the median that the last one measured; 0 where none was."""
    names = [name for name in (rollout.replaces, rollout.new) if name]
    raws = (plan.live.owned.get(version_address(rollout.deployment, name)) for name in names)
    records = [record for raw in raws if (record := Labels.of(raw).rollout)]
    median = max((record.latency for record in records if record.latency), default=0.0)
    versions = 2 if _compares(rollout) else 1
    return round(median * len(plan.desired.stack.rollout.smokes) * ROUNDS * versions)
