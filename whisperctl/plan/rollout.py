"""The changes of a plan that rolls a line of versions out, and what is said of a rollout that failed. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from whisperctl.plan.changes import Change, Remark, deletion
from whisperctl.state.desired import Desired
from whisperctl.state.diff import FieldChange
from whisperctl.state.labels import Labels
from whisperctl.state.live import Live
from whisperctl.state.records import RolloutRecord
from whisperctl.state.resources import IMMUTABLE, Kind, deployment_address, version_address
from whisperctl.state.rollout import OPENAI_LABELS, LineRollout, sleeps, version_of


def is_replaced(desired: Desired, live: Live) -> bool:
    """Whether the deployment must be made again: then nothing of the line is left to roll out from."""
    address = deployment_address(desired.stack.deployment.name)
    raw, fields = live.owned.get(address), desired.state[address].fields
    fixed = IMMUTABLE[Kind.DEPLOYMENT]
    return raw is not None and any(name in fields and raw.get(name) != fields[name] for name in fixed)


def rollout_changes(desired: Desired, live: Live, rollout: LineRollout, changes: Sequence[Change]) -> list[Change]:
    """The changes of a plan as the rollout makes them, with those of earlier versions and of a preview left behind."""
    explained = [_explained(change, rollout) for change in changes]
    return [*explained, *_asleep(desired, live, rollout), *_leaving(desired, rollout)]


def _explained(change: Change, rollout: LineRollout) -> Change:
    """Why a new version is made, and what its services do meanwhile."""
    if not rollout.gated:
        return change
    version = version_of(rollout)
    if change.address == version and change.action == "create":
        beside = f"beside {rollout.serving}, which serves until then" if rollout.replaces else "before anything serves"
        return replace(change, effect=f"made and gated {beside}")
    if change.address.kind is Kind.PACKAGE and change.action == "create":
        return replace(
            change, effect="built; an instance starts for the gate, and nothing leads to it before it passes"
        )
    leads_on = change.action == "update" and any(field.path == "version" for field in change.fields)
    if change.address.kind is Kind.SERVICE and leads_on:
        return replace(change, effect=f"leads to {rollout.new} once that has passed its gate; its id and URL stay")
    return change


def _asleep(desired: Desired, live: Live, rollout: LineRollout) -> Iterator[Change]:
    """Earlier versions that have still to fall asleep."""
    for name in rollout.kept:
        address = version_address(rollout.deployment, name)
        raw = live.owned[address]
        if sleeps(raw):
            continue
        minimum, labels = raw.get("minimum_instances"), Labels.of(raw).all
        fields = [FieldChange(path="minimum_instances", before=minimum, after=0)] if minimum else []
        fields += [
            FieldChange(path=f"labels.{each}", before=labels[each], after=None)
            for each in OPENAI_LABELS
            if each in labels
        ]
        yield Change(
            address=address,
            action="update",
            fields=tuple(fields),
            reason=f"{rollout.new} takes its place",
            effect="sleeps for a rollback, and costs nothing",
            source=desired.stack.source("rollout", "keep"),
        )


def _leaving(desired: Desired, rollout: LineRollout) -> Iterator[Change]:
    keep = desired.stack.rollout.keep
    for name in rollout.leaving:
        reason = f"more than rollout.keep ({keep}), or its rollout did not succeed"
        change = deletion(desired, version_address(rollout.deployment, name), reason)
        yield replace(change, effect="it serves nobody", source=desired.stack.source("rollout", "keep"))


def failed_rollout(rollout: LineRollout) -> list[Remark]:
    """That the last rollout to the version failed, until one succeeds."""
    record = rollout.failed
    if record is None:
        return []
    stays = f"{rollout.serving} serves on" if rollout.replaces else "nothing serves"
    return [Remark(source=str(version_of(rollout)), text=f"{failure_text(record, rollout.new)}: {stays}")]


def failure_text(record: RolloutRecord, version: str) -> str:
    """How a rollout to a version failed: at which step, with which figures, when."""
    parts = [f"the last rollout to {version} failed at its {record.stage or 'gate'}"]
    if record.wer is not None:
        beside = "" if record.serving_wer is None else f" (serving {record.serving_wer:.3f})"
        parts.append(f"word error rate {record.wer:.3f}{beside}")
    if record.latency is not None:
        beside = "" if record.serving_latency is None else f" (serving {record.serving_latency:.2f} s)"
        parts.append(f"{record.latency:.2f} s{beside}")
    return ", ".join(parts) + (f", {record.at}" if record.at else "")
