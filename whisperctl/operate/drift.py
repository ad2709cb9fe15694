"""What changed on UbiOps since the last apply, and who did it where the audit trail tells. Reads only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from whisperctl.control.api import Api
from whisperctl.engine import World, plan_stacks
from whisperctl.errors import ApiError, NotOwned
from whisperctl.operate.trail import LastChange, last_changes
from whisperctl.plan.changes import ORDER, Action, Change
from whisperctl.plan.package_changes import explained
from whisperctl.plan.plan import Plan, make_plan
from whisperctl.plan.safeguards import lifts_protection
from whisperctl.plan.takeover import as_it_runs
from whisperctl.spec import Stack
from whisperctl.state.desired import desired_state, digest_of, resolve
from whisperctl.state.diff import FieldChange
from whisperctl.state.fingerprints import live_digest
from whisperctl.state.labels import Labels
from whisperctl.state.line import named
from whisperctl.state.reading import read_live
from whisperctl.state.resources import SHARED_KINDS, Address, Kind, Masked, deployment_address, version_address

Basis = Literal["applied", "moved on", "unfinished", "absent"]
HAPPENED: Mapping[Action, Action] = {"create": "delete", "delete": "create", "update": "update", "replace": "update"}
"""What a plan would do -> what happened to the object since: what is to be created has gone from UbiOps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """How one stack's live objects differ from what was last applied."""

    plan: Plan
    """What an apply would do."""
    compared: Plan
    """What tells the difference: the plan, and of a line that would be rolled out one to the version applied last."""
    changes: tuple[Change, ...]
    """Those of `compared`, the other way round: `before` as applied, or as the file says, `after` as it is."""
    basis: Basis
    """applied: the spec is what was applied, so every change is drift. moved on: the spec changed since, so each change
    may be its own or drift, unless `as_applied`: of what was applied only digests are kept. unfinished: the last apply
    did not end. absent: nothing of it is on UbiOps."""
    as_applied: bool
    """Moved on, and the live objects are what the last apply left: every change is the spec's own."""
    last_changes: Mapping[Address, LastChange]
    """The newest audit event of each changed object. Empty unless the change was made on UbiOps."""
    unread: str = ""
    """Why the audit trail could not be read; empty if it was, or was not needed."""

    @property
    def drifted(self) -> bool:
        """Whether live objects differ from what was applied, or may do so."""
        return bool(self.changes) and self.basis != "absent" and not self.as_applied

    @property
    def deployment_deleted(self) -> LastChange | None:
        """Of a stack that is absent: who deleted its deployment; None where the trail knows of no such event."""
        return self.last_changes.get(deployment_address(self.plan.desired.stack.deployment.name))


def find_drift(stacks: Sequence[Stack], world: World) -> list[Drift]:
    """Compare each stack with the live project.

    Raises:
        WhisperctlError: UbiOps cannot be read.
    """
    return [_drift(plan, world) for plan in plan_stacks(stacks, world)]


def _drift(plan: Plan, world: World) -> Drift:
    compared = _with_the_version_applied(plan, world)
    basis = _basis(compared)
    turned = (_turned(compared, change) for change in compared.changes)
    changes = tuple(sorted(turned, key=lambda item: ORDER[item.action]))
    made_there = changes if basis == "applied" else _unique(changes) if basis == "absent" else ()
    known, unread = _last_changes(world.api(plan.desired.stack), made_there)
    left = live_digest(compared.live.owned, compared.desired.state)
    return Drift(
        plan=plan,
        compared=compared,
        changes=changes,
        basis=basis,
        as_applied=basis == "moved on" and _labels(compared).applied == left,
        last_changes=known,
        unread=unread,
    )


def _with_the_version_applied(plan: Plan, world: World) -> Plan:
    """Of a line that another version is planned for: what the one applied last would need to be what the file says.

    The planned one was never there: that it is not says nothing of what changed. This plan is never performed.
    """
    rollout, name = plan.rollout, _labels(plan).version
    if rollout is None or plan.live.renamed or name in (None, rollout.new):
        return plan
    if version_address(rollout.deployment, name) not in plan.live.owned:
        return plan
    api = world.api(plan.desired.stack)
    desired = desired_state(named(plan.desired.stack, name), plan.desired.package, plan.desired.build)
    [live] = read_live(api, [desired], world.parallelism)
    desired = as_it_runs(resolve(desired, live.labels), live, api)
    try:
        compared = make_plan(desired, live, project=plan.project, ids=world.ids, selection=plan.selection)
    except NotOwned:  # somebody else's variable of a name that the file has: only the new version can have it
        return plan
    return explained([compared], api, world.parallelism)[0]


def _unique(changes: Sequence[Change]) -> tuple[Change, ...]:
    """Those of objects whose name nothing else in the project can have had meanwhile."""
    return tuple(change for change in changes if change.address.kind in (Kind.DEPLOYMENT, Kind.SERVICE))


def _last_changes(api: Api, changes: Sequence[Change]) -> tuple[dict[Address, LastChange], str]:
    try:
        return last_changes(api, changes), ""
    except ApiError as error:
        return {}, error.reason


def _turned(plan: Plan, change: Change) -> Change:
    """What happened to the object: `before` as it was applied, `after` as it is."""
    action = HAPPENED[change.action]
    reasons = {"delete": "not on UbiOps any more", "create": f"not in {plan.desired.stack.file}"}
    return replace(
        change,
        action=action,
        fields=() if action == "delete" else tuple(_turned_field(field) for field in change.fields),
        contents=tuple(_turned_field(field) for field in change.contents),
        reason=reasons.get(action, change.reason),
    )


def _turned_field(field: FieldChange) -> FieldChange:
    if isinstance(field.before, Masked) and isinstance(field.after, Masked):
        return field  # `(secret) -> (secret, changed)` reads the same both ways
    return replace(field, before=field.after, after=field.before)


def _basis(plan: Plan) -> Basis:
    sealed = _labels(plan).digest
    if sealed in (plan.desired.digest, digest_of(plan.desired.declared)):
        if any(lifts_protection(change) for change in plan.changes):
            return "moved on"
        return "moved on" if any(_has_another_secret(plan, change) for change in plan.changes) else "applied"
    ours = [a for a in plan.live.owned if a.kind not in SHARED_KINDS]
    if not ours:
        return "absent"
    return "moved on" if sealed else "unfinished"


def _labels(plan: Plan) -> Labels:
    """Those of the stack's deployment; where the file has another name for it now, of the one that there is."""
    deployments = {a: labels for a, labels in plan.live.labels.items() if a.kind is Kind.DEPLOYMENT}
    return deployments.get(deployment_address(plan.desired.stack.deployment.name)) or next(
        iter(deployments.values()), Labels({})
    )


def _has_another_secret(plan: Plan, change: Change) -> bool:
    """Whether a secret has another value than the one applied, which its fingerprint tells and the digest does not."""
    if change.address.kind is not Kind.ENV_VAR or [item.path for item in change.fields] != ["value"]:
        return False
    deployment, version, name = change.address.names
    return name in Labels.of(plan.live.owned.get(version_address(deployment, version))).secrets
