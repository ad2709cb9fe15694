"""Stacks, and what UbiOps holds of them, as literals: the pure core is tested without a file and without a socket."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import count
from typing import Any

from whisperctl.control.api import Json
from whisperctl.package.build import EnvironmentBuild, Package
from whisperctl.plan.operations import Operation
from whisperctl.plan.plan import Plan, make_plan
from whisperctl.plan.selection import Selection
from whisperctl.spec import (
    Deployment,
    Environment,
    EnvVar,
    InstanceTypeChoice,
    InstanceTypeGroup,
    Model,
    Moved,
    Rollout,
    Service,
    Stack,
    Version,
    Vllm,
)
from whisperctl.state import secret
from whisperctl.state.desired import Desired, desired_state, resolve
from whisperctl.state.fingerprints import fingerprint
from whisperctl.state.labels import Labels, new
from whisperctl.state.line import is_line, named
from whisperctl.state.live import Live
from whisperctl.state.ownership import SHARED
from whisperctl.state.records import RolloutRecord, RolloutState
from whisperctl.state.resources import Address, Kind, Masked, deployment_address, version_address

CHECK = {"port": 8080, "path": "/health", "interval": 30, "timeout": 5, "failure_threshold": 3}
NOTHING_MOVED = Moved()
FIELDS = {"minimum_instances": 1, "maximum_instances": 2, "maximum_idle_time": 900, "health_check": CHECK}


def stack(
    name: str = "alpha",
    *,
    deployment: str = "speech",
    version: str = "v1",
    group: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    services: Sequence[str] = ("door",),
    protect: bool = False,
    input_type: str = "plain",
    description: str = "",
    moved: Moved = NOTHING_MOVED,
    **fields: Any,
) -> Stack:
    """A stack with these names; `fields` are of its version, `group` the types of a managed group."""
    variables = [EnvVar(name=key, value=value, secret=False) for key, value in (env or {}).items()]
    variables += [EnvVar(name=key, value=value, secret=True) for key, value in (secrets or {}).items()]
    return Stack(
        name=name,
        file="stack.yaml",
        project=None,
        model=Model(
            name="openai/whisper-small", folder=None, revision="a" * 40, task="transcription", served_name="whisper"
        ),
        vllm=Vllm(
            version="0.24.0",
            dtype="auto",
            max_model_len=448,
            gpu_memory_utilization=0.9,
            tensor_parallel_size=1,
            api_server_count="auto",
            max_num_seqs="auto",
            max_num_batched_tokens="auto",
            startup_timeout=1800,
            allow_unlisted=False,
            args={},
        ),
        environment=Environment(mode="managed", base_name="base", base_tag=None, requirements=(), apt=()),
        deployment=Deployment(
            name=deployment, description=description, input_type=input_type, output_type="plain", labels={}
        ),
        instance_type_group=InstanceTypeGroup(
            name=f"{deployment}-group" if group else "T4",
            gpu="T4",
            gpu_count=1,
            instance_types=tuple(InstanceTypeChoice(name=t, priority=None, schedule_timeout=None) for t in group),
        ),
        version=Version(name=version, labels={}, fields={**FIELDS, **fields}),
        env=tuple(variables),
        services=tuple(
            Service(name=name, labels={}, fields={"port": 8080, "authentication_required": True}) for name in services
        ),
        rollout=Rollout(strategy="in_place", timeout=60, smokes=()),
        protect=protect,
        moved=moved,
        marks={},
    )


def line(version: str = "v1-00000001", *, keep: int = 1, **more: Any) -> Stack:
    """A stack whose version is this one of a line; `more` is what `stack` takes."""
    made = stack(**more)
    return named(replace(made, rollout=replace(made.rollout, strategy="blue_green", keep=keep)), version)


def desired(of: Stack, *, code: str = "one", tag: str = "vllm-1") -> Desired:
    """What the stack wants, with a package of this code and an environment tag of this name."""
    build = EnvironmentBuild(name="whisperctl", tag=tag, base_name="base", base_tag=None, files={}, digest=tag)
    return desired_state(of, Package(files={"deployment.py": code.encode()}), build)


NOTHING = Live(owned={}, foreign={}, fingerprints={})


def applied(what: Desired, *, proven: bool = True, sealed: bool = True) -> Live:
    """What UbiOps holds once all of it was applied.

    Without `proven` the probe is missing, without `sealed` the file has changed in what is no change on UbiOps.
    """
    owned = {address: _raw(what, address) for address in what.state}
    deployment = deployment_address(what.stack.deployment.name)
    digest = (what.digest if sealed else "another") if proven else None
    owned[deployment] = relabelled(owned[deployment], digest=digest)
    return live(owned)


def live(owned: Mapping[Address, Json], **more: Any) -> Live:
    """What UbiOps holds: these objects."""
    return Live(owned=owned, foreign={}, fingerprints={a: fingerprint(a, raw, {}) for a, raw in owned.items()}, **more)


def relabelled(raw: Json, **changes: Any) -> Json:
    """An object with changed labels of ours."""
    return {**raw, "labels": Labels.of(raw).written(**changes)}


def without(state: Live, *addresses: Address) -> Live:
    """The same, less these objects."""
    return replace(state, owned={a: raw for a, raw in state.owned.items() if a not in addresses})


def changed(state: Live, address: Address, **fields: Any) -> Live:
    """The same, with these fields of one object set by somebody."""
    return replace(state, owned={**state.owned, address: {**state.owned[address], **fields}})


def with_rollout(state: Live, version: str, is_now: RolloutState, *, deployment: str = "speech", **record: Any) -> Live:
    """The same, with the record of a rollout on one version."""
    address = version_address(deployment, version)
    record = {"at": "2026-11-29T00:00:00Z", **record}
    made = RolloutRecord(state=is_now, **record)
    return live({**state.owned, address: relabelled(state.owned[address], rollout=made)})


def with_version(state: Live, version: str, is_now: RolloutState, *, deployment: str = "speech", **record: Any) -> Live:
    """The same, with another version of the line that came so far, asleep with its package."""
    asleep = applied(desired(line(version, deployment=deployment, minimum_instances=0))).owned.items()
    owned = {a: {**raw, "default": False} for a, raw in asleep if a.kind in (Kind.VERSION, Kind.PACKAGE)}
    return with_rollout(live({**state.owned, **owned}), version, is_now, deployment=deployment, **record)


@cache
def _fingerprint(value: str) -> str:
    """Slow by intention: made once for each value."""
    return secret.fingerprint(value)


def _raw(what: Desired, address: Address) -> Json:
    fields = dict(what.state[address].fields)
    stack_name = what.stack.name
    match address.kind:
        case Kind.INSTANCE_TYPE_GROUP:
            types = [{"name": name, **choice} for name, choice in fields["instance_types"].items()]
            return {"id": "g1", "name": address.names[0], "instance_types": types}
        case Kind.ENV_VAR:
            value = None if isinstance(fields["value"], Masked) else fields["value"]
            return {"id": "e1", "name": address.names[2], "value": value, "secret": fields["secret"]}
        case Kind.ENVIRONMENT:
            return {"id": "n1", **fields, "labels": new(owner=SHARED, id="n1")}
        case Kind.ENVIRONMENT_TAG:
            return {"id": "t1", **fields, "status": "available"}
        case Kind.PACKAGE:
            return {"id": "p1", **fields}
        case Kind.VERSION:
            secrets = {v.name: _fingerprint(v.value) for v in what.stack.env if v.secret}
            labels = new(owner=stack_name, id="v1", env_names=[v.name for v in what.stack.env], secrets=secrets)
            raw = {"id": "v1", **fields, "labels": labels}
            if not is_line(what.stack):
                return raw
            served = RolloutRecord(state="served", at="2026-11-29T00:00:00Z")
            return relabelled({**raw, "default": True}, rollout=served)
        case Kind.DEPLOYMENT:
            return {"id": "d1", **fields, "labels": new(owner=stack_name, id="d1", protect=what.stack.protect)}
        case Kind.SERVICE:
            return {"id": "s1", **fields, "labels": new(owner=stack_name, id="s1")}


def planned(
    what: Desired,
    state: Live,
    *,
    destroy: bool = False,
    retired: Sequence[Address] = (),
    ids: Iterator[int] | None = None,
    only: Sequence[str] = (),
    exclude: Sequence[str] = (),
    **more: Any,
) -> Plan:
    """The plan from this state to what is desired, as the engine makes it; `more` is what `make_plan` takes."""
    # Only the desired tag is read of the shared environment.
    shared = (Kind.ENVIRONMENT, Kind.ENVIRONMENT_TAG)
    state = without(state, *(a for a in state.owned if a.kind in shared and a not in what.state))
    resolved = resolve(what, state.labels)
    return make_plan(
        resolved,
        state,
        project="p",
        ids=ids or count(1),
        retired_tags=retired,
        destroy=destroy,
        selection=Selection(only=tuple(only), exclude=tuple(exclude)),
        **more,
    )


def changes(plan: Plan) -> list[str]:
    """`update version/speech/v1 maximum_instances`, a line a change."""
    return [
        " ".join([change.action, str(change.address), *(field.path for field in change.fields)])
        if change.action in ("update", "replace")
        else f"{change.action} {change.address}"
        for change in plan.changes
    ]


def steps(plan: Plan | Sequence[Operation]) -> list[str]:
    """`3 upload package/speech/v1 < 1 2`: number, what is done, and what must be done before."""
    operations = plan.operations if isinstance(plan, Plan) else plan
    return [
        f"{o.id} {o.kind} {o.address}" + (f" < {' '.join(map(str, o.needs))}" if o.needs else "") for o in operations
    ]
