"""Stack × package → the state that the spec wants, in UbiOps' terms. Pure.

`resolve` then takes in what only the live side can say: which secrets are unchanged, what a pause holds back, and which
fields and labels left the spec and go back to UbiOps' defaults. Nothing here may read or write anything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, assert_never

from whisperctl.package.build import EnvironmentBuild, Package
from whisperctl.spec import Path_, Service, Stack
from whisperctl.state import secret
from whisperctl.state.ignored import ignored_paths, without
from whisperctl.state.labels import Labels
from whisperctl.state.resources import (
    SERVER_DEFAULTS,
    Address,
    Kind,
    Masked,
    Resource,
    State,
    deployment_address,
    env_var_address,
    environment_address,
    group_address,
    package_address,
    service_address,
    tag_address,
    version_address,
)

ENVIRONMENT_DESCRIPTION = "Python environments of the stacks of this project, one tag for each content"


@dataclass(frozen=True, kw_only=True, slots=True)
class Desired:
    """One stack with what was rendered from it, as the state it wants."""

    stack: Stack
    package: Package
    build: EnvironmentBuild | None
    state: State
    declared: State
    """The state as the spec alone gives it, before `resolve`."""
    digest: str
    """What the deployment's digest label says once all of this is reached and proven: 32 hex digits."""
    paused: int | None = None
    """minimum_instances that `resume` puts back, as the label of a pause says it; None when the stack is awake."""

    @property
    def keeps_package(self) -> bool:
        """Whether the package that runs stays although this version renders another one (`plan.takeover`)."""
        address = package_address(self.stack.deployment.name, self.stack.version.name)
        return bool(self.state[address].fields["digest"] != self.package.digest)


def desired_state(stack: Stack, package: Package, build: EnvironmentBuild | None) -> Desired:
    """The state that `stack` wants, every managed field present."""
    made = _resources(stack, package, build)
    state = {item.address: replace(item, ignored=ignored_paths(stack, item.address)) for item in made}
    return Desired(stack=stack, package=package, build=build, state=state, declared=state, digest=digest_of(state))


def digest_of(state: State) -> str:
    """32 hex digits over the fields of every resource; a secret counts by its name only."""
    content = {str(address): resource.fields for address, resource in sorted(state.items())}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _resources(stack: Stack, package: Package, build: EnvironmentBuild | None) -> Iterator[Resource]:
    deployment, version = stack.deployment, stack.version
    if stack.instance_type_group.instance_types:
        yield _group(stack)
    if build:
        yield Resource(address=environment_address(build.name), fields={"description": ENVIRONMENT_DESCRIPTION})
        yield Resource(address=tag_address(build.name, build.tag), fields=_tag_fields(build))
    yield Resource(
        address=deployment_address(deployment.name),
        fields={
            "description": deployment.description,
            "input_type": deployment.input_type,
            "output_type": deployment.output_type,
            "labels": dict(deployment.labels),
        },
    )
    yield Resource(
        address=version_address(deployment.name, version.name),
        fields={
            **version.fields,
            "labels": dict(version.labels),
            **_environment_of(stack, build),
            "instance_type_group_name": stack.instance_type_group.name,
        },
    )
    for variable in stack.env:
        yield Resource(
            address=env_var_address(deployment.name, version.name, variable.name),
            fields={"value": Masked.SECRET if variable.secret else variable.value, "secret": variable.secret},
        )
    yield Resource(address=package_address(deployment.name, version.name), fields={"digest": package.digest})
    for service in stack.services:
        yield _service(stack, service)


def _group(stack: Stack) -> Resource:
    choices: dict[str, dict[str, Any]] = {}
    for position, choice in enumerate(stack.instance_type_group.instance_types):
        fields: dict[str, Any] = {"priority": position if choice.priority is None else choice.priority}
        if choice.schedule_timeout is not None:
            fields["schedule_timeout"] = choice.schedule_timeout
        choices[choice.name] = fields
    return Resource(address=group_address(stack.instance_type_group.name), fields={"instance_types": choices})


def _tag_fields(build: EnvironmentBuild) -> dict[str, Any]:
    fields = {"base_environment_name": build.base_name}
    return fields | {"base_environment_tag": build.base_tag} if build.base_tag else fields


def _environment_of(stack: Stack, build: EnvironmentBuild | None) -> dict[str, Any]:
    if build:
        return {"environment_name": build.name, "environment_tag": build.tag}
    fields: dict[str, Any] = {"environment_name": stack.environment.base_name}
    return fields | {"environment_tag": stack.environment.base_tag} if stack.environment.base_tag else fields


def _service(stack: Stack, service: Service) -> Resource:
    return Resource(
        address=service_address(service.name),
        fields={
            **service.fields,
            "deployment": stack.deployment.name,
            "version": stack.version.name,
            "labels": dict(service.labels),
        },
    )


def resolve(desired: Desired, live_labels: Mapping[Address, Labels]) -> Desired:
    """`desired` with what the live objects' own labels decide; `live_labels` are those of each owned object."""
    stack = desired.stack
    version = version_address(stack.deployment.name, stack.version.name)
    fingerprints = live_labels.get(version, Labels({})).secrets
    paused = _pause(stack, live_labels)
    state = dict(desired.state)
    for address, resource in desired.state.items():
        fields = _with_left(resource, live_labels.get(address, Labels({})))
        if address == version and paused is not None:
            fields["minimum_instances"] = 0
        if resource.ignored and address in live_labels:
            fields = without(fields, resource.ignored)
        state[address] = replace(resource, fields=fields)
    for variable in stack.env:
        address = env_var_address(stack.deployment.name, stack.version.name, variable.name)
        # Without a fingerprint nobody knows what was set: an apply was cut off, or somebody else set it.
        written = fingerprints.get(variable.name, "")
        is_ours_to_set = address in live_labels and () not in state[address].ignored
        if variable.secret and is_ours_to_set and not secret.matches(variable.value, written):
            state[address] = replace(state[address], fields={"value": Masked.SECRET_CHANGED, "secret": True})
    return replace(desired, state=state, paused=paused)


def _pause(stack: Stack, live_labels: Mapping[Address, Labels]) -> int | None:
    """The label of the pause that the stack is in: its version's own, or of those whose place a new version takes."""
    versions = {address: labels for address, labels in live_labels.items() if address.kind is Kind.VERSION}
    if stack.rollout.strategy == "blue_green":
        # Of a line the version that serves is paused; earlier ones sleep without a pause.
        return next((labels.paused_minimum for labels in versions.values() if labels.paused_minimum is not None), None)
    version = version_address(stack.deployment.name, stack.version.name)
    asked = [versions[version]] if version in versions else list(versions.values())
    pauses = [labels.paused_minimum for labels in asked]
    # One that is awake outweighs the others: they are what is left of a renaming that did not get to its end.
    return pauses[0] if pauses and None not in pauses else None


def _with_left(resource: Resource, labels: Labels) -> dict[str, Any]:
    """The wanted fields, and those that we set once and want no more: with UbiOps' defaults; labels with None."""
    defaults = SERVER_DEFAULTS.get(resource.address.kind, {})
    left_names = [name for name in labels.tracked if name in defaults and name not in resource.fields]
    fields = {**{name: defaults[name] for name in left_names}, **resource.fields}
    if "labels" in fields:
        left = sorted(labels.tracked_labels - fields["labels"].keys())
        fields["labels"] = {**dict.fromkeys(left), **fields["labels"]}
    return fields


def tracked_names(resource: Resource) -> list[str]:
    """What the object's label remembers that we set: optional fields by name, the user's labels as `labels.NAME`."""
    defaults = SERVER_DEFAULTS.get(resource.address.kind, {})
    names = [name for name in resource.fields if name in defaults]
    names += [f"labels.{name}" for name, text in resource.fields.get("labels", {}).items() if text is not None]
    return sorted(names)


def spec_path(stack: Stack, address: Address, field: str = "") -> Path_:
    """Where the value behind `field` of `address` stands in the stack file."""
    parts = (
        tuple(field.split(".", 1)) if field.startswith("labels.") else tuple(part for part in field.split(".") if part)
    )
    match address.kind:
        case Kind.INSTANCE_TYPE_GROUP:
            return ("instance_type_group", *parts)
        case Kind.ENVIRONMENT | Kind.ENVIRONMENT_TAG:
            return ("environment",) if ("environment",) in stack.marks else ("vllm", "version")
        case Kind.DEPLOYMENT:
            return ("deployment", *parts)
        case Kind.VERSION if field == "instance_type_group_name":
            return ("instance_type_group", "name")
        case Kind.VERSION if field in ("environment_name", "environment_tag"):
            return spec_path(stack, Address(Kind.ENVIRONMENT, ()))
        case Kind.VERSION:
            return ("version", *parts)
        case Kind.ENV_VAR:
            return ("env", address.names[2])
        case Kind.PACKAGE:
            return ("model",)
        case Kind.SERVICE:
            return _service_path(stack, address.names[0], parts)
        case kind:
            assert_never(kind)


def _service_path(stack: Stack, name: str, parts: Path_) -> Path_:
    for position, service in enumerate(stack.services):
        if service.name == name and ("service", position) in stack.marks:
            return ("service", position, *parts)
    return ("service", *parts)
