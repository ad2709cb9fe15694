"""What is sent: the bodies of creates and patches, and whole label maps (UbiOps replaces those). Writes nothing."""

from __future__ import annotations

from collections.abc import Mapping

from whisperctl.apply.fresh import read_now
from whisperctl.apply.job import Job
from whisperctl.control.api import Json
from whisperctl.errors import WhisperctlError
from whisperctl.state.labels import (
    ENV_LABEL,
    FIELDS_LABEL,
    GROUP_LABEL,
    LEASE_LABEL,
    PAUSED_LABEL,
    STACK_LABEL,
    TAGS_LABEL,
    creating,
    names_in,
    track,
)
from whisperctl.state.resources import Address, Kind, deployment_address, env_var_address, version_address
from whisperctl.state.tags import touched_tags


def merged(labels: Mapping[str, str], more: Mapping[str, str | None]) -> dict[str, str]:
    """`labels` with `more` over it; a None removes."""
    return {key: value for key, value in {**labels, **more}.items() if value is not None}


def wanted_fields(job: Job, address: Address) -> Json:
    """The wanted fields but labels."""
    fields = dict(job.plan.wanted.state[address].fields)
    fields.pop("labels", None)
    return fields


def wanted_labels(job: Job, address: Address, raw: Json) -> dict[str, str]:
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
        labels[PAUSED_LABEL] = job.plan.wanted.paused
        names = [*names_in(raw, ENV_LABEL), *(variable.name for variable in job.plan.wanted.stack.env)]
        labels[ENV_LABEL] = ";".join(dict.fromkeys(names)) or None
    return merged({}, labels)


def deployment_body(job: Job) -> Json:
    """A new deployment, with the lease in it."""
    address = deployment_address(job.deployment)
    body = wanted_fields(job, address) | {"name": job.deployment}
    labels = wanted_labels(job, address, {}) | {LEASE_LABEL: str(job.lease), TAGS_LABEL: ";".join(coming_tags(job))}
    # A group that an earlier deployment of this stack owns goes on to this one; another is about to be created.
    known = [str(raw["id"]) for a, raw in job.plan.live.owned.items() if is_group(a) and job.seen.get(a) != "absent"]
    for wanted in filter(is_group, job.plan.wanted.state):
        labels[GROUP_LABEL] = ";".join(known) or creating(*wanted.names)
    return body | {"labels": {key: value for key, value in labels.items() if value}}


def coming_tags(job: Job) -> list[str]:
    """The environment tags that this apply may leave behind if it is cut off."""
    build = job.plan.wanted.build
    return sorted(touched_tags(job.plan.wanted, job.plan.live, False) | ({build.tag} if build else set()))


def is_group(address: Address) -> bool:
    """Whether it is an instance type group."""
    return address.kind is Kind.INSTANCE_TYPE_GROUP


def version_body(job: Job) -> Json:
    """A version, its group by id where it is managed."""
    address = version_address(job.deployment, job.version)
    body = wanted_fields(job, address) | {"version": job.version}
    group = next((wanted for wanted in job.plan.wanted.state if is_group(wanted)), None)
    if group is not None:
        raw = read_now(job, group)
        if raw is None:
            raise WhisperctlError(f"{group} is gone; plan again.")
        # By id: group names are not unique, and the first of that name would win.
        del body["instance_type_group_name"]
        body["instance_type_group_id"] = raw["id"]
    return body


def env_var_body(job: Job, address: Address) -> Json:
    """An env var with its real value."""
    stack = job.plan.wanted.stack
    variable = next(item for item in stack.env if env_var_address(job.deployment, job.version, item.name) == address)
    return {"name": variable.name, "value": variable.value, "secret": variable.secret}


def group_types(job: Job, address: Address) -> list[Json]:
    """The types of a managed group by id, as UbiOps wants them."""
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
