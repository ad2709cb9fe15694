"""What UbiOps holds of one stack, in the shape of what is desired; `reading` makes it. Pure values."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, assert_never

from whisperctl.control.api import Json
from whisperctl.state.desired import Desired
from whisperctl.state.diff import is_trimmed
from whisperctl.state.inherited import Inherited
from whisperctl.state.labels import Labels
from whisperctl.state.resources import (
    Address,
    Kind,
    Masked,
    Resource,
    State,
    deployment_address,
    field_name,
    version_address,
)

ENVIRONMENT = "whisperctl"
"""The managed environment; `package.build_environment` names its tags."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Live:
    """What UbiOps holds of one stack. Raw objects as UbiOps told them, by address."""

    owned: Mapping[Address, Json]
    foreign: Mapping[Address, Json]
    """Desired names that are taken by objects without our label."""
    fingerprints: Mapping[Address, str]
    """Of every object that a plan is made from; a desired one that does not exist is `absent`."""
    unowned_versions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Deployment name -> versions in it that are not ours: such a deployment is not deleted."""
    copies: Mapping[Address, str] = field(default_factory=dict)
    """Objects that carry this stack's label and are nobody's all the same -> why."""
    used_by: Mapping[Address, Sequence[str]] = field(default_factory=dict)
    """Owned deployment or version -> services that are not ours and route to it: UbiOps does not delete it."""
    tag_status: str = ""
    """Status of the desired tag when it exists and is not available."""
    group_exists: bool = True
    """Whether a group of the desired name exists."""
    group_names: Sequence[str] = ()
    """All groups of the project, for the message when it does not."""
    renamed: Mapping[Address, Address] = field(default_factory=dict)
    """Objects that are listed under the name that they will have -> their names on UbiOps until then."""
    groups: Sequence[Json] = ()
    """All groups with their instance types, for what instances cost."""
    group_types: Sequence[Json] = ()
    """The instance types that the stack's group has, or will have."""
    missing_types: Sequence[str] = ()
    """Instance types that the file names and the project lacks."""
    inherited: Sequence[Inherited] = ()
    """Env vars of the deployment or the project that steer what runs in the desired version."""
    stacks: Mapping[str, str] = field(default_factory=dict)
    """Every stack that has a deployment in the project -> where it was applied from; empty where that is not known."""

    @property
    def state(self) -> State:
        """The owned objects in the shape of the desired ones."""
        return {
            address: Resource(address=address, fields=managed_fields(address, raw))
            for address, raw in self.owned.items()
        }

    @property
    def labels(self) -> dict[Address, Labels]:
        """The labels of each owned object."""
        return {address: Labels.of(raw) for address, raw in self.owned.items()}

    def versions(self, deployment: str) -> dict[str, Json]:
        """The owned versions in a deployment, by name."""
        owned = self.owned.items()
        return {a.names[1]: raw for a, raw in owned if a.kind is Kind.VERSION and a.names[0] == deployment}


def managed_fields(address: Address, raw: Json) -> dict[str, Any]:
    """`raw` in the shape of the desired fields of its kind."""
    match address.kind:
        case Kind.INSTANCE_TYPE_GROUP:
            return {"instance_types": {item["name"]: item for item in raw["instance_types"]}}
        case Kind.ENV_VAR if raw["secret"]:
            return {"value": Masked.SECRET, "secret": True}
        case (
            Kind.ENV_VAR
            | Kind.ENVIRONMENT
            | Kind.ENVIRONMENT_TAG
            | Kind.DEPLOYMENT
            | Kind.VERSION
            | Kind.PACKAGE
            | Kind.SERVICE
        ):
            return {**raw, "labels": Labels.of(raw).all}
        case _ as kind:
            assert_never(kind)


def is_proven(live: Live, deployment: str) -> bool:
    """Whether the last apply that had something to prove did so: until then the deployment has no digest label."""
    return Labels.of(live.owned.get(deployment_address(deployment))).digest is not None


def rendered_by(live: Live, deployment: str, version: str) -> str | None:
    """The version of this tool that rendered the package of a version; None where nothing of ours tells."""
    rendering = Labels.of(live.owned.get(version_address(deployment, version))).rendering
    if rendering is not None:
        return rendering.tool
    labels = Labels.of(live.owned.get(deployment_address(deployment)))
    return "0.1" if labels.is_of_first_version else labels.tool


def is_sealed(desired: Desired, live: Live) -> bool:
    """Whether the spec is the one that was last applied, to the end."""
    deployment = live.owned.get(deployment_address(desired.stack.deployment.name))
    return Labels.of(deployment).digest == desired.digest


def trims(desired: Desired, live: Live) -> frozenset[str]:
    """The fields (`field_name`) that UbiOps was seen to take white space off the ends of, as a label tells."""
    return Labels.of(live.owned.get(deployment_address(desired.stack.deployment.name))).trimmed


def trimming(desired: Desired, live: Live, left_out: Collection[Address]) -> frozenset[str]:
    """The same as it is seen now, right after an apply of all but `left_out`; of other fields what the label told."""
    state, seen = live.state, dict.fromkeys(trims(desired, live), True)
    for address, resource in desired.state.items():
        if address in state and address not in left_out:
            now = state[address].fields
            answers = {name: is_trimmed(now.get(name), text) for name, text in resource.fields.items()}
            seen |= {field_name(address, name): answer for name, answer in answers.items() if answer is not None}
    return frozenset(name for name, answer in seen.items() if answer)


LABELLED = (Kind.ENVIRONMENT, Kind.DEPLOYMENT, Kind.VERSION, Kind.SERVICE)
"""Kinds of object that carry labels."""


def lacks_ids(live: Live) -> bool:
    """Whether an owned object does not carry its own id yet: it was made by an earlier version of this tool."""
    return any(address.kind in LABELLED and Labels.of(raw).id is None for address, raw in live.owned.items())
