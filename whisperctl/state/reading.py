"""UbiOps → State: what the stacks own, what they want and find taken, and nothing else. Reads only.

Lists are read once for a project, details in parallel; the whole of an unchanged stack takes one round of requests.
Names that the spec gives are asked for directly, and only where the labels say that more is owned is it looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain

from whisperctl.control.api import Api, Json
from whisperctl.spec import Stack
from whisperctl.state.desired import Desired
from whisperctl.state.fingerprints import fingerprint
from whisperctl.state.group_types import declared_types, missing_types, project_types
from whisperctl.state.inherited import Inherited, inherited_variables, project_variables, to_be_inherited
from whisperctl.state.labels import Labels, new
from whisperctl.state.line import is_line
from whisperctl.state.live import ENVIRONMENT, Live
from whisperctl.state.ownership import SHARED, is_copy, is_made_by_us, owner
from whisperctl.state.resources import (
    IMMUTABLE,
    SERVICE_LIST_FIELDS,
    Address,
    Kind,
    deployment_address,
    env_var_address,
    environment_address,
    group_address,
    package_address,
    service_address,
    tag_address,
    version_address,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """The lists of a project, read once for all stacks."""

    deployments: Mapping[str, Json]
    services: Mapping[str, Json]
    groups: Sequence[Json]
    environment: Json | None
    tags: Mapping[str, Json]


def read_project(api: Api, pool: ThreadPoolExecutor, environments: bool) -> Callable[[], Project]:
    """Start reading the lists; call the result to wait for them. Without `environments` those stay empty."""
    deployments, services, groups = (pool.submit(read) for read in (api.deployments, api.services, api.groups))
    environment = pool.submit(api.environment, ENVIRONMENT) if environments else None
    tags = pool.submit(api.tags, ENVIRONMENT) if environments else None

    def wait() -> Project:
        return Project(
            deployments={item["name"]: item for item in deployments.result()},
            services={item["name"]: item for item in services.result()},
            groups=groups.result(),
            environment=environment.result() if environment else None,
            tags={item["name"]: item for item in (tags.result() if tags else None) or []},
        )

    return wait


def read_live(api: Api, desired: Sequence[Desired], parallelism: int, destroy: bool = False) -> list[Live]:
    """The live side of each stack, in their order; `parallelism` requests at a time at most.

    With `destroy` every version of a deployment is looked at: deleting it would delete those of others too.

    Raises:
        ApiError: UbiOps could not be read.
    """
    with ThreadPoolExecutor(parallelism) as pool:
        waiting = read_project(api, pool, environments=True)
        # The details of what the spec names are asked for at once, without waiting for the lists: one round trip.
        versions = [pool.submit(api.version, w.stack.deployment.name, w.stack.version.name) for w in desired]
        env_vars = [pool.submit(api.env_vars, w.stack.deployment.name, w.stack.version.name) for w in desired]
        details = [{name: pool.submit(api.find_service, name) for name in _services_to_detail(w)} for w in desired]
        project = waiting()
        named = [
            _Named(
                version=version.result(),
                env_vars=variables.result(),
                services={name: answer.result() for name, answer in services.items()},
            )
            for version, variables, services in zip(versions, env_vars, details, strict=True)
        ]
        groups = [w.stack.instance_type_group for w in desired]
        more = _More(
            variables=project_variables(api) if any(each.version is None for each in named) else (),
            types=project_types(api, project.groups, groups),
        )
        return list(
            pool.map(
                lambda pair: _live(api, project, pair[0], pair[1], destroy, more), zip(desired, named, strict=True)
            )
        )


def beside_another(live: Live, desired: Desired) -> Live:
    """The same objects, of which another state is wanted: one with another of the versions that were looked at."""
    return replace(live, fingerprints=_fingerprints(desired, live.owned))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Named:
    """The details of the objects that a spec names."""

    version: Json | None
    env_vars: Sequence[Json]
    services: Mapping[str, Json | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class _More:
    """Lists of the project that only a stack that is new, or whose group is, needs; else empty."""

    variables: Sequence[Json]
    types: Sequence[Json]


def _services_to_detail(desired: Desired) -> list[str]:
    """The services whose list entry does not tell every desired field."""
    return [
        address.names[0]
        for address, resource in desired.state.items()
        if address.kind is Kind.SERVICE and not SERVICE_LIST_FIELDS.issuperset(resource.fields)
    ]


def _live(api: Api, project: Project, desired: Desired, named: _Named, destroy: bool, more: _More) -> Live:
    stack = desired.stack
    deployments = _deployments(project, stack)
    objects, unowned = dict(deployments), dict[str, list[str]]()
    for raw in deployments.values():
        if owner(raw) in stack.owners:
            doomed = destroy or _is_fixed_otherwise(raw, desired)
            objects |= _versions(api, raw, stack, named, unowned, doomed)
    objects |= _services(api, project, stack, named)
    owned, foreign = _parted(objects, lambda raw: owner(raw) in stack.owners)
    for address, raw in tuple(owned.items()):
        if address.kind is Kind.VERSION and "health_check" in raw:  # the list of versions does not tell it
            ours, theirs = _env_vars(api, address, raw, stack, named)
            owned |= ours | _package(address, raw)
            foreign |= theirs
    group_owned, group_foreign, group_exists = _groups(project, desired, owned)
    environment_owned, environment_foreign, tag_status = _environment(project, desired)
    owned |= group_owned | environment_owned
    foreign |= group_foreign | environment_foreign
    return Live(
        owned=owned,
        foreign={address: raw for address, raw in foreign.items() if address in desired.state},
        fingerprints=_fingerprints(desired, owned),
        unowned_versions=unowned,
        copies=_copies(project, stack),
        used_by=_used_by(project, stack, owned),
        tag_status=tag_status,
        group_exists=group_exists,
        group_names=[group["name"] for group in project.groups],
        groups=project.groups,
        group_types=declared_types(project.groups, more.types, stack.instance_type_group),
        missing_types=missing_types(project.groups, more.types, stack.instance_type_group),
        inherited=_inherited(api, project, stack, named, more.variables),
        stacks=_stacks(project),
    )


def _stacks(project: Project) -> dict[str, str]:
    """Every stack that has a deployment in the project -> where it was applied from."""
    ours = [raw for raw in project.deployments.values() if owner(raw) and is_made_by_us(raw)]
    return {str(owner(raw)): Labels.of(raw).origin or "" for raw in ours}


def _parted(
    objects: Mapping[Address, Json], is_ours: Callable[[Json], bool]
) -> tuple[dict[Address, Json], dict[Address, Json]]:
    """The stack's own objects, and the others."""
    owned = {address: raw for address, raw in objects.items() if is_ours(raw)}
    return owned, {address: raw for address, raw in objects.items() if address not in owned}


def _deployments(project: Project, stack: Stack) -> dict[Address, Json]:
    return {
        deployment_address(name): raw
        for name, raw in project.deployments.items()
        if name == stack.deployment.name or _is_ours(raw, stack)
    }


def _is_ours(raw: Json, stack: Stack) -> bool:
    """Whether an object that the file does not name is the stack's."""
    return owner(raw) in stack.owners and is_made_by_us(raw)


def _copies(project: Project, stack: Stack) -> dict[Address, str]:
    """What only looks like the stack's."""
    named = {deployment_address(stack.deployment.name), *(service_address(service.name) for service in stack.services)}
    objects = {deployment_address(name): raw for name, raw in project.deployments.items()}
    objects |= {service_address(name): raw for name, raw in project.services.items()}
    copied, unproven = "its labels were copied from another object", "no label shows that whisperctl made it"
    return {
        address: copied if is_copy(raw) else unproven
        for address, raw in objects.items()
        if Labels.of(raw).owner in stack.owners and (is_copy(raw) or not (address in named or is_made_by_us(raw)))
    }


def _is_fixed_otherwise(deployment: Json, desired: Desired) -> bool:
    """Whether the deployment must be replaced, because what cannot be changed differs."""
    resource = desired.state.get(deployment_address(deployment["name"]))
    fields = resource.fields if resource else {}
    return any(name in fields and deployment.get(name) != fields[name] for name in IMMUTABLE[Kind.DEPLOYMENT])


def _versions(
    api: Api, deployment: Json, stack: Stack, named: _Named, unowned: dict[str, list[str]], doomed: bool
) -> dict[Address, Json]:
    """The stack's versions in one deployment; all are looked at unless its label says that there is only the one."""
    name = deployment["name"]
    desired = stack.version.name if name == stack.deployment.name else None
    versions = {version_address(name, desired): named.version} if desired and named.version else {}
    line = desired is not None and is_line(stack)
    if not (doomed or desired is None or line) and Labels.of(deployment).version == desired:
        return versions
    # Of versions that only sleep for a rollback the list tells enough.
    asleep = line and not doomed and bool(versions)
    for item in api.versions(name):
        other = item["version"]
        if other == desired:
            is_ours = owner(item) in stack.owners
        elif is_ours := _is_ours(item, stack):
            detail = item if asleep else api.version(name, other)
            versions |= {version_address(name, other): detail} if detail else {}
        if not is_ours:
            unowned.setdefault(name, []).append(other)
    return versions


def _services(api: Api, project: Project, stack: Stack, named: _Named) -> dict[Address, Json]:
    desired = {service.name for service in stack.services}
    services = {}
    for name, raw in project.services.items():
        if name in desired or _is_ours(raw, stack):
            detail = named.services.get(name)
            if detail is None and name in desired and not SERVICE_LIST_FIELDS.issuperset(Labels.of(raw).tracked_fields):
                # It has left the spec and goes back to its default: the list does not tell what it is now.
                detail = api.find_service(name)
            services[service_address(name)] = detail or raw
    return services


def _used_by(project: Project, stack: Stack, owned: Mapping[Address, Json]) -> dict[Address, list[str]]:
    services: dict[Address, list[str]] = {}
    for name, raw in sorted(project.services.items()):
        if owner(raw) in stack.owners or not raw.get("deployment"):
            continue
        used = [deployment_address(raw["deployment"])]
        used += [version_address(raw["deployment"], raw["version"])] if raw.get("version") else []
        for address in used:
            if address in owned:
                services.setdefault(address, []).append(name)
    return services


def _env_vars(
    api: Api, version: Address, raw: Json, stack: Stack, named: _Named
) -> tuple[dict[Address, Json], dict[Address, Json]]:
    if version.names == (stack.deployment.name, stack.version.name):
        items = named.env_vars
    else:
        items = api.env_vars(*version.names)
    own = Labels.of(raw).env_names
    own_items = (item for item in items if not item.get("inheritance_type"))
    variables = {env_var_address(version.names[0], version.names[1], item["name"]): item for item in own_items}
    return _parted(variables, lambda item: item["name"] in own)


def _inherited(
    api: Api, project: Project, stack: Stack, named: _Named, variables: Sequence[Json]
) -> tuple[Inherited, ...]:
    """Those that the file does not set either: it would hide them."""
    name, own = stack.deployment.name, {var.name for var in stack.env}
    if named.version is not None:
        inherited = inherited_variables(named.env_vars)
    else:
        inherited = to_be_inherited(api, name if name in project.deployments else None, variables)
    return tuple(var for var in inherited if var.name not in own)


def _package(version: Address, raw: Json) -> dict[Address, Json]:
    """The package that serves: ours by its digest, or somebody's revision; nothing before the first success."""
    if not raw.get("active_revision"):
        return {}
    labels = Labels.of(raw)
    recorded = labels.revisions
    ours = recorded and recorded[0].revision == raw["active_revision"] and labels.digest
    digest = recorded[0].digest if ours else f"revision {raw['active_revision']}, not uploaded by whisperctl"
    return {package_address(*version.names): {"digest": digest, "revision": raw["active_revision"]}}


def _groups(
    project: Project, desired: Desired, owned: Mapping[Address, Json]
) -> tuple[dict[Address, Json], dict[Address, Json], bool]:
    """The managed groups that the deployments' labels name, foreign ones of the desired name, and whether it exists."""
    group = desired.stack.instance_type_group
    labels = [Labels.of(raw) for address, raw in owned.items() if address.kind is Kind.DEPLOYMENT]
    ids, begun = set(chain(*(each.group_ids for each in labels))), set(chain(*(each.groups_begun for each in labels)))
    ours = {group_address(raw["name"]): raw for raw in project.groups if raw["name"] in begun}
    ours |= {group_address(raw["name"]): raw for raw in project.groups if raw["id"] in ids}
    same = [raw for raw in project.groups if raw["name"] == group.name]
    taken = group.instance_types and same and group_address(group.name) not in ours
    foreign = {group_address(group.name): _with_its_owner(project, same[0])} if taken else {}
    return ours, foreign, bool(same)


def _with_its_owner(project: Project, group: Json) -> Json:
    """A group carries no labels: for a message, it gets the owner's of the deployment that it goes with."""
    owners = (raw for raw in project.deployments.values() if group["id"] in Labels.of(raw).group_ids)
    return group | {"labels": new(owner=owner(next(owners, None)))}


def _environment(project: Project, desired: Desired) -> tuple[dict[Address, Json], dict[Address, Json], str]:
    build = desired.build
    if build is None or project.environment is None:
        return {}, {}, ""
    address = environment_address(build.name)
    if owner(project.environment) != SHARED:
        return {}, {address: project.environment}, ""
    owned = {address: project.environment}
    tag = project.tags.get(build.tag)
    if tag is not None and tag["status"] == "available":
        owned[tag_address(build.name, build.tag)] = tag
    return owned, {}, tag["status"] if tag is not None and tag["status"] != "available" else ""


def _fingerprints(desired: Desired, owned: Mapping[Address, Json]) -> dict[Address, str]:
    absent = {address: "absent" for address in desired.state if address not in owned}
    return absent | {address: fingerprint(address, raw, desired.state) for address, raw in owned.items()}
