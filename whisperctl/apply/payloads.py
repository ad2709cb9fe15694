"""What is sent: the bodies of creates and patches, and whole label maps (UbiOps replaces those). Writes nothing."""

from __future__ import annotations

import os
from typing import assert_never

from whisperctl import __version__
from whisperctl.apply.context import ApplyContext
from whisperctl.apply.fresh import read_now
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


def creation(context: ApplyContext, address: Address) -> Json:
    """The body that creates the object behind `address`.

    Raises:
        ValueError: it is a package or an environment tag, which are uploaded.
        WhisperctlError: a group or an instance type that it names is not there.
    """
    match address.kind:
        case Kind.DEPLOYMENT:
            return deployment_body(context)
        case Kind.VERSION:
            body = version_body(context, all_fields(context, address))
            body |= {"version": context.version, "labels": desired_labels(context, address, {})}
            return body if context.plan.rollout is None else beginning(context, body)
        case Kind.ENV_VAR:
            return env_var_body(context, address)
        case Kind.SERVICE:
            body = all_fields(context, address) | {"name": address.names[0]}
            return body | {"labels": desired_labels(context, address, {})}
        case Kind.ENVIRONMENT:
            body = desired_fields(context, address) | {"name": address.names[0]}
            return body | {"labels": labels.new(owner=SHARED, tool=__version__)}
        case Kind.INSTANCE_TYPE_GROUP:
            return {"name": address.names[0], "instance_types": group_types(context, address)}
        case Kind.ENVIRONMENT_TAG | Kind.PACKAGE:
            raise ValueError(f"{address} is uploaded, not created by one request")
        case kind:
            assert_never(kind)


def beginning(context: ApplyContext, body: Json) -> Json:
    """A new version of a line: it keeps no instance, is listed nowhere, and its bounds are those that serve now."""
    rollout = context.plan.rollout
    serving = rollout.replaces if rollout else None
    raw = context.plan.live.owned.get(version_address(context.deployment, serving)) if serving else None
    labels_ = {name: text for name, text in body["labels"].items() if name not in OPENAI_LABELS}
    born = Labels(labels_).written(rollout=RolloutRecord(state="begun"), made=made_from(context))
    maximum = int((raw or {}).get("maximum_instances") or body["maximum_instances"])
    theirs = {
        path[0] for path in context.plan.desired.state[version_address(context.deployment, context.version)].ignored
    }
    live = {name: raw[name] for name in theirs & body.keys() if raw and name in raw and name != "labels"}
    return body | live | {"minimum_instances": 0, "maximum_instances": maximum, "labels": born}


def made_from(context: ApplyContext) -> MadeFrom:
    """What a version is made from, for its history."""
    stack = context.plan.desired.stack
    return MadeFrom(
        vllm=stack.vllm.version,
        model=stack.model.name,
        flags=" ".join(launch(stack).arguments),
        commit=commit_of(stack.file, os.environ) or "",
        served=stack.model.served_name,
    )


def change(context: ApplyContext, address: Address, raw: Json) -> Json:
    """The body that makes the object, which is `raw` now, what the plan wants.

    Raises:
        ValueError: it is a package or an environment tag, which nobody changes in place.
        WhisperctlError: a group or an instance type that it names is not there.
    """
    match address.kind:
        case Kind.DEPLOYMENT:
            fields = desired_fields(context, address)
            body = {key: value for key, value in fields.items() if key not in IMMUTABLE[address.kind]}
            return body | {"labels": desired_labels(context, address, raw)}
        case Kind.VERSION:
            fields = with_theirs(desired_fields(context, address), raw, context.plan.desired.state[address].ignored)
            return version_body(context, fields) | {"labels": desired_labels(context, address, raw)}
        case Kind.SERVICE:
            return desired_fields(context, address) | {"labels": desired_labels(context, address, raw)}
        case Kind.ENVIRONMENT:
            return desired_fields(context, address)
        case Kind.ENV_VAR:
            return env_var_body(context, address)
        case Kind.INSTANCE_TYPE_GROUP:
            return {"instance_types": group_types(context, address)}
        case Kind.ENVIRONMENT_TAG | Kind.PACKAGE:
            raise ValueError(f"{address} is never changed in place")
        case kind:
            assert_never(kind)


def all_fields(context: ApplyContext, address: Address) -> Json:
    """The fields of an object that is about to be made, but labels: with those that are ignored once it exists."""
    desired = context.plan.desired
    return {name: v for name, v in desired.declared[address].fields.items() if name != "labels"} | desired_fields(
        context, address
    )


def desired_fields(context: ApplyContext, address: Address) -> Json:
    """The wanted fields but labels."""
    fields = dict(context.plan.desired.state[address].fields)
    fields.pop("labels", None)
    return fields


def desired_labels(context: ApplyContext, address: Address, raw: Json) -> dict[str, str]:
    """The whole label map to write: foreign labels kept, ours merged, those that left the spec removed."""
    desired, before = context.plan.desired, Labels.of(raw)
    user = desired.state[address].fields.get("labels", {})
    written = before.written(
        user=user if raw else {**desired.declared[address].fields["labels"], **user},
        owner=context.plan.stack,
        tracked=tracked_names(desired.declared[address]),
        tool=__version__,
    )
    if address.kind is Kind.DEPLOYMENT:
        return Labels(written).written(origin=context.plan.origin, protect=desired.stack.protect)
    if address.kind is not Kind.VERSION:
        return written
    return Labels(written).written(paused_minimum=desired.paused, env_names=[*before.env_names, *own_names(context)])


def own_names(context: ApplyContext) -> list[str]:
    """The env vars of the file that are ours, or about to be; one that is left out and not there is not."""
    names = (variable.name for variable in context.plan.desired.stack.env)
    return [
        name for name in names if env_var_address(context.deployment, context.version, name) not in context.plan.absent
    ]


def deployment_body(context: ApplyContext) -> Json:
    """A new deployment, with the lease in it."""
    address = deployment_address(context.deployment)
    body = all_fields(context, address) | {"name": context.deployment}
    born = Labels(desired_labels(context, address, {})).written(
        lease=context.lease.label.holder, tags=coming_tags(context)
    )
    # A group that an earlier deployment of this stack owns goes on to this one; another is about to be created.
    known = [
        str(raw["id"]) for a, raw in context.plan.live.owned.items() if is_group(a) and context.seen.get(a) != "absent"
    ]
    begun = [desired.names[0] for desired in context.plan.desired.state if is_group(desired)]
    if begun:
        born = Labels(born).written(group_ids=known, groups_begun=[] if known else begun)
    return body | {"labels": born}


def coming_tags(context: ApplyContext) -> list[str]:
    """The environment tags that this apply may leave behind if it is cut off."""
    build = context.plan.desired.build
    return sorted(touched_tags(context.plan.desired, context.plan.live, False) | ({build.tag} if build else set()))


def is_group(address: Address) -> bool:
    """Whether it is an instance type group."""
    return address.kind is Kind.INSTANCE_TYPE_GROUP


def version_body(context: ApplyContext, fields: Json) -> Json:
    """A version's fields, its group by id where it is managed.

    Raises:
        WhisperctlError: the managed group is gone.
    """
    body = dict(fields)
    group = next((desired for desired in context.plan.desired.state if is_group(desired)), None)
    if group is not None:
        raw = read_now(context, group)
        if raw is None:
            raise WhisperctlError(f"{group} is gone; plan again.")
        # By id: group names are not unique, and the first of that name would win.
        del body["instance_type_group_name"]
        body["instance_type_group_id"] = raw["id"]
    return body


def env_var_body(context: ApplyContext, address: Address) -> Json:
    """An env var with its real value."""
    stack = context.plan.desired.stack
    variable = next(
        item for item in stack.env if env_var_address(context.deployment, context.version, item.name) == address
    )
    theirs = _ignored_value(context, address)
    return {"name": variable.name, "value": theirs or variable.value, "secret": variable.secret}


def _ignored_value(context: ApplyContext, address: Address) -> str | None:
    """What somebody else set a variable to on the version that a new one of the line takes over from."""
    rollout = context.plan.rollout
    if () not in context.plan.desired.state[address].ignored or rollout is None or rollout.replaces is None:
        return None
    raw = context.plan.live.owned.get(env_var_address(context.deployment, rollout.replaces, address.names[2]), {})
    return None if raw.get("secret") else raw.get("value")


def group_types(context: ApplyContext, address: Address) -> list[Json]:
    """The types of a managed group by id, as UbiOps wants them.

    Raises:
        WhisperctlError: the project has no instance type of that name.
    """
    stack = context.plan.desired.stack
    ids = {item["name"]: item["id"] for item in context.api.instance_types()}
    chosen = all_fields(context, address)["instance_types"]
    missing = [name for name in chosen if name not in ids]
    if missing:
        raise WhisperctlError(
            f"{stack.source('instance_type_group', 'instance_types')}: this project has no instance type "
            f"{', '.join(missing)}.\n  It has: {', '.join(sorted(ids))}."
        )
    return [{"id": ids[name], **fields} for name, fields in chosen.items()]
