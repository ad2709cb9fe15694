"""What keeps a stack from being deleted by mistake: its origin, and its protection, as they stand on UbiOps.

Both are labels of the deployment, so that they hold whatever the file says now. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from whisperctl.loading.origin import Origin
from whisperctl.plan.changes import Change, Remark
from whisperctl.spec import Stack
from whisperctl.state.desired import Desired
from whisperctl.state.diff import FieldChange
from whisperctl.state.label_text import is_shortened, tells_origin
from whisperctl.state.labels import Labels
from whisperctl.state.live import Live, lacks_ids
from whisperctl.state.resources import Address, Kind, deployment_address, version_address
from whisperctl.state.rollout import LineRollout

PROTECT = "protect"
"""The path of the field in a plan's change."""
GUARDED = (Kind.INSTANCE_TYPE_GROUP, Kind.DEPLOYMENT, Kind.VERSION, Kind.SERVICE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Where a stack was applied from, and where its file stands now."""

    recorded: str | None
    """As the label says; None for a stack of an earlier version of this tool, or a new one."""
    current: Origin | None

    @property
    def contradicts(self) -> bool:
        """Whether the stack is another file's."""
        return self.current is not None and self.recorded is not None and not self._is_same and self._is_another

    @property
    def _is_another(self) -> bool:
        cut = self.recorded is not None and is_shortened(self.recorded)
        return self.current is not None and (cut or self.current.contradicts(self.recorded or ""))

    @property
    def _is_same(self) -> bool:
        return self.current is not None and tells_origin(self.recorded, str(self.current))

    @property
    def to_write(self) -> str | None:
        """The origin that an apply leaves on the deployment; a known repository is not forgotten for a bare name."""
        if self.current is None or (self.current.repository is None and "//" in (self.recorded or "")):
            return self.recorded
        return str(self.current)

    @property
    def moves(self) -> bool:
        """Whether an apply writes another origin down than there is."""
        return self.recorded is not None and not self._is_same and self.to_write != self.recorded


def provenance_of(live: Live, current: Origin | None) -> Provenance:
    """Where the stack was applied from, as its deployments tell."""
    labels = (Labels.of(raw) for address, raw in sorted(live.owned.items()) if address.kind is Kind.DEPLOYMENT)
    recorded = sorted({label.origin for label in labels if label.origin})
    return Provenance(recorded=recorded[0] if recorded else None, current=current)


def other_origin(desired: Desired, provenance: Provenance) -> Remark:
    """Why a stack of another file is left alone."""
    text = (
        f"the stack {desired.stack.name!r} was applied from {provenance.recorded}, and this is {provenance.current}.\n"
        "  A copied file needs a `stack:` of its own; --allow-delete takes the stack over, and deletes what is not in "
        "this file."
    )
    return Remark(source=desired.stack.source("stack"), text=text)


def moved_origin(desired: Desired, provenance: Provenance) -> Remark:
    """That a stack goes on under another file."""
    text = f"the stack's origin moves from {provenance.recorded} to {provenance.to_write}"
    return Remark(source=desired.stack.source("stack"), text=text)


def is_protected(live: Live) -> bool:
    """Whether the stack is protected on UbiOps, whatever its file says."""
    return any(Labels.of(raw).protect for address, raw in live.owned.items() if address.kind is Kind.DEPLOYMENT)


def with_protection_lifted(desired: Desired, live: Live, changes: Sequence[Change]) -> list[Change]:
    """`changes` and, where the file no longer protects what UbiOps does, the one that lifts the protection."""
    stack = desired.stack
    address = deployment_address(stack.deployment.name)
    if stack.protect or not Labels.of(live.owned.get(address)).protect:
        return list(changes)
    lifted = FieldChange(path=PROTECT, before=True, after=False)
    known = next((change for change in changes if change.address == address), None)
    if known is not None:
        merged = replace(known, fields=(*known.fields, lifted))
        return [merged if change is known else change for change in changes]
    return [
        *changes,
        Change(
            address=address,
            action="update",
            fields=(lifted,),
            reason=f"{stack.file} does not say `protect: true` any more",
            effect="from then on what the stack owns may be deleted",
            source=stack.source(PROTECT),
        ),
    ]


def lifts_protection(change: Change) -> bool:
    """Whether the change lifts the protection, and is no change of UbiOps' own fields."""
    return change.fields == (FieldChange(path=PROTECT, before=True, after=False),)


def protection_refusals(
    desired: Desired, live: Live, changes: Sequence[Change], rollout: LineRollout | None
) -> list[Remark]:
    """Why a protected stack is left as it is."""
    stack, remarks = desired.stack, []
    on_ubiops = is_protected(live)
    lost = [change for change in changes if _takes_away(change, live, rollout)]
    if lost and (stack.protect or on_ubiops):
        names = ", ".join(f"{change.address} ({change.reason})" for change in lost)
        what = "is protected, and this would delete"
        if not stack.protect:
            what = "is protected on UbiOps, whatever the file says now, and this would delete"
        advice = "Set protect: false first if you mean it: that must be the only change of an apply."
        text = f"the stack {stack.name!r} {what} {names}.\n  {advice}"
        remarks.append(Remark(source=stack.source(PROTECT), text=text))
    elif on_ubiops and not stack.protect and not all(lifts_protection(change) for change in changes):
        text = (
            f"lifting the protection of {stack.name!r} must be the only change of an apply.\n"
            "  Apply the file as it was with protect: false alone, and then the rest."
        )
        remarks.append(Remark(source=stack.source(PROTECT), text=text))
    return remarks


def _takes_away(change: Change, live: Live, rollout: LineRollout | None) -> bool:
    if change.action not in ("delete", "replace") or change.address.kind not in GUARDED:
        return False
    if change.address.kind is not Kind.VERSION:
        return True
    serving = _led_to(live) if rollout is None else {version_address(rollout.deployment, rollout.serving or "")}
    return not serving or change.address in serving


def _led_to(live: Live) -> set[Address]:
    """The versions that serve: a service of the stack leads there, or requests to the deployment do."""
    services = (raw for address, raw in live.owned.items() if address.kind is Kind.SERVICE)
    named = {version_address(str(raw.get("deployment")), str(raw["version"])) for raw in services if raw.get("version")}
    return named | {a for a, raw in live.owned.items() if a.kind is Kind.VERSION and raw.get("default")}


def is_marked(stack: Stack, live: Live, provenance: Provenance) -> bool:
    """Whether the deployment's labels tell all that an apply would write there without a change."""
    labels = Labels.of(live.owned.get(deployment_address(stack.deployment.name)))
    origin = provenance.to_write
    same = origin is None or tells_origin(labels.origin, origin)
    return same and (labels.protect or not stack.protect) and not lacks_ids(live)
