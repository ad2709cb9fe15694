"""What is sent: the bodies of creates and patches, and whole label maps (UbiOps replaces those). Writes nothing."""

from __future__ import annotations

import os
from typing import assert_never

from whisperctl import __version__
from whisperctl.apply.fresh import read_now
from whisperctl.apply.job import Job
from whisperctl.control.api import Json
from whisperctl.errors import WhisperctlError
from whisperctl.loading.commit import commit_of
from whisperctl.serving.launch import launch
from whisperctl.state import labels
from whisperctl.state.desired import tracked_names
from whisperctl.state.ignored import with_theirs
from whisperctl.state.labels import Labels
from whisperctl.state.ownership import SHARED
from whisperctl.state.records import MadeFrom, RolloutRecord
from whisperctl.state.resources import IMMUTABLE, Address, Kind, deployment_address, env_var_address, version_address
from whisperctl.state.rollout import OPENAI_LABELS
from whisperctl.state.tags import touched_tags


def creation(job: Job, address: Address) -> Json:
    """The body that creates the object behind `address`.

    Raises:
        ValueError: it is a package or an environment tag, which are uploaded.
        WhisperctlError: a group or an instance type that it names is not there.
    """
    match address.kind:
        case Kind.DEPLOYMENT:
            return deployment_body(job)
        case Kind.VERSION:
            body = version_body(job, all_fields(job, address))
            body |= {"version": job.version, "labels": wanted_labels(job, address, {})}
            return body if job.plan.rollout is None else beginning(job, body)
        case Kind.ENV_VAR:
            return env_var_body(job, address)
        case Kind.SERVICE:
            body = all_fields(job, address) | {"name": address.names[0]}
            return body | {"labels": wanted_labels(job, address, {})}
        case Kind.ENVIRONMENT:
            body = wanted_fields(job, address) | {"name": address.names[0]}
            return body | {"labels": labels.new(owner=SHARED, tool=__version__)}
        case Kind.INSTANCE_TYPE_GROUP:
            return {"name": address.names[0], "instance_types": group_types(job, address)}
        case Kind.ENVIRONMENT_TAG | Kind.PACKAGE:
            raise ValueError(f"{address} is uploaded, not created by one request")
        case kind:
            assert_never(kind)


def beginning(job: Job, body: Json) -> Json:
    """A new version of a line: it keeps no instance, is listed nowhere, and its bounds are those that serve now."""
    rollout = job.plan.rollout
    serving = rollout.replaces if rollout else None
    raw = job.plan.live.owned.get(version_address(job.deployment, serving)) if serving else None
    labels_ = {name: text for name, text in body["labels"].items() if name not in OPENAI_LABELS}
    born = Labels(labels_).written(rollout=RolloutRecord(state="begun"), made=made_from(job))
    maximum = int((raw or {}).get("maximum_instances") or body["maximum_instances"])
    theirs = {path[0] for path in job.plan.wanted.state[version_address(job.deployment, job.version)].ignored}
    live = {name: raw[name] for name in theirs & body.keys() if raw and name in raw and name != "labels"}
    return body | live | {"minimum_instances": 0, "maximum_instances": maximum, "labels": born}


def made_from(job: Job) -> MadeFrom:
    """What a version is made from, for its history."""
    stack = job.plan.wanted.stack
    return MadeFrom(
        vllm=stack.vllm.version,
        model=stack.model.name,
        flags=" ".join(launch(stack).arguments),
        commit=commit_of(stack.file, os.environ) or "",
        served=stack.model.served_name,
    )


def change(job: Job, address: Address, raw: Json) -> Json:
    """The body that makes the object, which is `raw` now, what the plan wants.

    Raises:
        ValueError: it is a package or an environment tag, which nobody changes in place.
        WhisperctlError: a group or an instance type that it names is not there.
    """
    match address.kind:
        case Kind.DEPLOYMENT:
            fields = wanted_fields(job, address)
            body = {key: value for key, value in fields.items() if key not in IMMUTABLE[address.kind]}
            return body | {"labels": wanted_labels(job, address, raw)}
        case Kind.VERSION:
            fields = with_theirs(wanted_fields(job, address), raw, job.plan.wanted.state[address].ignored)
            return version_body(job, fields) | {"labels": wanted_labels(job, address, raw)}
        case Kind.SERVICE:
            return wanted_fields(job, address) | {"labels": wanted_labels(job, address, raw)}
        case Kind.ENVIRONMENT:
            return wanted_fields(job, address)
        case Kind.ENV_VAR:
            return env_var_body(job, address)
        case Kind.INSTANCE_TYPE_GROUP:
            return {"instance_types": group_types(job, address)}
        case Kind.ENVIRONMENT_TAG | Kind.PACKAGE:
            raise ValueError(f"{address} is never changed in place")
        case kind:
            assert_never(kind)


def all_fields(job: Job, address: Address) -> Json:
    """The fields of an object that is about to be made, but labels: with those that are ignored once it exists."""
    wanted = job.plan.wanted
    return {name: v for name, v in wanted.declared[address].fields.items() if name != "labels"} | wanted_fields(
        job, address
    )


def wanted_fields(job: Job, address: Address) -> Json:
    """The wanted fields but labels."""
    fields = dict(job.plan.wanted.state[address].fields)
    fields.pop("labels", None)
    return fields


def wanted_labels(job: Job, address: Address, raw: Json) -> dict[str, str]:
    """The whole label map to write: foreign labels kept, ours merged, those that left the spec removed."""
    wanted, before = job.plan.wanted, Labels.of(raw)
    user = wanted.state[address].fields.get("labels", {})
    written = before.written(
        user=user if raw else {**wanted.declared[address].fields["labels"], **user},
        owner=job.plan.stack,
        tracked=tracked_names(wanted.declared[address]),
        tool=__version__,
    )
    if address.kind is Kind.DEPLOYMENT:
        return Labels(written).written(origin=job.plan.origin, protect=wanted.stack.protect)
    if address.kind is not Kind.VERSION:
        return written
    return Labels(written).written(paused_minimum=wanted.paused, env_names=[*before.env_names, *own_names(job)])


def own_names(job: Job) -> list[str]:
    """The env vars of the file that are ours, or about to be; one that is left out and not there is not."""
    names = (variable.name for variable in job.plan.wanted.stack.env)
    return [name for name in names if env_var_address(job.deployment, job.version, name) not in job.plan.absent]


def deployment_body(job: Job) -> Json:
    """A new deployment, with the lease in it."""
    address = deployment_address(job.deployment)
    body = all_fields(job, address) | {"name": job.deployment}
    born = Labels(wanted_labels(job, address, {})).written(lease=job.lease.holder, tags=coming_tags(job))
    # A group that an earlier deployment of this stack owns goes on to this one; another is about to be created.
    known = [str(raw["id"]) for a, raw in job.plan.live.owned.items() if is_group(a) and job.seen.get(a) != "absent"]
    begun = [wanted.names[0] for wanted in job.plan.wanted.state if is_group(wanted)]
    if begun:
        born = Labels(born).written(group_ids=known, groups_begun=[] if known else begun)
    return body | {"labels": born}


def coming_tags(job: Job) -> list[str]:
    """The environment tags that this apply may leave behind if it is cut off."""
    build = job.plan.wanted.build
    return sorted(touched_tags(job.plan.wanted, job.plan.live, False) | ({build.tag} if build else set()))


def is_group(address: Address) -> bool:
    """Whether it is an instance type group."""
    return address.kind is Kind.INSTANCE_TYPE_GROUP


def version_body(job: Job, fields: Json) -> Json:
    """A version's fields, its group by id where it is managed.

    Raises:
        WhisperctlError: the managed group is gone.
    """
    body = dict(fields)
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
    theirs = _ignored_value(job, address)
    return {"name": variable.name, "value": theirs or variable.value, "secret": variable.secret}


def _ignored_value(job: Job, address: Address) -> str | None:
    """What somebody else set a variable to on the version that a new one of the line takes over from."""
    rollout = job.plan.rollout
    if () not in job.plan.wanted.state[address].ignored or rollout is None or rollout.replaces is None:
        return None
    raw = job.plan.live.owned.get(env_var_address(job.deployment, rollout.replaces, address.names[2]), {})
    return None if raw.get("secret") else raw.get("value")


def group_types(job: Job, address: Address) -> list[Json]:
    """The types of a managed group by id, as UbiOps wants them.

    Raises:
        WhisperctlError: the project has no instance type of that name.
    """
    stack = job.plan.wanted.stack
    ids = {item["name"]: item["id"] for item in job.api.instance_types()}
    chosen = all_fields(job, address)["instance_types"]
    missing = [name for name in chosen if name not in ids]
    if missing:
        raise WhisperctlError(
            f"{stack.source('instance_type_group', 'instance_types')}: this project has no instance type "
            f"{', '.join(missing)}.\n  It has: {', '.join(sorted(ids))}."
        )
    return [{"id": ids[name], **fields} for name, fields in chosen.items()]
