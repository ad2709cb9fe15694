"""What an apply writes on objects to remember: the names of env vars before they are made, success afterwards.

Labels only, in the words of `state.labels`. A crash between the two leaves what was made ours and its success unsaid,
so that the next plan finds what is left to do.
"""

from __future__ import annotations

from collections.abc import Sequence

from whisperctl import __version__
from whisperctl.apply.context import ApplyContext
from whisperctl.apply.fresh import change_unchanged, read_now, write_labels
from whisperctl.apply.payloads import (
    coming_tags,
    desired_labels,
    is_group,
    own_names,
)
from whisperctl.control.api import Json
from whisperctl.errors import StalePlan
from whisperctl.plan.operations import Operation
from whisperctl.plan.package_changes import settings_digest
from whisperctl.spec import EnvVar
from whisperctl.state import secret
from whisperctl.state.desired import digest_of
from whisperctl.state.fingerprints import live_digest
from whisperctl.state.labels import Changes, Labels
from whisperctl.state.live import LABELLED, Live, rendered_by, trimming
from whisperctl.state.reading import read_live
from whisperctl.state.records import Rendering
from whisperctl.state.resources import Address, Kind, env_var_address, package_address, version_address
from whisperctl.state.tags import needed_tags

SEAL_READS = 4
"""Requests at a time while what was applied is read back."""


def claim(context: ApplyContext, operation: Operation) -> None:
    """Write the names of new env vars on the version before they are created: a crash in between leaves them ours.

    Fingerprints of secrets that are about to be set go: until they are recorded nobody knows which value is there.
    """
    secrets = {variable.name for variable in context.plan.desired.stack.env if variable.secret}
    touched = {
        c.address.names[2] for c in context.plan.changes if c.address.kind is Kind.ENV_VAR and c.action != "delete"
    }
    known = Labels.of(context.plan.live.owned.get(operation.address)).secrets
    unchanged_secrets = {name: text for name, text in known.items() if name not in secrets & touched}
    _patch_version_labels(context, operation.address, {"secrets": unchanged_secrets})


def record(context: ApplyContext, operation: Operation) -> None:
    """Write which env vars are ours and the fingerprints of the secrets that were just set."""
    stack = context.plan.desired.stack
    known = Labels.of(context.plan.live.owned.get(operation.address))
    own = (context.deployment, context.version)
    texts = {var.name: _fingerprint(context, var, known.secrets.get(var.name, "")) for var in stack.env if var.secret}
    secrets = {name: text for name, text in texts.items() if text}
    names = own_names(context)
    if context.plan.selection:  # one that is left out may leave the file, and is ours until it is deleted
        gone = {change.address for change in context.plan.changes if change.action == "delete"}
        left = {
            a.names[2] for a in context.plan.live.owned.keys() - gone if a.kind is Kind.ENV_VAR and a.names[:2] == own
        }
        names += [n for n in known.env_names if n in left]
    _patch_version_labels(context, operation.address, {"secrets": secrets, "env_names": names})


def _fingerprint(context: ApplyContext, variable: EnvVar, written: str) -> str:
    """What the label of a secret is to say; as it is `written` where the value is what it was, or is somebody else's.

    Empty for one that is left out of the plan and was never set.
    """
    address = env_var_address(context.deployment, context.version, variable.name)
    if address in context.plan.left_out:
        return written
    theirs = bool(written) and () in context.plan.desired.state[address].ignored
    if theirs or secret.matches(variable.value, written):
        return written
    return secret.fingerprint(variable.value, context.plan.project, context.plan.stack, variable.name)


def _patch_version_labels(context: ApplyContext, address: Address, changes: Changes) -> None:
    def body_of(raw: Json) -> Json:
        return {"labels": Labels(desired_labels(context, address, raw)).written(**changes)}

    with context.lock:
        change_unchanged(context, address, body_of)


def seal(context: ApplyContext, operation: Operation) -> None:
    """Record success on the services and the deployment, and give the lease back: always the last write.

    Raises:
        StalePlan: the deployment is gone, or an object was changed by somebody else meanwhile.
    """
    _seal_objects(context)
    [live] = read_live(context.api, [context.plan.desired], SEAL_READS)
    with context.lock:
        groups = filter(
            None, (read_now(context, address) for address in context.plan.desired.state if is_group(address))
        )
        ids = [str(group["id"]) for group in groups]
        raw = context.lease.remove(lambda raw: Labels.of(raw).packed(**_success(context, raw, live, ids)))
        if raw is None:
            raise StalePlan(f"{operation.address} disappeared while it was applied.\n  Plan again.")
        context.saw(operation.address, raw)


def _success(context: ApplyContext, raw: Json, live: Live, group_ids: Sequence[str]) -> Changes:
    """What the labels of the deployment, just read as `raw`, are to say after the apply."""
    before, stack = Labels.of(raw), context.plan.desired.stack
    changes: Changes = {
        "id": str(raw["id"]),
        "start_seconds": context.start_seconds or before.start_seconds,
        "build_seconds": context.build_seconds or before.build_seconds,
        "origin": context.plan.origin,
        "tool": __version__,
        "protect": stack.protect or before.protect,
        "served": bool(stack.services),
        "trimmed": trimming(context.plan.desired, live, context.plan.left_out),
        "digest": context.plan.desired.digest,
        "applied": live_digest(live.owned, context.plan.desired.state),
        "version": context.version,
        "group_ids": group_ids,
        "groups_begun": [],
        "tags": sorted(needed_tags(context.plan.desired, context.plan.live, False)),
    }
    if context.plan.selection:
        changes |= _of_a_part(context, live)
    return changes


def _of_a_part(context: ApplyContext, live: Live) -> Changes:
    """What the deployment's labels say after a part of the stack was applied: of the rest, what they said before."""
    plan, before = context.plan, context.before
    version = version_address(context.deployment, context.version)
    only = context.version if version in live.owned and version not in plan.left_out else before.version
    has_others = bool(live.versions(context.deployment).keys() - {context.version})
    as_left = before.applied == live_digest(plan.live.owned, plan.desired.state)
    package = package_address(*version.names)
    is_recorded = package not in live.owned or Labels.of(live.owned[version]).rendering is not None
    return {
        # Who rendered a package that no label of its version tells of is read here, until an apply of the whole.
        "tool": __version__ if is_recorded else rendered_by(plan.live, *version.names),
        "digest": before.digest,
        # Of what others changed meanwhile nothing is forgotten.
        "applied": live_digest(live.owned, plan.desired.state) if as_left else before.applied,
        "version": None if has_others else only,  # with others beside it, the next plan looks for them
        "served": before.served or any(address.kind is Kind.SERVICE for address in live.owned),
        "group_ids": [str(raw["id"]) for address, raw in live.owned.items() if is_group(address)],
        "tags": coming_tags(context),
    }


def _seal_objects(context: ApplyContext) -> None:
    """The labels of everything but the deployment, whose digest says that all the others are written."""
    plan = context.plan
    performed = {change.address for change in plan.changes}
    labelled = [address for address in plan.desired.state if address.kind in LABELLED]
    for address in labelled:
        if address.kind is not Kind.DEPLOYMENT and (address in performed or not plan.selection):
            _seal_one(context, address)
    for address, labels in plan.live.labels.items():
        if address.kind in LABELLED and address not in plan.desired.state and labels.id is None:
            _write_id(context, address)


def _seal_one(context: ApplyContext, address: Address) -> None:
    write_labels(context, address, lambda raw: _sealed(context, address, raw))


def _sealed(context: ApplyContext, address: Address, raw: Json) -> dict[str, str]:
    """The labels of an object after the apply."""
    labels = Labels.of(raw)
    written = labels.written(id=raw["id"])
    if address == version_address(context.deployment, context.version) and context.plan.desired.keeps_package:
        written = Labels(written).written(rendering=labels.rendering or _rendering(context, address, labels))
    if address.kind is not Kind.VERSION:  # whose digest is its package's
        written = Labels(written).written(digest=digest_of({address: context.plan.desired.state[address]}))
    return written


def _rendering(context: ApplyContext, version: Address, labels: Labels) -> Rendering:
    """Where the package comes from that runs and stays."""
    tool = rendered_by(context.plan.live, *version.names) or __version__
    return Rendering(tool, settings_digest(context.plan.desired.package.files), labels.digest or "")


def _write_id(context: ApplyContext, address: Address) -> None:
    """Of an object that stays although no file names it, as an earlier version of a line does: its own id."""
    write_labels(context, address, lambda raw: Labels.of(raw).written(id=raw["id"]))
