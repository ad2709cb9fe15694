"""What a plan costs, in credits per hour, and whether the instances that a rollout needs beside find room. Pure.

A version costs its group's dearest instance type for each instance (`credit_rate`; UbiOps reference, 3.7). Versions
of a line that do not serve sleep, and are counted only where they keep instances.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from whisperctl.control.api import Json
from whisperctl.state.desired import Desired
from whisperctl.state.live import Live
from whisperctl.state.resources import Kind, version_address
from whisperctl.state.rollout import LineRollout

Surge = Literal["fits", "does not fit", "unknown", "none"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PricedBounds:
    """Instances at least and at most, and what one of them costs."""

    minimum: int
    maximum: int
    rate: float | None
    """Credits per hour of one instance; None when its group does not tell."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """Credits per hour before and after a plan; None when a rate is unknown."""

    before: float | None
    after: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What the instances of a stack cost at least and at most, before and after its plan."""

    minimum: Price
    maximum: Price
    surge: Surge = "none"
    """Whether the instances that a rollout needs beside what serves find room."""
    surge_reason: str = ""
    """Which quota proves that they do not."""


def stack_cost(desired: Desired, live: Live, rollout: LineRollout | None, destroy: bool) -> Cost:
    """What the stack's versions cost before its plan and after it."""
    stack = desired.stack
    address = version_address(stack.deployment.name, stack.version.name)
    rate = _rate(live.groups, "", stack.instance_type_group.name)
    beside = {*rollout.kept, *rollout.leaving, rollout.new} - {rollout.serving} if rollout else set()
    asleep = {version_address(stack.deployment.name, name) for name in beside}
    before = [
        _bounds(raw, _rate(live.groups, str(raw.get("instance_type_group_id") or ""), "", rate))
        for known, raw in live.owned.items()
        if known.kind is Kind.VERSION and (known not in asleep or raw.get("minimum_instances"))
    ]
    after = [] if destroy else [_bounds(desired.state[address].fields, rate)]
    return cost(before, after)


def unchanged_cost(cost: Cost) -> Cost:
    """What a stack costs whose version is left as it is."""
    minimum, maximum = cost.minimum.before, cost.maximum.before
    return replace(cost, minimum=Price(before=minimum, after=minimum), maximum=Price(before=maximum, after=maximum))


def _bounds(fields: Mapping[str, Any], rate: float | None) -> PricedBounds:
    return PricedBounds(
        minimum=int(fields.get("minimum_instances") or 0), maximum=int(fields.get("maximum_instances") or 0), rate=rate
    )


def _rate(groups: Sequence[Json], ident: str, name: str, otherwise: float | None = None) -> float | None:
    """Of the group with that id, else of the first of that name."""
    first = next((group for group in groups if group["id"] == ident or group["name"] == name), None)
    return dearest(first.get("instance_types") or ()) if first else otherwise


def cost(before: Iterable[PricedBounds], after: Iterable[PricedBounds]) -> Cost:
    """The cost of the versions that run before a plan and of those that run after it."""
    earlier, later = tuple(before), tuple(after)
    return Cost(
        minimum=Price(before=_sum(earlier, "minimum"), after=_sum(later, "minimum")),
        maximum=Price(before=_sum(earlier, "maximum"), after=_sum(later, "maximum")),
    )


def _sum(versions: Sequence[PricedBounds], which: Literal["minimum", "maximum"]) -> float | None:
    total = 0.0
    for version in versions:
        instances = version.minimum if which == "minimum" else version.maximum
        if instances and version.rate is None:
            return None
        total += instances * (version.rate or 0.0)
    return total


def dearest(types: Iterable[Mapping[str, Any]]) -> float | None:
    """Credits per hour of the dearest of a group's instance types; None when one of them has no rate."""
    rates = [item.get("credit_rate") for item in types]
    known = [float(rate) for rate in rates if isinstance(rate, (int, float))]
    return max(known) if known and len(known) == len(rates) else None


def surge(
    needed: int, types: Sequence[Json], quotas: Sequence[Json], running: Sequence[Json], all_types: Sequence[Json]
) -> tuple[Surge, str]:
    """Whether `needed` more instances of one of `types` find room, and which quota says that they do not.

    Only a quota that can be read proves anything: one whose resource is `instances`, `gpus`, `memory` (MiB), or the
    name of an instance type.

    Args:
        needed: instances beside those that run.
        types: the instance types of the group, in the order in which UbiOps tries them.
        quotas: `{resource, quota}` of the project; a quota of null is no limit.
        running: instances of the project with their `instance_type`.
        all_types: the project's instance types, with `accelerator` and `memory`.
    """
    if not needed:
        return "none", ""
    limits = {str(item["resource"]): item["quota"] for item in quotas if isinstance(item.get("quota"), (int, float))}
    details = {str(item["name"]): item for item in all_types}
    used = [str(item["instance_type"].get("name")) for item in running if item.get("instance_type")]
    waiting = len(running) - len(used)
    reasons = []
    for item in types:
        checks = _checks(str(item["name"]), item, used, waiting, details)
        known = [(name, have, one) for name, have, one in checks if name in limits]
        over = [f"{name}: {limits[name]:g}, in use {have:g}" for name, have, one in known
                if have + needed * one > limits[name]]  # fmt: skip
        if not over:
            return ("fits" if known else "unknown"), ""
        reasons += over
    return ("does not fit", "; ".join(dict.fromkeys(reasons))) if reasons else ("unknown", "")


def _checks(
    name: str, item: Json, used: Sequence[str], waiting: int, details: Mapping[str, Json]
) -> list[tuple[str, float, float]]:
    """Resource, how much of it is in use, and how much one instance of this type takes."""

    def total(field: str) -> float:
        return sum(float(details.get(each, {}).get(field) or 0) for each in used)

    return [
        ("instances", len(used) + waiting, 1),
        ("gpus", total("accelerator"), float(item.get("accelerator") or 0)),
        ("memory", total("memory"), float(item.get("memory") or 0)),
        (name, used.count(name), 1),
    ]
