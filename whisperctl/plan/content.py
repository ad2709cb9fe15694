"""Whether a live version of a line is what the stack file describes, and still made of what its name says. Pure."""

from __future__ import annotations

from typing import assert_never

from whisperctl.plan.changes import Change, changes_between, every_field
from whisperctl.state.desired import Desired
from whisperctl.state.labels import Labels
from whisperctl.state.line import CONTENT_FIELDS
from whisperctl.state.live import Live
from whisperctl.state.resources import Kind, Masked, version_address


def is_usable(desired: Desired, live: Live) -> bool:
    """Whether the desired version may have its name: nobody has it, or a version of that content, perhaps half-made."""
    names = (desired.stack.deployment.name, desired.stack.version.name)
    address = version_address(*names)
    if address in live.foreign:
        return False
    raw = live.owned.get(address)
    if raw is None:
        return True
    labels = Labels.of(raw)
    is_unfinished = labels.rollout is not None and labels.rollout.state in ("begun", "failed")
    changes = changes_between(desired, live, set(), trimmed=every_field(desired))
    differing = [change for change in changes if _is_content(change, names)]
    return all(is_unfinished and _is_missing(change, labels) for change in differing)


def _is_content(change: Change, names: tuple[str, str]) -> bool:
    """Whether a change is one of what the version is made from."""
    if change.address.names[:2] != names:
        return False
    match change.address.kind:
        case Kind.VERSION:
            return any(field.path.split(".")[0] in CONTENT_FIELDS for field in change.fields)
        case Kind.ENV_VAR | Kind.PACKAGE:
            return True
        case Kind.DEPLOYMENT | Kind.SERVICE | Kind.INSTANCE_TYPE_GROUP | Kind.ENVIRONMENT | Kind.ENVIRONMENT_TAG:
            return False
        case kind:
            assert_never(kind)


def _is_missing(change: Change, labels: Labels) -> bool:
    """Whether something has only still to be made, or recorded.

    A secret without a fingerprint may have been set or not, and a package that was uploaded before no revision was
    recorded may be this one: the upload looks before it sends it again.
    """
    if change.action == "create" or (change.address.kind is Kind.PACKAGE and not labels.revisions):
        return True
    is_secret = any(field.after is Masked.SECRET_CHANGED for field in change.fields)
    return change.address.kind is Kind.ENV_VAR and is_secret and change.address.names[2] not in labels.secrets
