"""Desired and live state → a plan: changes, the operations that make them, and why. Pure data, decided here alone.

Applying interprets the operations and decides nothing. A plan is complete: uploads, waits, the probe and the labels
that record success are operations in it. Order is a table of needs, not a script.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from whisperctl.desired import Wanted, spec_path
from whisperctl.diff import FieldChange, differing_fields
from whisperctl.errors import NotOwned, Protected
from whisperctl.live import Live, combined, owner
from whisperctl.operations import DEPLOYMENT_REPLACED, Action, Change, Operation, Operations, is_proven, is_sealed
from whisperctl.resources import (
    IMMUTABLE,
    SECRET,
    SECRET_CHANGED,
    Address,
    Kind,
    Resource,
    deployment_address,
    group_address,
    service_address,
    version_address,
)

DESTROYED = "the stack is destroyed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What differs for one stack, and what to do about it in which order."""

    wanted: Wanted
    live: Live
    project: str
    destroy: bool
    changes: tuple[Change, ...]
    operations: tuple[Operation, ...]
    unchanged: int
    warnings: tuple[str, ...] = ()

    @property
    def stack(self) -> str:
        """The stack's name."""
        return self.wanted.stack.name

    @property
    def fingerprint(self) -> str:
        """Of every live object that the plan was made from."""
        return combined(self.live.fingerprints.items())

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do at all."""
        return not self.operations

    @property
    def is_pending(self) -> bool:
        """Whether UbiOps differs or the proof of an apply is missing: more than labels to bring up to date."""
        deployment = self.wanted.stack.deployment.name
        return bool(self.changes) or not (self.is_empty or is_proven(self.live, deployment))

    def count(self, action: Action) -> int:
        """Changes of one sort."""
        return sum(change.action == action for change in self.changes)


def make_plan(
    wanted: Wanted,
    live: Live,
    *,
    project: str,
    first_id: int = 1,
    retired_tags: Sequence[Address] = (),
    destroy: bool = False,
) -> Plan:
    """Compare, order, explain. `retired_tags` are environment tags (and the environment) that nothing needs afterwards.

    Raises:
        NotOwned: a wanted name is taken by something that is not ours.
        Protected: the stack is protected and something would be deleted.
    """
    if not destroy:
        refuse_foreign(wanted, live)
    kept, warnings = _kept_deployments(live)
    changes = _destruction(wanted, live, kept) if destroy else _changes(wanted, live, kept)
    gone = {change.address for change in changes if change.action == "delete"}
    changes += [_deletion(wanted, a, "nothing uses it any more") for a in retired_tags if a not in gone]
    changes.sort(key=lambda change: change.address)
    refuse_protected(wanted, changes)
    operations = Operations(wanted, live, changes, first_id).ordered(destroy)
    touched = {change.address for change in changes}
    return Plan(
        wanted=wanted,
        live=live,
        project=project,
        destroy=destroy,
        changes=tuple(changes),
        operations=tuple(operations),
        unchanged=sum(address not in touched for address in live.owned),
        warnings=(*warnings, *_warnings(wanted, destroy)),
    )


def new_changes(before: Plan, after: Plan) -> list[Change]:
    """The changes of `after` that are not all in `before`: another object, action, field or value."""
    known = {(change.address, change.action): change.fields for change in before.changes}
    return [
        change
        for change in after.changes
        if (change.address, change.action) not in known
        or any(item not in known[change.address, change.action] for item in change.fields)
    ]


def refuse_foreign(wanted: Wanted, live: Live) -> None:
    """Raise NotOwned for every wanted name that is taken, and for a group that must exist and does not."""
    stack = wanted.stack
    lines = [
        f"{stack.source(*spec_path(stack, address))}: {address} exists and belongs to "
        + (f"the stack {owner(raw)!r}." if owner(raw) else "nobody that whisperctl knows.")
        for address, raw in sorted(live.foreign.items())
    ]
    if lines and all(owner(raw) for raw in live.foreign.values()):
        lines.append(
            "  Nothing was changed. Choose other names; a renamed stack is destroyed under its old name first."
        )
    elif lines:
        lines.append(
            "  Nothing was changed. Choose other names, or take over what nobody owns with\n"
            f"    whisperctl adopt {stack.file}"
        )
    group = stack.instance_type_group
    if not group.instance_types and not live.group_found:
        known = ", ".join(repr(name) for name in sorted(set(live.group_names))) or "none"
        lines.append(
            f"{stack.source('instance_type_group', 'name')}: there is no instance type group {group.name!r} in this "
            f"project.\n  It has: {known}. Name one of them, or list instance_types so that the group is made."
        )
    if lines:
        raise NotOwned("\n".join(lines))


def refuse_protected(wanted: Wanted, changes: Iterable[Change]) -> None:
    """Raise Protected when a protected stack would lose its deployment, version or service."""
    guarded = (Kind.DEPLOYMENT, Kind.VERSION, Kind.SERVICE)
    lost = [c for c in changes if c.action in ("delete", "replace") and c.address.kind in guarded]
    if wanted.stack.protect and lost:
        names = ", ".join(f"{change.address} ({change.reason})" for change in lost)
        raise Protected(
            f"{wanted.stack.source('protect')}: the stack {wanted.stack.name!r} is protected, and this would delete "
            f"{names}.\n  Nothing was changed. Set protect: false first if you mean it."
        )


def refuse_used(plan: Plan) -> None:
    """Raise NotOwned when services that are not ours route to what would be deleted: UbiOps refuses that."""
    wanted, live = plan.wanted, plan.live
    lost = (change.address for change in plan.changes if change.action in ("delete", "replace"))
    used = {address: live.used_by[address] for address in lost if address in live.used_by}
    if used:
        lines = [
            f"{wanted.stack.file}: {address} would be deleted, and is used by "
            f"{', '.join(str(service_address(name)) for name in names)}, not ours."
            for address, names in used.items()
        ]
        lines.append(
            "  Nothing was changed. Let those services route elsewhere first; one that names no version follows the\n"
            "  deployment's default."
        )
        raise NotOwned("\n".join(lines))


def _kept_deployments(live: Live) -> tuple[set[Address], list[str]]:
    """Owned deployments that hold versions of somebody else: deleting one would delete those too."""
    kept, warnings = set(), []
    for name, versions in sorted(live.unowned_versions.items()):
        kept.add(deployment_address(name))
        warnings.append(f"deployment/{name} also holds {', '.join(versions)}, not ours: it is never deleted")
    return kept, warnings


def _warnings(wanted: Wanted, destroy: bool) -> list[str]:
    if destroy or wanted.paused is None:
        return []
    return ["the stack is paused: minimum_instances stays 0 until `whisperctl resume`"]


def _changes(wanted: Wanted, live: Live, kept: set[Address]) -> list[Change]:
    state = live.state
    replaced = _replaced(wanted, live, kept)
    changes = []
    for address, resource in wanted.state.items():
        found = state.get(address)
        differing = _differing(found, resource)
        if found is None:
            changes.append(_change(wanted, resource, "create", differing, _why_created(address, live)))
        elif address in replaced:
            changes.append(_change(wanted, resource, "replace", differing, replaced[address]))
        elif differing:
            changes.append(
                _change(wanted, resource, "update", differing, _why_updated(wanted, live, address, differing))
            )
    # A group that is no longer managed and still wanted is let go of, not deleted.
    kept = kept | {group_address(wanted.stack.instance_type_group.name)}
    leaving = (address for address in live.owned if address not in wanted.state and address not in kept)
    return changes + [_deletion(wanted, address, f"no longer in {wanted.stack.file}") for address in leaving]


def _differing(found: Resource | None, resource: Resource) -> tuple[FieldChange, ...]:
    """What must change, with nothing in it that is a secret or becomes one."""
    before = dict(found.fields) if found else {}
    fields = dict(resource.fields)
    if resource.address.kind is Kind.INSTANCE_TYPE_GROUP and found:
        # A group's types are replaced as a whole: those that left it are a difference, shown as those that are added.
        live, wanted = before["instance_types"], fields["instance_types"]
        gone = {name: {"priority": item["priority"]} for name, item in live.items() if name not in wanted}
        before["instance_types"] = {**live, **gone}
        fields["instance_types"] = {**wanted, **dict.fromkeys(gone)}
    if resource.address.kind is Kind.ENV_VAR and fields["secret"] and before and not before["secret"]:
        before["value"] = SECRET  # it can be read on UbiOps until now; that is no reason to print it
        fields["value"] = SECRET_CHANGED
    return differing_fields(before, fields)


def _replaced(wanted: Wanted, live: Live, kept: set[Address]) -> dict[Address, str]:
    """What cannot be changed in place, and what goes down with it."""
    found: dict[Address, str] = {}
    state = live.state
    for address, resource in wanted.state.items():
        if address not in state:
            continue
        names = {item.path for item in _differing(state[address], resource)}
        fixed = sorted(names & IMMUTABLE.get(address.kind, frozenset()))
        if address.kind is Kind.ENV_VAR and resource.fields["secret"]:
            fixed = []  # false to true is possible in place
        if fixed:
            found[address] = f"{', '.join(fixed)} cannot be changed in place"
    deployment = deployment_address(wanted.stack.deployment.name)
    if deployment in found:
        if deployment in kept:
            versions = ", ".join(live.unowned_versions[wanted.stack.deployment.name])
            raise NotOwned(
                f"{deployment} must be replaced ({found[deployment]}) but also holds versions that are not ours: "
                f"{versions}.\n  Nothing was changed. Move those away first, or choose another deployment name."
            )
        below = (Kind.INSTANCE_TYPE_GROUP, Kind.VERSION, Kind.ENV_VAR, Kind.PACKAGE, Kind.SERVICE)
        found |= {address: DEPLOYMENT_REPLACED for address in wanted.state if address.kind in below}
    return found


def _destruction(wanted: Wanted, live: Live, kept: set[Address]) -> list[Change]:
    shared = (Kind.ENVIRONMENT, Kind.ENVIRONMENT_TAG)
    return [
        _deletion(wanted, address, DESTROYED)
        for address in live.owned
        if address.kind not in shared and address not in kept
    ]


def _change(wanted: Wanted, resource: Resource, action: Action, fields: tuple[FieldChange, ...], reason: str) -> Change:
    stack, address = wanted.stack, resource.address
    first = fields[0].path if fields and action != "create" else ""
    return Change(
        address=address,
        action=action,
        fields=fields,
        reason=reason,
        effect=_effect(wanted, address, action, fields),
        source=stack.source(*spec_path(stack, address, first)),
    )


def _deletion(wanted: Wanted, address: Address, reason: str) -> Change:
    stays = (wanted.stack.deployment.name, wanted.stack.version.name)
    effect = {
        Kind.SERVICE: "the endpoint is gone",
        Kind.VERSION: "its instances stop",
        Kind.PACKAGE: "goes with its version",
        Kind.ENV_VAR: "goes with its version",
    }.get(address.kind, "gone")
    if address.kind is Kind.ENV_VAR and address.names[:2] == stays and reason != DESTROYED:
        effect = "running instances keep it until they are replaced"
    return Change(address=address, action="delete", reason=reason, effect=effect, source=wanted.stack.source())


def _why_created(address: Address, live: Live) -> str:
    if address.kind is Kind.ENVIRONMENT_TAG and live.tag_status:
        return f"the tag exists, but its build is {live.tag_status}"
    return "not on UbiOps yet"


def _why_updated(wanted: Wanted, live: Live, address: Address, fields: Sequence[FieldChange]) -> str:
    if address.kind is Kind.PACKAGE and str(fields[0].before).startswith("revision "):
        return f"{fields[0].before} is active"
    if address.kind is Kind.PACKAGE and is_sealed(wanted, live):
        return "the package of an earlier revision is active, after a rollback"
    if address.kind is Kind.PACKAGE:
        return "what is rendered from the stack file has changed"
    places = {item.path: wanted.stack.source(*spec_path(wanted.stack, address, item.path)) for item in fields}
    return "; ".join(f"{path} differs from {place}" for path, place in places.items())


_IN_PLACE = "in place"
_INSTANCES = "instances are replaced"
_VERSION_EFFECTS: Mapping[str, str] = {
    "environment_name": _INSTANCES,
    "environment_tag": _INSTANCES,
    "instance_type_group_name": _INSTANCES,
    "health_check": "in place; decides where the service routes",
    "command": _INSTANCES,
    "args": _INSTANCES,
    "instance_processes": _INSTANCES,
}


def _effect(wanted: Wanted, address: Address, action: Action, fields: Sequence[FieldChange]) -> str:
    match address.kind, action:
        case Kind.DEPLOYMENT, "replace":
            return "the endpoint is down until everything below it is made again; the service gets a new URL"
        case Kind.SERVICE, "replace":
            return "the endpoint gets a new URL"
        case Kind.VERSION | Kind.PACKAGE, "replace":
            return "made again with its deployment"
        case Kind.ENVIRONMENT_TAG, _:
            return "environment build, 10 to 15 minutes"
        case Kind.PACKAGE, "create":
            return f"first revision: {_first_start(wanted)}"
        case Kind.PACKAGE, _:
            return "new revision: instances are replaced"
        case Kind.ENV_VAR, _:
            return "instances that start from then on see it"
        case _, "create":
            return "new"
        case Kind.SERVICE, _ if any(item.path in ("version", "deployment") for item in fields):
            return "in place: the endpoint keeps its URL and routes to the new version"
        case Kind.VERSION, _:
            effects = {_VERSION_EFFECTS.get(item.path.split(".")[0], _IN_PLACE) for item in fields}
            return "; ".join(sorted(effects, reverse=True)) if len(effects) < 2 else _INSTANCES
        case _:
            return _IN_PLACE


def _first_start(wanted: Wanted) -> str:
    """When instances start, by the minimum that the version will have: 0 while the stack is paused."""
    version = version_address(wanted.stack.deployment.name, wanted.stack.version.name)
    match wanted.state[version].fields["minimum_instances"]:
        case 0:
            return "an instance starts on the first request"
        case 1:
            return "an instance starts at once"
        case minimum:
            return f"{minimum} instances start at once"
