"""How long nothing answers while instances are replaced in place, as far as that is known. Pure.

A version whose maximum leaves room for one more has its instances replaced one after the other; otherwise what runs
stops first. How long a start takes is what the stack's last proven start took, which a label of the deployment tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from whisperctl.plan.changes import INSTANCES_REPLACED, Change
from whisperctl.state.desired import Desired
from whisperctl.state.labels import Labels
from whisperctl.state.live import Live
from whisperctl.state.resources import Address, Kind, deployment_address, version_address


def start_seconds(live: Live, deployment: str) -> int | None:
    """How long the stack's last proven start took; None where none was measured."""
    return Labels.of(live.owned.get(deployment_address(deployment))).start_seconds


def build_seconds(live: Live, address: Address) -> int | None:
    """How long the last build of the kind took: of a tag in the project, of a package of the stack."""
    holders = {Kind.ENVIRONMENT_TAG: Kind.ENVIRONMENT, Kind.PACKAGE: Kind.DEPLOYMENT}
    holder = Address(holders[address.kind], address.names[:1])
    return Labels.of(live.owned.get(holder)).build_seconds


def duration_in_words(seconds: float) -> str:
    """`about 75 s`, `about 12 min`."""
    return f"about {seconds:.0f} s" if seconds < 120 else f"about {seconds / 60:.0f} min"


def with_downtime(desired: Desired, live: Live, changes: Sequence[Change]) -> list[Change]:
    """The changes, those that replace instances with how long nothing answers meanwhile."""
    text = _downtime(desired, live)
    return [
        replace(change, effect=change.effect + text) if change.effect.endswith(INSTANCES_REPLACED) else change
        for change in (_with_build(live, change) for change in changes)
    ]


def _with_build(live: Live, change: Change) -> Change:
    """A change that builds an environment, with how long the last one took."""
    if change.address.kind is not Kind.ENVIRONMENT_TAG or change.action != "create":
        return change
    seconds = build_seconds(live, change.address)
    if seconds is None:
        return change
    return replace(change, effect=f"environment build, {duration_in_words(seconds)}, as long as the last one took")


def _downtime(desired: Desired, live: Live) -> str:
    """What follows `instances are replaced`."""
    stack = desired.stack
    address = version_address(stack.deployment.name, stack.version.name)
    there = live.state.get(address)
    # What `ignore_changes` names is left as it is there.
    fields = {**(there.fields if there else {}), **desired.state[address].fields}
    minimum, maximum = (int(fields.get(f"{bound}_instances") or 0) for bound in ("minimum", "maximum"))
    if desired.paused is not None:
        return ", and a paused stack has none"
    if maximum > max(minimum, 1):
        return " one after the other: maximum_instances leaves room for one more"
    seconds = start_seconds(live, stack.deployment.name)
    if seconds is None:
        return ": nothing answers until the new one is up; no start was measured yet"
    return f": nothing answers for {duration_in_words(seconds)}, as long as the last start took"
