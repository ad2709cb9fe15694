"""The changes of a plan: desired state against live state, each with its action, fields, reason and effect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, assert_never

from whisperctl.errors import NotOwned, Problem
from whisperctl.output import looks_secret
from whisperctl.plan.reasons import OWNER, declared_at, name_field, why_created, why_updated
from whisperctl.spec import Stack
from whisperctl.state.desired import Desired, spec_path
from whisperctl.state.diff import FieldChange, differing_fields
from whisperctl.state.live import Live, trims
from whisperctl.state.ownership import owner
from whisperctl.state.resources import (
    BELOW,
    IMMUTABLE,
    SHARED_KINDS,
    Address,
    Kind,
    Masked,
    Resource,
    deployment_address,
    field_name,
    group_address,
    version_address,
)

Action = Literal["create", "update", "replace", "delete"]
ORDER: Mapping[Action, int] = {"delete": 0, "replace": 1, "update": 2, "create": 3}
"""In every view: what is lost first."""


DEPLOYMENT_REPLACED = "its deployment is replaced"


@dataclass(frozen=True, kw_only=True, slots=True)
class Remark:
    """Something to know about a plan: a warning, or why it would be refused."""

    source: str
    """What it is about: `stack.yaml:41`, or an object's address."""
    text: str


def remarks(problems: Iterable[Problem]) -> tuple[Remark, ...]:
    """What loading warned of, as remarks."""
    return tuple(Remark(source=f"{item.where.file}:{item.where.line}", text=item.text) for item in problems)


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What will be different about one resource, and why."""

    address: Address
    action: Action
    fields: tuple[FieldChange, ...] = ()
    reason: str
    effect: str
    source: str
    """`stack.yaml:41`."""
    contents: tuple[FieldChange, ...] = ()
    """Of a package: the settings and files in it that differ, as far as they could be read."""


DESTROYED = "the stack is destroyed"


def undeletable_deployments(live: Live) -> tuple[set[Address], list[Remark]]:
    """Owned deployments that hold versions of somebody else: deleting one would delete those too."""
    undeletable, warnings = set(), []
    for name, versions in sorted(live.unowned_versions.items()):
        address = deployment_address(name)
        undeletable.add(address)
        text = f"{address} also holds {', '.join(versions)}, not ours: it is never deleted"
        warnings.append(Remark(source=str(address), text=text))
    return undeletable, warnings


def every_field(desired: Desired) -> frozenset[str]:
    """The names of all fields of the desired objects."""
    return frozenset(field_name(address, name) for address, each in desired.state.items() for name in each.fields)


def changes_between(
    desired: Desired, live: Live, undeletable: set[Address], *, trimmed: frozenset[str] = frozenset()
) -> list[Change]:
    """What makes the live state the desired one; of objects that left the file all but the `undeletable` are deleted.

    White space around the texts of `trimmed` fields is no difference, whatever the labels tell of UbiOps.

    Raises:
        NotOwned: a deployment must be made again and also holds versions of somebody else.
    """
    state = live.state
    trimmed |= trims(desired, live)
    replaced = _replaced(desired, live, undeletable, trimmed)
    changes = []
    for address, resource in desired.state.items():
        live_resource = state.get(address)
        moved = (*_renaming(live, address), *_relabelling(desired, live, address))
        differing = (*moved, *_differing(live_resource, resource, trimmed))
        if live_resource is None:
            changes.append(_change(desired, resource, "create", differing, why_created(address, live)))
        elif address in replaced:
            changes.append(_change(desired, resource, "replace", differing, replaced[address]))
        elif differing:
            changes.append(
                _change(desired, resource, "update", differing, why_updated(desired, live, address, differing))
            )
    # A group that is no longer managed and still wanted is let go of, not deleted.
    undeletable = undeletable | {group_address(desired.stack.instance_type_group.name)}
    leaving = (address for address in live.owned if address not in desired.state and address not in undeletable)
    changes = _with_new_version(changes)
    return changes + [deletion(desired, address, f"no longer in {desired.stack.file}") for address in leaving]


def _with_new_version(changes: Sequence[Change]) -> list[Change]:
    """The changes, those of the env vars of a version that is made with what they do: no instance runs yet."""
    made = {
        change.address.names
        for change in changes
        if change.address.kind is Kind.VERSION and change.action in ("create", "replace")
    }
    return [
        replace(change, effect="the instances of the new version start with it")
        if change.address.kind is Kind.ENV_VAR and change.address.names[:2] in made
        else change
        for change in changes
    ]


def _renaming(live: Live, address: Address) -> tuple[FieldChange, ...]:
    """The name itself, of an object that has another one on UbiOps until it is renamed."""
    old = live.renamed.get(address)
    if old is None:
        return ()
    return (FieldChange(path=name_field(address), before=old.names[-1], after=address.names[-1]),)


def _relabelling(desired: Desired, live: Live, address: Address) -> tuple[FieldChange, ...]:
    """The stack's name, of an object that carries the one that it had before."""
    before = owner(live.owned.get(address))
    if before is None or before not in desired.stack.moved.stack:
        return ()
    return (FieldChange(path=OWNER, before=before, after=desired.stack.name),)


def _differing(live_resource: Resource | None, resource: Resource, trimmed: frozenset[str]) -> tuple[FieldChange, ...]:
    """What must change, with nothing in it that is a secret or becomes one."""
    before = dict(live_resource.fields) if live_resource else {}
    fields = dict(resource.fields)
    if resource.address.kind is Kind.INSTANCE_TYPE_GROUP and live_resource and fields:
        # A group's types are replaced as a whole: those that left it are a difference, shown as those that are added.
        live, desired = before["instance_types"], fields["instance_types"]
        gone = {name: {"priority": item["priority"]} for name, item in live.items() if name not in desired}
        before["instance_types"] = {**live, **gone}
        fields["instance_types"] = {**desired, **dict.fromkeys(gone)}
    if resource.address.kind is Kind.ENV_VAR and fields.get("secret") and before and not before["secret"]:
        before["value"] = Masked.SECRET  # it can be read on UbiOps until now; that is no reason to print it
        fields["value"] = Masked.SECRET_CHANGED
    trims = [name for name in fields if field_name(resource.address, name) in trimmed]
    return differing_fields(before, fields, trims=trims)


def ignored_differences(desired: Desired, live: Live) -> tuple[tuple[Address, str], ...]:
    """What differs and is left as it is, since `ignore_changes` names it: object and path of the field."""
    state, ignored = live.state, []
    trimmed = trims(desired, live)
    for address, resource in desired.state.items():
        if resource.ignored and address in state:
            pairs = (_differing(state[address], each, trimmed) for each in (desired.declared[address], resource))
            everything, ours = ({item.path for item in fields} for fields in pairs)
            ignored += [(address, path) for path in sorted(everything - ours)]
    return tuple(ignored)


def _replaced(desired: Desired, live: Live, undeletable: set[Address], trimmed: frozenset[str]) -> dict[Address, str]:
    """What cannot be changed in place, and what goes down with it."""
    state = live.state
    fixed = {a: _fixed_fields(state[a], resource, trimmed) for a, resource in desired.state.items() if a in state}
    reasons = {a: f"{', '.join(names)} cannot be changed in place" for a, names in fixed.items() if names}
    deployment = deployment_address(desired.stack.deployment.name)
    if deployment in reasons:
        if deployment in undeletable:
            versions = ", ".join(live.unowned_versions[desired.stack.deployment.name])
            raise NotOwned(
                f"{deployment} must be replaced ({reasons[deployment]}) but also holds versions that are not ours: "
                f"{versions}.\n  Nothing was changed. Move those away first, or choose another deployment name."
            )
        below = (Kind.INSTANCE_TYPE_GROUP, *BELOW[Kind.DEPLOYMENT], Kind.SERVICE)
        reasons |= {address: DEPLOYMENT_REPLACED for address in desired.state if address.kind in below}
    return reasons


def _fixed_fields(live_resource: Resource, resource: Resource, trimmed: frozenset[str]) -> list[str]:
    """The fields that differ and cannot be changed in place."""
    if resource.address.kind is Kind.ENV_VAR and resource.fields.get("secret"):
        return []  # false to true is possible in place
    names = {item.path for item in _differing(live_resource, resource, trimmed)}
    return sorted(names & IMMUTABLE.get(resource.address.kind, frozenset()))


def destruction(desired: Desired, live: Live, undeletable: set[Address]) -> list[Change]:
    """The deletion of everything that the stack owns by itself, but the `undeletable`."""
    return [
        deletion(desired, address, DESTROYED)
        for address in live.owned
        if address.kind not in SHARED_KINDS and address not in undeletable
    ]


def _change(
    desired: Desired, resource: Resource, action: Action, fields: tuple[FieldChange, ...], reason: str
) -> Change:
    stack, address = desired.stack, resource.address
    fields = tuple(_with_names(stack, address, field) for field in fields)
    first = fields[0].path if fields and action != "create" else ""
    return Change(
        address=address,
        action=action,
        fields=fields,
        reason=reason,
        effect=_effect(desired, address, action, fields),
        source=stack.source(*declared_at(stack, address, first)),
    )


def _with_names(stack: Stack, address: Address, field: FieldChange) -> FieldChange:
    """The field with the variables that its value was taken from, and without it where a name looks like a secret's."""
    if address.kind in _RENDERED or isinstance(field.after, Masked):
        return field
    if address.kind is Kind.ENV_VAR and field.path != "value":
        return field
    path = spec_path(stack, address, field.path)
    is_value = address.kind is Kind.ENV_VAR
    names = stack.taken_from.get(path, ()) or (stack.taken_from.get((*path, "value"), ()) if is_value else ())
    if (is_value and looks_secret(address.names[-1])) or any(looks_secret(name) for name in names):
        before = None if field.before is None else Masked.UNMARKED
        return replace(field, before=before, after=Masked.UNMARKED, names=names)
    return replace(field, names=names)


def deletion(desired: Desired, address: Address, reason: str) -> Change:
    """The deletion of one object, with its effect on who uses the endpoint."""
    stays = (desired.stack.deployment.name, desired.stack.version.name)
    effect = {
        Kind.SERVICE: "the endpoint is gone",
        Kind.VERSION: "its instances stop",
        Kind.PACKAGE: "goes with its version",
        Kind.ENV_VAR: "goes with its version",
    }.get(address.kind, "gone")
    if address.kind is Kind.ENV_VAR and address.names[:2] == stays and reason != DESTROYED:
        restarts = desired.stack.rollout.restart_on_env_change and desired.paused is None
        effect = "running instances are replaced" if restarts else "running instances keep it until they are replaced"
    path = () if reason == DESTROYED else spec_path(desired.stack, address)
    return Change(address=address, action="delete", reason=reason, effect=effect, source=desired.stack.source(*path))


_RENDERED = (Kind.ENVIRONMENT, Kind.ENVIRONMENT_TAG, Kind.PACKAGE)
"""What is made of many values."""
_IN_PLACE = "in place"


INSTANCES_REPLACED = "instances are replaced"
"""How the effect of a change ends that replaces instances; `plan.downtime` says how long nothing answers."""


_VERSION_EFFECTS: Mapping[str, str] = {
    "environment_name": INSTANCES_REPLACED,
    "environment_tag": INSTANCES_REPLACED,
    "instance_type_group_name": INSTANCES_REPLACED,
    "health_check": "in place; decides where the service routes",
    "command": INSTANCES_REPLACED,
    "args": INSTANCES_REPLACED,
    "instance_processes": INSTANCES_REPLACED,
}

_REPLACED: Mapping[Kind, str] = {
    Kind.DEPLOYMENT: "the endpoint is down until everything below it is made again; the service gets a new URL",
    Kind.SERVICE: "the endpoint gets a new URL",
    Kind.VERSION: "made again with its deployment",
    Kind.PACKAGE: "made again with its deployment",
}


def _effect(desired: Desired, address: Address, action: Action, fields: Sequence[FieldChange]) -> str:
    if action == "update" and _is_renamed(address, fields):
        what = "requests to its endpoint go on" if address.kind is Kind.SERVICE else _PATHS
        return f"renamed in place: its id stays; {what}"
    if action == "replace" and address.kind in _REPLACED:
        return _REPLACED[address.kind]
    is_new = action == "create"
    match address.kind:
        case Kind.ENVIRONMENT_TAG:
            return "environment build, 10 to 15 minutes"
        case Kind.PACKAGE:
            return f"first revision: {_first_start(desired)}" if is_new else f"new revision: {INSTANCES_REPLACED}"
        case Kind.ENV_VAR:
            return _env_var_effect(desired)
        case Kind.VERSION | Kind.SERVICE | Kind.DEPLOYMENT | Kind.ENVIRONMENT | Kind.INSTANCE_TYPE_GROUP if is_new:
            return "new"
        case Kind.VERSION:
            return _version_effect(fields)
        case Kind.SERVICE if not {item.path for item in fields}.isdisjoint(("version", "deployment")):
            return "in place: the endpoint keeps its URL and routes to the new version"
        case Kind.SERVICE | Kind.DEPLOYMENT | Kind.ENVIRONMENT | Kind.INSTANCE_TYPE_GROUP:
            return _IN_PLACE
        case _ as kind:
            assert_never(kind)


def _version_effect(fields: Sequence[FieldChange]) -> str:
    effects = {_VERSION_EFFECTS.get(item.path.split(".")[0], _IN_PLACE) for item in fields}
    return "; ".join(sorted(effects, reverse=True)) if len(effects) < 2 else INSTANCES_REPLACED


def _env_var_effect(desired: Desired) -> str:
    if desired.stack.rollout.restart_on_env_change and desired.paused is None:
        return "instances that start from then on see it; running ones are replaced, one after the other"
    return "instances that start from then on see it; running ones keep the old value"


def replaces_instances(change: Change) -> bool:
    """Whether UbiOps replaces the instances for this change of a version or a package."""
    if change.action in ("create", "replace"):
        return True
    if change.address.kind is Kind.PACKAGE:
        return change.action == "update"
    return any(_VERSION_EFFECTS.get(item.path.split(".")[0]) == INSTANCES_REPLACED for item in change.fields)


_PATHS = "request paths with the old name stop working"


def _is_renamed(address: Address, fields: Sequence[FieldChange]) -> bool:
    return address.kind in (Kind.DEPLOYMENT, Kind.VERSION, Kind.SERVICE) and any(
        item.path == name_field(address) and isinstance(item.before, str) for item in fields
    )


def _first_start(desired: Desired) -> str:
    """When instances start, by the minimum that the version will have: 0 while the stack is paused."""
    version = version_address(desired.stack.deployment.name, desired.stack.version.name)
    match desired.state[version].fields.get("minimum_instances"):
        case None:
            return "instances start as somebody else says"
        case 0:
            return "an instance starts on the first request"
        case 1:
            return "an instance starts at once"
        case minimum:
            return f"{minimum} instances start at once"
