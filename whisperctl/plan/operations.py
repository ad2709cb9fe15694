"""Changes → operations, each after what it needs. Pure; the order is a table of needs, not a script.

A plan is complete: uploads, waits, the probe and the labels that record success are operations in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, assert_never

from whisperctl.plan.changes import DEPLOYMENT_REPLACED, Change, replaces_instances
from whisperctl.plan.reasons import OWNER, name_field
from whisperctl.spec import Stack
from whisperctl.state.desired import Desired
from whisperctl.state.labels import Labels
from whisperctl.state.live import Live, is_proven, is_sealed
from whisperctl.state.moves import other_owners
from whisperctl.state.resources import (
    BELOW,
    SHARED_KINDS,
    Address,
    Kind,
    deployment_address,
    package_address,
    version_address,
)
from whisperctl.state.rollout import LineRollout

OperationKind = Literal[
    "create",
    "update",
    "delete",
    "build",
    "upload",
    "claim",
    "record",
    "rename",
    "gate",
    "switch",
    "bake",
    "retire",
    "restart",
    "probe",
    "seal",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One thing to do. `needs` are ids of operations that must have succeeded before.

    create, update, delete: one write. build: an environment tag, created, uploaded and waited for. upload: a
    package, uploaded and waited for. claim: env var names written on the version before they are created. record:
    env var names and secret fingerprints written on the version once they are set. rename: an object gets its new
    name, before anything else; with the deployment's go the owner's labels of a renamed stack. gate: a new version
    of a line is woken and heard beside the one that serves. switch: services, default version and minimum go over
    to it. bake: it is asked through the real services for a while. retire: earlier versions fall asleep, the new
    one is recorded as served. restart: running instances are replaced, one after the other, so that they see
    changed env vars. probe: the endpoint is awake and does what the spec says. seal: digests are written, the lease
    is given back.
    """

    id: int
    kind: OperationKind
    address: Address
    needs: tuple[int, ...] = ()
    reason: str = ""
    effect: str = ""
    """On the endpoint and who uses it."""
    seconds: int | None = None
    """How long it is expected to take; None where that was never measured."""


@dataclass(slots=True)
class Operations:
    """Collects the operations of one plan; `ids` is one for all plans that are performed together."""

    desired: Desired
    live: Live
    changes: Sequence[Change]
    ids: Iterator[int]
    rollout: LineRollout | None = None
    marked: bool = True
    """Whether the labels tell already where the stack comes from, whether it is protected, and each object's id."""
    partial: bool = False
    """Whether the changes are a part that was asked for: then the deployment's digest is not written."""
    made: list[Operation] = field(default_factory=list)
    early: set[Address] = field(default_factory=set)
    """What is deleted before anything is made."""

    def ordered(self, destroy: bool) -> list[Operation]:
        """Everything to do, each after what it needs."""
        by_kind: dict[Kind, list[Change]] = {kind: [] for kind in Kind}
        for change in self.changes:
            by_kind[change.address.kind].append(change)
        renamed = self._renames() if not destroy else []
        # On destroy env vars and packages go with their version.
        made = self._creations(by_kind, self._replacements(by_kind, renamed)) if not destroy else []
        probe = [] if destroy else self._rolled_out(made, by_kind) if self._rolls() else self._probe(made)
        after = self._deletions(by_kind, made + probe)
        unsealed = not (self.partial or (self.marked and is_sealed(self.desired, self.live)))
        if not destroy and (self.made or unsealed):
            stack = self.desired.stack
            self._add("seal", deployment_address(stack.deployment.name), made + probe + after)
        return self.made

    def _renames(self) -> list[int]:
        """The deployment first, as kinds are ordered: its versions stand below its name. With it go owners' labels."""
        deployment = deployment_address(self.desired.stack.deployment.name)
        if self.partial and not self.changes:
            return []
        addresses = list(self.live.renamed)
        if other_owners(self.desired.stack, self.live.owned):
            addresses.append(deployment)
        made: list[int] = []
        for address in sorted(set(addresses)):
            made = [self._add("rename", address, made)]
        return made

    def _add(self, kind: OperationKind, address: Address, needs: Iterable[int]) -> int:
        number = next(self.ids)
        self.made.append(Operation(id=number, kind=kind, address=address, needs=tuple(dict.fromkeys(needs))))
        return number

    def _replacements(self, by_kind: Mapping[Kind, Sequence[Change]], before: list[int]) -> list[int]:
        """Deletions that must come first, because the same names are made again.

        When a deployment is replaced, what leaves the spec and hangs on it goes now, not last. What only the
        deployment's labels tell to be ours goes with it, too: a managed group, and environment tags. Those are tried
        again last, since another stack may use them until then.
        """
        if not any(change.action == "replace" for change in by_kind[Kind.DEPLOYMENT]):
            return before
        needs = before
        for kind in (Kind.SERVICE, Kind.VERSION, Kind.INSTANCE_TYPE_GROUP, *SHARED_KINDS, Kind.DEPLOYMENT):
            first = [c for c in by_kind[kind] if c.action == "replace" or (c.action == "delete" and self._below(c))]
            self.early.update(change.address for change in first if kind not in SHARED_KINDS)
            needs = [self._add("delete", change.address, needs) for change in first] or needs
        return needs

    def _below(self, change: Change) -> bool:
        """Whether what leaves hangs on the stack's deployment."""
        name = self.desired.stack.deployment.name
        match change.address.kind:
            case Kind.SERVICE:
                return bool(self.live.owned[change.address].get("deployment") == name)
            case Kind.VERSION:
                return change.address.names[0] == name
            case Kind.INSTANCE_TYPE_GROUP | Kind.ENVIRONMENT | Kind.ENVIRONMENT_TAG:
                return True
            case Kind.DEPLOYMENT | Kind.ENV_VAR | Kind.PACKAGE:
                return False
            case kind:
                assert_never(kind)

    def _creations(self, by_kind: Mapping[Kind, Sequence[Change]], before: list[int]) -> list[int]:
        deployment = self._writes(by_kind[Kind.DEPLOYMENT], before)
        first = deployment or before
        groups = self._writes(by_kind[Kind.INSTANCE_TYPE_GROUP], first)
        environments = self._writes(by_kind[Kind.ENVIRONMENT], first)
        new_tags = [change for change in by_kind[Kind.ENVIRONMENT_TAG] if change.action == "create"]
        tags = [self._add("build", change.address, environments or first) for change in new_tags]
        ready = [*first, *groups, *environments, *tags]
        # An earlier version of a line is put to sleep by the rollout, last.
        own = [change for change in by_kind[Kind.VERSION] if change.address == self._version]
        gated = self.rollout is not None and self.rollout.gated
        if gated:  # one that sleeps is woken as it is; it gets what the file says when it serves
            own = [change for change in own if change.action != "update"]
        version = self._writes(own, ready)
        variables = self._variables(by_kind[Kind.ENV_VAR], version or ready, by_kind[Kind.VERSION])
        package = [
            self._add("upload", change.address, [*ready, *version, *variables])
            for change in by_kind[Kind.PACKAGE]
            if change.action != "delete"
        ]
        if gated:
            return [*ready, *version, *variables, *package]  # services are touched once the gate is passed
        restart = self._restart(by_kind, [*version, *variables])
        services = self._writes(by_kind[Kind.SERVICE], [*version, *variables, *package] or ready)
        return [*ready, *version, *variables, *package, *restart, *services]

    def _restart(self, by_kind: Mapping[Kind, Sequence[Change]], needs: list[int]) -> list[int]:
        """Running instances are replaced for changed env vars, unless something else replaces them anyway."""
        stack = self.desired.stack
        anyway = [change for change in (*by_kind[Kind.VERSION], *by_kind[Kind.PACKAGE]) if replaces_instances(change)]
        if (
            anyway
            or not stack.rollout.restart_on_env_change
            or self.rollout is not None
            or self.desired.paused is not None
            or not changed_variables(stack, self.changes)
        ):
            return []
        return [self._add("restart", self._version, needs)]

    def _writes(self, changes: Iterable[Change], needs: list[int]) -> list[int]:
        return [
            self._add("update" if change.action == "update" else "create", change.address, needs)
            for change in changes
            if change.action != "delete" and not self._is_only_renamed(change)
        ]

    def _is_only_renamed(self, change: Change) -> bool:
        """Whether nothing of an object changes but its name, which has an operation of its own."""
        names = {OWNER} | ({name_field(change.address)} if change.address in self.live.renamed else set())
        return bool(change.fields) and {item.path for item in change.fields} <= names

    def _variables(self, changes: Sequence[Change], needs: list[int], version_changes: Sequence[Change]) -> list[int]:
        """Env vars between the claim of new names and the record of what was set.

        Those of a version that leaves go with it. A new version is born with the names, an updated one gets them too.
        """
        own = [change for change in changes if change.address.names[:2] == self._version.names]
        if self.partial and not own:
            return []
        actions = {change.action for change in own}
        on_version = {change.action for change in version_changes if change.address == self._version}
        is_new = not on_version.isdisjoint(("create", "replace"))
        written = {change.address.names[2] for change in own if change.action != "delete"}
        touches_secret = not self._secrets.isdisjoint(written)
        if not is_new and (touches_secret or ("create" in actions and not on_version)):
            needs = [self._add("claim", self._version, needs)]
        made = [self._variable(change, needs) for change in own]
        if actions <= {"create", "update"} and not touches_secret and (is_new or self._recorded()):
            return made
        return [*made, self._add("record", self._version, made or needs)]

    def _variable(self, change: Change, needs: list[int]) -> int:
        match change.action:
            case "create" | "update" | "delete" as kind:
                return self._add(kind, change.address, needs)
            case "replace" if change.reason == DEPLOYMENT_REPLACED:
                return self._add("create", change.address, needs)
            case "replace":
                return self._add("create", change.address, [self._add("delete", change.address, needs)])

    def _recorded(self) -> bool:
        """Whether the version's labels tell no more and no less than the env vars that the spec has."""
        labels = Labels.of(self.live.owned.get(self._version))
        names = {variable.name for variable in self.desired.stack.env}
        return set(labels.env_names) <= names and labels.secrets.keys() == self._secrets

    @property
    def _secrets(self) -> set[str]:
        return {variable.name for variable in self.desired.stack.env if variable.secret}

    @property
    def _version(self) -> Address:
        return version_address(self.desired.stack.deployment.name, self.desired.stack.version.name)

    def _rolls(self) -> bool:
        """Whether a rollout has something to do: also only to put an earlier version to sleep."""
        asleep = any(c.address != self._version and c.action == "update" for c in self.changes if _is_version(c))
        return self.rollout is not None and (not self.rollout.is_over or asleep)

    def _rolled_out(self, made: list[int], by_kind: Mapping[Kind, Sequence[Change]]) -> list[int]:
        """Gate, switch, bake and retire, as far as they are still to be done."""
        rollout = self.rollout
        assert rollout is not None
        paused = self.desired.paused is not None
        done = list(made)
        if not rollout.is_over:
            # One that was cut off after its gate goes on with the switch, which may be done in part.
            gate = [self._add("gate", self._version, made)] if rollout.gated else made
            switch = self._add("switch", deployment_address(rollout.deployment), gate)
            done.append(switch)
        if rollout.gated:
            new = [change for change in by_kind[Kind.SERVICE] if change.action == "create"]
            done += self._writes(new, [switch])
        bakes = bool(self.desired.stack.services) and rollout.replaces is not None
        if not paused and not rollout.is_over:
            done.append(self._add("bake" if bakes else "probe", self._version, done))
        return [*done, self._add("retire", self._version, done)]

    def _probe(self, made: list[int]) -> list[int]:
        stack = self.desired.stack
        if self.desired.paused is not None:
            return []
        running = (*BELOW[Kind.DEPLOYMENT], Kind.SERVICE)
        touched = any(change.address.kind in running and change.action != "delete" for change in self.changes)
        proven = is_proven(self.live, stack.deployment.name)
        if not touched and (proven or self.partial):
            return []
        if self.partial and not self._answers():
            return []  # there is nothing in it that could be asked
        return [self._add("probe", self._version, made)]

    def _answers(self) -> bool:
        """Whether the stack's version serves, or will after these changes: it has a package, and passed its gate."""
        package = package_address(*self._version.names)
        made = any(change.address == package and change.action != "delete" for change in self.changes)
        record = Labels.of(self.live.owned.get(self._version)).rollout
        return (made or package in self.live.owned) and (record is None or record.state in ("passed", "served"))

    def _deletions(self, by_kind: Mapping[Kind, Sequence[Change]], needs: list[int]) -> list[int]:
        """What left the spec goes once its successor is proven: children before parents, the deployment last."""
        ids: list[int] = []
        for kind in (
            Kind.SERVICE,
            Kind.VERSION,
            Kind.INSTANCE_TYPE_GROUP,
            *SHARED_KINDS,
            Kind.DEPLOYMENT,
        ):
            leaving = [c for c in by_kind[kind] if c.action == "delete" and c.address not in self.early]
            ids += [self._add("delete", change.address, [*needs, *ids]) for change in leaving]
        return ids


def changed_variables(stack: Stack, changes: Iterable[Change]) -> list[Change]:
    """The changes of env vars of the stack's own version."""
    version = (stack.deployment.name, stack.version.name)
    return [change for change in changes if change.address.kind is Kind.ENV_VAR and change.address.names[:2] == version]


def _is_version(change: Change) -> bool:
    return change.address.kind is Kind.VERSION


def after_other_stacks(plans: Sequence[Sequence[Operation]]) -> list[tuple[Operation, ...]]:
    """The operations of plans of one project, where what they share is deleted only once all have let go of it."""
    made = [operation for plan in plans for operation in plan]
    versions = [o.id for o in made if o.address.kind is Kind.VERSION and o.kind in ("create", "update", "delete")]
    tags = [o.id for o in made if o.address.kind is Kind.ENVIRONMENT_TAG and o.kind == "delete"]
    shared = {Kind.ENVIRONMENT_TAG: versions, Kind.ENVIRONMENT: versions + tags}

    def later(operation: Operation, last: Mapping[Address, int]) -> Operation:
        if (
            operation.kind != "delete"
            or operation.address.kind not in shared
            or last[operation.address] != operation.id
        ):
            return operation
        needs = (*operation.needs, *shared[operation.address.kind])
        return replace(operation, needs=tuple(dict.fromkeys(needs)))

    ordered = []
    for plan in plans:
        last = {operation.address: operation.id for operation in plan}
        ordered.append(tuple(later(operation, last) for operation in plan))
    return ordered
