"""Where a line of versions stands, and what its rollout has still to do. Pure; changes and operations follow from it.

One version serves: the one that the stack's services lead to. A new one is made beside it, passes its gate, takes the
services over and bakes; the earlier one then sleeps for a rollback. Which of these steps are done is written on the
versions (`RolloutRecord`), so that an apply that was cut off anywhere is finished or undone by the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from whisperctl.control.api import Json
from whisperctl.spec import Stack
from whisperctl.state.desired import Desired
from whisperctl.state.labels import Labels
from whisperctl.state.line import is_line, is_of_line, line_of
from whisperctl.state.live import Live
from whisperctl.state.records import RolloutRecord, RolloutState
from whisperctl.state.resources import Address, Kind, service_address, version_address

PREVIEW_SUFFIX = "-preview"
LONGEST_NAME = 64
"""Characters of a service's name on UbiOps (reference, 1.4)."""
OPENAI_LABELS = ("openai-compatible", "openai-model-names")
"""Labels that list a version at the project's OpenAI-compatible endpoint; only the one that serves carries them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LineRollout:
    """Names are UbiOps' version names, all in one deployment."""

    deployment: str
    new: str
    """The version that the stack file describes."""
    serving: str | None
    """The version that the services lead to (without services: the deployment's default); None: nothing serves yet."""
    gated: bool
    """Whether `new` has still to pass its gate."""
    baking: bool
    """Whether the services lead to `new`, and its bake is not done."""
    kept: tuple[str, ...]
    """Earlier versions that sleep for a rollback, newest first."""
    leaving: tuple[str, ...]
    """Versions that are deleted once `new` serves well: more than `rollout.keep`, failed ones, unfinished ones."""
    failed: RolloutRecord | None
    """How the last rollout to `new` failed."""

    compared: bool = True
    """Whether the gate compares with the version that serves: it is awake and answers."""
    back: bool = False
    """Whether it is a rollback: services get version and port only, and the version that leaves is marked so."""
    only_pointed: tuple[str, ...] = ()
    """Services that get no more than version and port, since their other changes are left out."""

    @property
    def is_over(self) -> bool:
        """Whether `new` serves and has proven itself."""
        return not (self.gated or self.baking)

    @property
    def replaces(self) -> str | None:
        """The version that gives way to `new`, or gave way and could take over again; None where there is none."""
        if self.serving != self.new:
            return self.serving
        return self.kept[0] if self.baking and self.kept else None


def preview_name(deployment: str) -> str:
    """The name of the temporary service that a gate uses."""
    return deployment[: LONGEST_NAME - len(PREVIEW_SUFFIX)] + PREVIEW_SUFFIX


def rollout_of(desired: Desired, live: Live) -> LineRollout | None:
    """Where the stack's line stands; None for a stack that is changed in place."""
    stack = desired.stack
    if not is_line(stack):
        return None
    deployment, new = stack.deployment.name, stack.version.name
    versions = live.versions(deployment)
    records = {name: Labels.of(raw).rollout for name, raw in versions.items()}
    lead = _leads_to(desired, live, versions)
    serving = _serving(new, lead)
    record = records.get(new)
    state = record.state if record is not None else None
    gated = set(lead) != {new} or not _has_passed(state, has_services=bool(stack.services))
    used = {name for name in versions if version_address(deployment, name) in live.used_by}
    kept, leaving = _earlier(new, serving, records, versions, stack.rollout.keep, used)
    return LineRollout(
        deployment=deployment,
        new=new,
        serving=serving,
        gated=gated,
        baking=not gated and state == "passed",
        kept=kept,
        leaving=leaving,
        failed=record if state == "failed" else None,
    )


def _has_passed(state: RolloutState | None, *, has_services: bool) -> bool:
    """Whether a version with that record, None without one, has passed its gate.

    One that services lead to without a record was made in place, or adopted: it has served before.
    """
    return has_services if state is None else state in ("passed", "served", "left")


def _leads_to(desired: Desired, live: Live, versions: Mapping[str, Json]) -> list[str]:
    """The version that each live service of the stack leads to; without services the deployment's default."""
    default = next((name for name, raw in versions.items() if raw.get("default")), None)
    if not desired.stack.services:
        return [default] if default else []
    raws = (live.owned.get(service_address(service.name)) for service in desired.stack.services)
    deployment = desired.stack.deployment.name
    names = [str(raw.get("version") or default) for raw in raws if raw and raw.get("deployment") == deployment]
    return [name for name in names if name in versions]


def _serving(new: str, lead: Sequence[str]) -> str | None:
    """Of services that lead to several versions the earlier one counts: a switch was cut off."""
    earlier = [name for name in lead if name != new]
    return earlier[0] if earlier else (lead[0] if lead else None)


def _earlier(
    new: str,
    serving: str | None,
    records: Mapping[str, RolloutRecord | None],
    versions: Mapping[str, Json],
    keep: int,
    used: set[str],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Versions beside `new`: those that sleep for a rollback, newest first, and those that leave."""
    others = [name for name in versions if name != new]

    def has_served(name: str) -> bool:
        record = records[name]
        return name == serving or record is None or record.state in ("served", "left")

    def newest_first(name: str) -> tuple[bool, str, str]:
        record = records[name]
        return (name == serving, record.at if record else "", str(versions[name].get("creation_date") or ""))

    served = sorted(filter(has_served, others), key=newest_first, reverse=True)
    used = used | {name for name in others if (record := records[name]) is not None and record.state == "kept"}
    asleep = [name for position, name in enumerate(served) if position < keep] + sorted(used & set(others))
    asleep = list(dict.fromkeys(asleep))
    return tuple(asleep), tuple(sorted(name for name in others if name not in asleep))


def sleeps(raw: Json) -> bool:
    """Whether a version keeps no instances and is not listed at the project's OpenAI-compatible endpoint."""
    return not raw.get("minimum_instances") and not any(name in Labels.of(raw).all for name in OPENAI_LABELS)


def is_of_the_rollout(address: Address, rollout: LineRollout | None) -> bool:
    """Whether an object that no file names belongs to the line: an earlier version, what hangs on it, the preview."""
    if rollout is None:
        return False
    if address.kind is Kind.SERVICE:
        return rollout.gated and address == service_address(preview_name(rollout.deployment))
    return address.names[:2] in {(rollout.deployment, name) for name in (*rollout.kept, *rollout.leaving)}


def version_of(rollout: LineRollout) -> Address:
    """The address of the version that the stack file describes."""
    return version_address(rollout.deployment, rollout.new)


def other_strategy(stack: Stack, live: Live) -> str | None:
    """The serving version that another `rollout.strategy` made: `v1` of a line, `v1-0123abcd` of a stack in place."""
    deployment, line = stack.deployment.name, line_of(stack)
    versions = live.versions(deployment)
    raws = [live.owned.get(service_address(service.name)) or {} for service in stack.services]
    led = {raw.get("version") for raw in raws if raw.get("deployment") == deployment}
    led |= {name for name, raw in versions.items() if raw.get("default")}
    others = {line} if is_line(stack) else {name for name in versions if is_of_line(name, line)}
    return next((name for name in versions if name in others & led), None)
