"""What changed on UbiOps since the last apply, and who did it where the audit trail tells. Reads only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from whisperctl.control.api import Api, Json
from whisperctl.engine import World, plan_stacks
from whisperctl.errors import ApiError
from whisperctl.plan.changes import Change
from whisperctl.plan.plan import Plan
from whisperctl.plan.safeguards import lifts_protection
from whisperctl.spec import Stack
from whisperctl.state.fingerprints import live_digest
from whisperctl.state.labels import Labels
from whisperctl.state.resources import Address, Kind, deployment_address, version_address

AUDIT_EVENTS = 100
"""The newest events that are searched: the most that the official CLI asks for at once."""
Basis = Literal["applied", "moved on", "unfinished", "absent"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """How one stack's live objects differ from what was last applied."""

    plan: Plan
    basis: Basis
    """applied: the spec is what was applied, so every change is drift. moved on: the spec changed since, so each change
    may be its own or drift, unless `as_applied`: of what was applied only digests are kept. unfinished: the last apply
    did not end. absent: nothing of it is on UbiOps, and so nothing that tells whether it was never applied, was
    destroyed, or was deleted by hand."""
    as_applied: bool
    """Moved on, and the live objects are what the last apply left: every change is the spec's own."""
    culprits: Mapping[Address, str]
    """The newest audit event of each changed object: when, who, what. Empty unless the change was made on UbiOps."""

    @property
    def drifted(self) -> bool:
        """Whether live objects differ from what was applied, or may do so."""
        return bool(self.plan.changes) and self.basis != "absent" and not self.as_applied


def find_drift(stacks: Sequence[Stack], world: World) -> list[Drift]:
    """Compare each stack with the live project.

    Raises:
        WhisperctlError: UbiOps cannot be read.
    """
    return [_drift(plan, world) for plan in plan_stacks(stacks, world)]


def _drift(plan: Plan, world: World) -> Drift:
    basis = _basis(plan)
    made_there = plan.changes if basis in ("applied", "absent") else ()
    culprits = _culprits(world.api(plan.wanted.stack), made_there) if made_there else {}
    as_applied = basis == "moved on" and _labels(plan).applied == live_digest(plan.live.owned, plan.wanted.state)
    return Drift(plan=plan, basis=basis, as_applied=as_applied, culprits=culprits)


def _basis(plan: Plan) -> Basis:
    sealed = _labels(plan).digest
    if sealed == plan.wanted.digest:
        if any(lifts_protection(change) for change in plan.changes):
            return "moved on"
        return "moved on" if any(_has_another_secret(plan, change) for change in plan.changes) else "applied"
    ours = [a for a in plan.live.owned if a.kind not in (Kind.ENVIRONMENT, Kind.ENVIRONMENT_TAG)]
    if not ours:
        return "absent"
    return "moved on" if sealed else "unfinished"


def _labels(plan: Plan) -> Labels:
    """Those of the stack's deployment; where the file has another name for it now, of the one that there is."""
    found = {a: labels for a, labels in plan.live.labels.items() if a.kind is Kind.DEPLOYMENT}
    return found.get(deployment_address(plan.wanted.stack.deployment.name)) or next(iter(found.values()), Labels({}))


def _has_another_secret(plan: Plan, change: Change) -> bool:
    """Whether a secret has another value than the one applied, which its fingerprint tells and the digest does not."""
    if change.address.kind is not Kind.ENV_VAR or [item.path for item in change.fields] != ["value"]:
        return False
    deployment, version, name = change.address.names
    return name in Labels.of(plan.live.owned.get(version_address(deployment, version))).secrets


def _culprits(api: Api, changes: Sequence[Change]) -> dict[Address, str]:
    try:
        events = api.audit(limit=AUDIT_EVENTS)
    except ApiError as error:
        return {change.address: f"the audit trail cannot be read: {error.reason}" for change in changes}
    found = {}
    for change in changes:
        event = next((event for event in events if _concerns(event, change.address)), None)
        if event is not None:
            found[change.address] = f"{event['date']} {event['user']}: {event['event']}"
    return found


_OBJECT_TYPES: Mapping[Kind, tuple[str, ...]] = {
    Kind.DEPLOYMENT: ("deployment",),
    Kind.VERSION: ("deployment_version", "version"),
    Kind.ENV_VAR: ("environment_variable", "deployment_version_environment_variable", "deployment_version", "version"),
    Kind.PACKAGE: ("revision", "deployment_version", "version"),
    Kind.SERVICE: ("service",),
    Kind.ENVIRONMENT: ("environment",),
    Kind.ENVIRONMENT_TAG: ("environment_tag", "tag", "environment"),
    Kind.INSTANCE_TYPE_GROUP: ("instance_type_group",),
}


def _concerns(event: Json, address: Address) -> bool:
    """Whether an audit event is about the object: its type, and its name in the event's name or text."""
    if event.get("object_type") not in _OBJECT_TYPES[address.kind] or event.get("action") == "info":
        return False
    name = address.names[1] if address.kind is Kind.PACKAGE else address.names[-1]
    return name == event.get("object_name") or f"'{name}'" in str(event.get("event")) or name in str(event.get("event"))
