"""Taking over objects that nobody owns: which ones match the stack's names, and the labels that make them its own.

Adopting writes labels and nothing else, merged with those that are there. What differs from the spec afterwards is
the plan's business. A secret's value cannot be read, so an adopted one counts as changed until the first apply.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from whisperctl.apply.fresh import change_now
from whisperctl.apply.lease import Lease
from whisperctl.apply.renewals import leased
from whisperctl.clock import StoppableClock
from whisperctl.control.api import Api, Json
from whisperctl.errors import NotOwned, StalePlan
from whisperctl.package.build import build_environment, build_package
from whisperctl.spec import Stack
from whisperctl.state.desired import Desired, desired_state, tracked_names
from whisperctl.state.label_text import merged
from whisperctl.state.labels import Changes, Labels
from whisperctl.state.live import LABELLED
from whisperctl.state.objects import access
from whisperctl.state.ownership import SHARED, owner
from whisperctl.state.resources import Address, Kind, deployment_address, env_var_address, group_address

UNKNOWN = "adopted"
"""In place of a secret's fingerprint: matches no value, so that the next apply sets the secret."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Takeover:
    """One object that carries labels, and those that will be written on it."""

    address: Address
    labels: Mapping[str, str]
    before: Labels
    """All its labels as they are."""
    along: Sequence[Address] = ()
    """What carries no labels and comes with it: env vars with the version, a group with the deployment."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Adoption:
    """What adopting means for one stack."""

    stack: Stack
    takeovers: Sequence[Takeover]
    owned: Sequence[Address] = ()
    """Desired and the stack's own already."""
    missing: Sequence[Address] = ()
    """Desired and not there: apply makes them."""
    strangers: Sequence[str] = ()
    """Versions of the deployment that the spec does not name: they stay nobody's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Existing:
    """The live objects of the desired names."""

    raws: Mapping[Address, Json]
    env_vars: Sequence[str]
    """Names of the desired env vars that exist on the version itself."""
    group: str
    """Id of the desired managed group; empty without one."""
    strangers: Sequence[str]


def plan_adoption(api: Api, stack: Stack) -> Adoption:
    """What would be taken over.

    Raises:
        NotOwned: an object of a desired name belongs to another stack.
    """
    desired = desired_state(stack, build_package(stack), build_environment(stack))
    existing = _look(api, desired)
    _refuse_owned_elsewhere(api, stack, existing)
    takeovers = [t for t in (_takeover(desired, existing, address) for address in sorted(existing.raws)) if t.labels]
    taken = {takeover.address for takeover in takeovers}
    return Adoption(
        stack=stack,
        takeovers=takeovers,
        owned=[address for address in sorted(existing.raws) if address not in taken],
        missing=[a for a in sorted(desired.state) if a.kind in LABELLED and a not in existing.raws],
        strangers=existing.strangers,
    )


def _look(api: Api, desired: Desired) -> _Existing:
    stack = desired.stack
    names = (stack.deployment.name, stack.version.name)
    raws = {address: _read(api, address) for address in desired.state if address.kind in LABELLED}
    declared = {variable.name for variable in stack.env}
    own = {item["name"] for item in api.env_vars(*names) if not item.get("inheritance_type")}
    return _Existing(
        raws={address: raw for address, raw in raws.items() if raw is not None},
        env_vars=sorted(own & declared),
        group=_group_id(api, desired),
        strangers=sorted({raw["version"] for raw in api.versions(names[0])} - {names[1]}),
    )


def _read(api: Api, address: Address) -> Json | None:
    calls = access(api, address)
    return calls.read() if calls else None


def _group_id(api: Api, desired: Desired) -> str:
    """Of the group of the desired name; empty where none is there, or the stack manages none."""
    if group_address(desired.stack.instance_type_group.name) not in desired.state:
        return ""
    return next((str(raw["id"]) for raw in api.groups() if raw["name"] == desired.stack.instance_type_group.name), "")


def _refuse_owned_elsewhere(api: Api, stack: Stack, existing: _Existing) -> None:
    lines = []
    for address, raw in sorted(existing.raws.items()):
        mine = SHARED if address.kind is Kind.ENVIRONMENT else stack.name
        if owner(raw) not in (None, mine):
            lines.append(f"{address} belongs to the stack {owner(raw)!r}.")
    if existing.group:
        for deployment in api.deployments():
            if existing.group in Labels.of(deployment).group_ids and owner(deployment) not in (None, stack.name):
                group = group_address(stack.instance_type_group.name)
                lines.append(f"{group} belongs to the stack {owner(deployment)!r}.")
    if lines:
        lines.append("  Nothing was changed: what another stack owns cannot be adopted. Choose other names.")
        raise NotOwned("\n".join(lines))


def _takeover(desired: Desired, existing: _Existing, address: Address) -> Takeover:
    """The labels that `address` still lacks; none when it is ours in every respect."""
    before = Labels.of(existing.raws[address])
    changes = _owners_labels(desired, existing, address)
    along: list[Address] = []
    if address.kind is Kind.DEPLOYMENT and existing.group and existing.group not in before.group_ids:
        changes["group_ids"] = [*before.group_ids, existing.group]
        along = [group_address(desired.stack.instance_type_group.name)]
    new_names = [name for name in existing.env_vars if name not in before.env_names]
    if address.kind is Kind.VERSION and new_names:
        secret = {variable.name for variable in desired.stack.env if variable.secret}
        changes["env_names"] = [*before.env_names, *new_names]
        changes["secrets"] = before.secrets | dict.fromkeys(secret.intersection(new_names), UNKNOWN)
        along = [env_var_address(address.names[0], address.names[1], name) for name in new_names]
    written = before.written(**changes)
    labels = {name: text for name, text in written.items() if before.all.get(name) != text}
    return Takeover(address=address, labels=labels, before=before, along=along)


def _owners_labels(desired: Desired, existing: _Existing, address: Address) -> Changes:
    """Those of whose an object is; none where it has an owner."""
    raw = existing.raws[address]
    if owner(raw) is not None:
        return {}
    if address.kind is Kind.ENVIRONMENT:
        return {"owner": SHARED, "id": raw["id"]}
    return {"owner": desired.stack.name, "id": raw["id"], "tracked": tracked_names(desired.state[address])}


def adopt(api: Api, adoption: Adoption, clock: StoppableClock, say: Callable[[str], None]) -> None:
    """Write the labels, the deployment's first: what belongs to it is found through it.

    Raises:
        StalePlan: an object disappeared since it was shown, or somebody else wrote labels of ours on it.
    """
    stack = adoption.stack
    order = (Kind.DEPLOYMENT, Kind.VERSION, Kind.SERVICE, Kind.ENVIRONMENT)
    takeovers = sorted(adoption.takeovers, key=lambda takeover: order.index(takeover.address.kind))
    deployment = deployment_address(stack.deployment.name)
    there = deployment not in adoption.missing
    if not there:
        for takeover in takeovers:
            _write(api, takeover)
        return
    with leased(api, stack.deployment.name, clock, say) as lease:
        for takeover in takeovers:
            _write(lease.api, takeover, lease if takeover.address == deployment else None)


def _write(api: Api, takeover: Takeover, lease: Lease | None = None) -> None:
    """Write the labels; `lease` is the one that stands among them."""
    if lease is None:
        change_now(api, takeover.address, lambda raw: _to_write(takeover, raw))
        return
    raw = _read(api, takeover.address)
    if body := _to_write(takeover, raw):
        lease.update(raw or {}, body)


def _to_write(takeover: Takeover, raw: Json | None) -> Json:
    """The body that writes the labels on the object, which is `raw` now; empty where all are there.

    Raises:
        StalePlan: it disappeared since it was shown, or somebody else wrote one of these labels.
    """
    now = Labels.of(raw)
    if raw is None or _has_changed(takeover, now):
        how = "changed" if raw else "disappeared"
        raise StalePlan(f"{takeover.address} {how} meanwhile.\n  Run adopt again.")
    labels = merged(now.all, takeover.labels)
    return {"labels": labels} if labels != now.all else {}


def _has_changed(takeover: Takeover, now: Labels) -> bool:
    """Whether the owner, or a label that is to be written, is neither as it was shown nor as it is to be."""
    before, labels = takeover.before, takeover.labels
    if now.owner not in (before.owner, Labels(labels).owner):
        return True
    return any(now.all.get(name) not in (before.all.get(name), text) for name, text in labels.items())
