"""One operation of a plan against UbiOps: write, check, wait. Decides nothing that the plan did not decide.

Before each write the object is read again and compared with what the plan was made from; a create that lost its answer
is resolved by reading its name. Waits for builds are in `builds`, for the endpoint in `proving`.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from whisperctl import secret
from whisperctl.api import Api, Json
from whisperctl.desired import track
from whisperctl.errors import ApiError, NotFound, StalePlan, Unreachable, WhisperctlError
from whisperctl.lease import Lease
from whisperctl.live import CREATING, fingerprint, names_in
from whisperctl.plan import Operation, Plan
from whisperctl.resources import (
    DIGEST_LABEL,
    ENV_LABEL,
    FIELDS_LABEL,
    GROUP_LABEL,
    LEASE_LABEL,
    SECRET_LABEL,
    SHARED,
    STACK_LABEL,
    VERSION_LABEL,
    Address,
    Kind,
    deployment_address,
    env_var_address,
    version_address,
)
from whisperctl.waiting import StoppableClock, wait_for

POST_ATTEMPTS = 5
"""Tries of a create whose answer was lost, each after a look whether it arrived."""
APPEAR_SECONDS = 120.0
"""How long a parent that was just created may stay invisible to UbiOps itself (seen by the Terraform provider)."""


@dataclass(kw_only=True)
class Job:
    """One plan being applied: what its operations share. Operations of one job run in several threads."""

    plan: Plan
    api: Api
    clock: StoppableClock
    say: Callable[[Address, str], None]
    lease: Lease
    seen: dict[Address, str] = field(default_factory=dict)
    """Fingerprints of the objects as this job last saw or wrote them."""
    created: set[Address] = field(default_factory=set)
    lock: threading.RLock = field(default_factory=threading.RLock)
    """Held around each read-change-write of the deployment's labels: the lease is renewed meanwhile."""

    @property
    def deployment(self) -> str:
        """The deployment's name."""
        return self.plan.wanted.stack.deployment.name

    @property
    def version(self) -> str:
        """The version's name."""
        return self.plan.wanted.stack.version.name

    @property
    def timeout(self) -> float:
        """Seconds for each wait."""
        return float(self.plan.wanted.stack.rollout.timeout)

    def saw(self, address: Address, raw: Json | None) -> None:
        """Remember an object as it is now, so that our own writes do not count as somebody else's."""
        self.seen[address] = fingerprint(address, raw, self.plan.wanted.state)


def read_now(job: Job, address: Address) -> Json | None:
    """The object behind `address` as it is now."""
    api, names = job.api, address.names
    match address.kind:
        case Kind.DEPLOYMENT:
            return api.deployment(*names)
        case Kind.VERSION:
            return api.version(*names)
        case Kind.SERVICE:
            return api.find_service(*names)
        case Kind.ENVIRONMENT:
            return api.environment(*names)
        case Kind.ENV_VAR:
            found = (item for item in api.env_vars(*names[:2]) if not item.get("inheritance_type"))
            return next((item for item in found if item["name"] == names[2]), None)
        case Kind.INSTANCE_TYPE_GROUP:
            known = job.plan.live.owned.get(address)
            same = [group for group in api.groups() if group["name"] == names[0]]
            return next((group for group in same if known and group["id"] == known["id"]), same[0] if same else None)
        case _:
            raise AssertionError(f"{address} is not one object")


def unchanged(job: Job, address: Address) -> Json | None:
    """The object as it is now, if nobody has touched it since the plan was made.

    Raises:
        StalePlan: somebody has.
    """
    for pause in (0.5, 1.5, None):
        raw = read_now(job, address)
        if fingerprint(address, raw, job.plan.wanted.state) == job.seen.get(address, "absent"):
            return raw
        if pause is not None:  # a read may be answered from a copy that is a moment behind
            job.clock.sleep(pause)
    how = "appeared" if job.seen.get(address, "absent") == "absent" else "changed" if raw else "disappeared"
    raise StalePlan(f"{address} {how} on UbiOps since the plan was made.\n  Nothing was written to it. Plan again.")


def create(job: Job, operation: Operation) -> None:
    """Make the object behind the operation's address."""
    address = operation.address
    unchanged(job, address)
    match address.kind:
        case Kind.INSTANCE_TYPE_GROUP:
            _create_group(job, address)
            return
        case Kind.DEPLOYMENT:
            post = job.api.create_deployment
            body = _deployment_body(job)
        case Kind.VERSION:
            body = _version_body(job)
            body["labels"] = _labels(job, address, {})

            def post(body: Mapping[str, Any]) -> Json:
                return job.api.create_version(job.deployment, body)

        case Kind.ENV_VAR:
            body = _env_var_body(job, address)

            def post(body: Mapping[str, Any]) -> Json:
                return job.api.create_env_var(job.deployment, job.version, body)

        case Kind.SERVICE:
            post, body = job.api.create_service, _fields(job, address) | {"name": address.names[0]}
            body["labels"] = _labels(job, address, {})
        case Kind.ENVIRONMENT:
            post, body = job.api.create_environment, _fields(job, address) | {"name": address.names[0]}
            body["labels"] = {STACK_LABEL: SHARED}
        case _:
            raise AssertionError(f"{address} is not created by a single request")
    raw = create_once(job, address, lambda: post(body), lambda: read_now(job, address))
    job.created.add(address)
    job.saw(address, raw)


def create_once(job: Job, address: Address, post: Callable[[], Json], find: Callable[[], Json | None]) -> Json | None:
    """POST until the object exists: an answer that got lost is looked up by name before anything is sent again.

    Returns the object as UbiOps tells it when asked afterwards.
    """
    attempt = 0
    since = job.clock.monotonic()
    while True:
        attempt += 1
        try:
            post()
        except NotFound:
            young = deployment_address(job.deployment) in job.created
            if not young or job.clock.monotonic() - since > APPEAR_SECONDS:
                raise
            attempt -= 1
        except ApiError as error:
            lost = isinstance(error, Unreachable) or error.status >= 500
            found = find() if lost or attempt > 1 or address.kind is Kind.ENVIRONMENT else None
            if found is not None:
                return found
            if not lost or attempt >= POST_ATTEMPTS:
                raise
            job.say(address, f"no answer to the create; it did not arrive, trying again ({attempt})")
        else:
            return wait_for(
                find, lambda raw: raw is not None, clock=job.clock, timeout=APPEAR_SECONDS, what=f"{address} to appear"
            )
        job.clock.sleep(min(0.5 * 2**attempt, 8.0) * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret


def update(job: Job, operation: Operation) -> None:
    """Patch the object behind the operation's address with what differs."""
    address = operation.address
    with job.lock:
        raw = unchanged(job, address)
        if raw is None:
            raise StalePlan(f"{address} disappeared on UbiOps since the plan was made.\n  Plan again.")
        match address.kind:
            case Kind.DEPLOYMENT:
                fields = {key: value for key, value in _fields(job, address).items() if not key.endswith("put_type")}
                body = fields | {"labels": _labels(job, address, raw)}
                job.saw(address, job.api.update_deployment(address.names[0], body))
            case Kind.VERSION:
                body = _version_body(job) | {"labels": _labels(job, address, raw)}
                del body["version"]
                job.saw(address, job.api.update_version(address.names[0], address.names[1], body))
            case Kind.SERVICE:
                body = _fields(job, address) | {"labels": _labels(job, address, raw)}
                job.saw(address, job.api.update_service(address.names[0], body))
            case Kind.ENVIRONMENT:
                job.saw(address, job.api.update_environment(address.names[0], _fields(job, address)))
            case Kind.ENV_VAR:
                body = _env_var_body(job, address)
                job.saw(address, job.api.update_env_var(address.names[0], address.names[1], raw["id"], body))
            case Kind.INSTANCE_TYPE_GROUP:
                body = {"instance_types": _group_types(job, address)}
                job.saw(address, job.api.update_group(raw["id"], body))
            case _:
                raise AssertionError(f"{address} is not updated in place")


def delete(job: Job, operation: Operation) -> None:
    """Delete the object behind the operation's address and wait until it is gone."""
    address = operation.address
    match address.kind:
        case Kind.ENVIRONMENT_TAG:
            if not job.api.tag_usage(*address.names):
                job.api.delete_tag(*address.names)
            return
        case Kind.ENVIRONMENT:
            if not job.api.tags(*address.names):
                job.api.delete_environment(*address.names)
            return
        case _:
            raw = unchanged(job, address)
    if raw is None:
        return
    match address.kind:
        case Kind.SERVICE:
            job.api.delete_service(*address.names)
        case Kind.VERSION:
            job.api.delete_version(*address.names)
        case Kind.DEPLOYMENT:
            job.api.delete_deployment(*address.names)
        case Kind.ENV_VAR:
            job.api.delete_env_var(address.names[0], address.names[1], raw["id"])
        case Kind.INSTANCE_TYPE_GROUP:
            job.api.delete_group(raw["id"])
        case _:
            raise AssertionError(f"{address} is not deleted by itself")
    wait_for(
        lambda: read_now(job, address),
        lambda found: found is None or found.get("id") != raw["id"],
        clock=job.clock,
        timeout=job.timeout,
        what=f"{address} to be gone",
    )
    job.saw(address, None)


def claim(job: Job, operation: Operation) -> None:
    """Write the names of new env vars on the version, before they are created: a crash in between leaves them ours."""
    _patch_version_labels(job, operation.address, {})


def record(job: Job, operation: Operation) -> None:
    """Write which env vars are ours and the fingerprints of the secrets that were just set."""
    stack = job.plan.wanted.stack
    live = job.plan.live.labels.get(operation.address, {})
    labels: dict[str, str | None] = {name: None for name in live if name.startswith(SECRET_LABEL)}
    for variable in stack.env:
        if variable.secret:
            written = live.get(SECRET_LABEL + variable.name)
            kept = written is not None and secret.matches(variable.value, written)
            labels[SECRET_LABEL + variable.name] = written if kept else secret.fingerprint(variable.value)
    labels[ENV_LABEL] = ";".join(variable.name for variable in stack.env) or None
    _patch_version_labels(job, operation.address, labels)


def _patch_version_labels(job: Job, address: Address, labels: Mapping[str, str | None]) -> None:
    with job.lock:
        raw = unchanged(job, address) or {}
        body = {"labels": merged(_labels(job, address, raw), labels)}
        job.saw(address, job.api.update_version(address.names[0], address.names[1], body))


def merged(labels: Mapping[str, str], more: Mapping[str, str | None]) -> dict[str, str]:
    """`labels` with `more` over it; a None removes."""
    return {key: value for key, value in {**labels, **more}.items() if value is not None}


def seal(job: Job, operation: Operation) -> None:
    """Record success on the services and the deployment, and give the lease back: always the last write."""
    for address in job.plan.wanted.state:
        if address.kind in (Kind.SERVICE, Kind.ENVIRONMENT):
            _seal_one(job, address)
    with job.lock:
        raw = job.api.deployment(job.deployment)
        if raw is None:
            raise StalePlan(f"{operation.address} disappeared while it was applied.\n  Plan again.")
        group = [
            found["id"]
            for found in (read_now(job, address) for address in job.plan.wanted.state if _is_group(address))
            if found
        ]
        labels = {
            DIGEST_LABEL: job.plan.wanted.digest,
            VERSION_LABEL: job.version,
            GROUP_LABEL: ";".join(group) or None,
            LEASE_LABEL: None,
        }
        body = {"labels": merged(raw.get("labels") or {}, labels)}
        job.saw(operation.address, job.api.update_deployment(job.deployment, body))


def _is_group(address: Address) -> bool:
    return address.kind is Kind.INSTANCE_TYPE_GROUP


def _seal_one(job: Job, address: Address) -> None:
    from whisperctl.desired import digest_of

    raw = read_now(job, address)
    digest = digest_of({address: job.plan.wanted.state[address]})
    if raw is None or (raw.get("labels") or {}).get(DIGEST_LABEL) == digest:
        return
    body = {"labels": {**(raw.get("labels") or {}), DIGEST_LABEL: digest}}
    write = job.api.update_service if address.kind is Kind.SERVICE else job.api.update_environment
    job.saw(address, write(address.names[0], body))


def _fields(job: Job, address: Address) -> Json:
    fields = dict(job.plan.wanted.state[address].fields)
    fields.pop("labels", None)
    return fields


def _labels(job: Job, address: Address, raw: Json) -> dict[str, str]:
    """The whole label map to write: foreign labels kept, ours merged, those that left the spec removed."""
    fields = job.plan.wanted.state[address].fields
    tracked = job.plan.wanted.unsettled[address].fields
    labels: dict[str, str | None] = {
        **(raw.get("labels") or {}),
        **fields["labels"],
        STACK_LABEL: job.plan.stack,
        FIELDS_LABEL: track(address.kind, tracked) or None,
    }
    if address.kind is Kind.VERSION:
        names = [*names_in(raw, ENV_LABEL), *(variable.name for variable in job.plan.wanted.stack.env)]
        labels[ENV_LABEL] = ";".join(dict.fromkeys(names)) or None
    return merged({}, labels)


def _deployment_body(job: Job) -> Json:
    address = deployment_address(job.deployment)
    body = _fields(job, address) | {"name": job.deployment}
    labels = _labels(job, address, {}) | {LEASE_LABEL: str(job.lease)}
    if any(_is_group(wanted) for wanted in job.plan.wanted.state):
        labels[GROUP_LABEL] = CREATING
    return body | {"labels": labels}


def _version_body(job: Job) -> Json:
    address = version_address(job.deployment, job.version)
    body = _fields(job, address) | {"version": job.version}
    group = next((wanted for wanted in job.plan.wanted.state if _is_group(wanted)), None)
    if group is not None:
        raw = read_now(job, group)
        if raw is None:
            raise WhisperctlError(f"{group} is gone; plan again.")
        # By id: group names are not unique, and the first of that name would win.
        del body["instance_type_group_name"]
        body["instance_type_group_id"] = raw["id"]
    return body


def _env_var_body(job: Job, address: Address) -> Json:
    stack = job.plan.wanted.stack
    variable = next(item for item in stack.env if env_var_address(job.deployment, job.version, item.name) == address)
    return {"name": variable.name, "value": variable.value, "secret": variable.secret}


def _create_group(job: Job, address: Address) -> None:
    """A managed group: its intent, then the group, then its id on the deployment, so that a crash leaves it ours."""
    deployment = deployment_address(job.deployment)
    _patch_group_label(job, deployment, [CREATING])
    body = {"name": address.names[0], "instance_types": _group_types(job, address)}
    raw = create_once(job, address, lambda: job.api.create_group(body), lambda: read_now(job, address))
    job.saw(address, raw)
    _patch_group_label(job, deployment, [str((raw or {}).get("id"))])


def _patch_group_label(job: Job, deployment: Address, ids: list[str]) -> None:
    with job.lock:
        raw = job.api.deployment(job.deployment) or {}
        known = [name for name in names_in(raw, GROUP_LABEL) if name != CREATING]
        value = ";".join(dict.fromkeys([*known, *ids]))
        if value != (raw.get("labels") or {}).get(GROUP_LABEL):
            body = {"labels": {**(raw.get("labels") or {}), GROUP_LABEL: value}}
            job.saw(deployment, job.api.update_deployment(job.deployment, body))


def _group_types(job: Job, address: Address) -> list[Json]:
    stack = job.plan.wanted.stack
    ids = {item["name"]: item["id"] for item in job.api.instance_types()}
    chosen = job.plan.wanted.state[address].fields["instance_types"]
    missing = [name for name in chosen if name not in ids]
    if missing:
        raise WhisperctlError(
            f"{stack.source('instance_type_group', 'instance_types')}: this project has no instance type "
            f"{', '.join(missing)}.\n  It has: {', '.join(sorted(ids))}."
        )
    return [{"id": ids[name], **fields} for name, fields in chosen.items()]
