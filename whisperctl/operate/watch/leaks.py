"""Versions of a stack that cost and serve nobody: kept awake or running while its services lead elsewhere. It reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from whisperctl.control.api import Api, Json
from whisperctl.plan.cost import dearest
from whisperctl.spec import Stack
from whisperctl.state.labels import owner
from whisperctl.state.live import Live
from whisperctl.state.resources import Kind
from whisperctl.state.rollout import preview_name

RUNS = ("initialising", "running")
"""Statuses of an instance that has its machine (UbiOps reference, 3.13)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Leak:
    """A version that costs and serves nobody."""

    version: str
    credits_per_hour: float | None
    """None where the instance types do not tell."""


def read_leaks(api: Api, live: Live, stack: Stack, instances: Sequence[Json]) -> list[Leak]:
    """The leaks of one stack; none of a stack without a service, whose versions are used by name.

    Args:
        api: the control plane of its project; asked for the versions, and for the group of what leaks.
        live: what UbiOps holds of the stack.
        stack: which.
        instances: those of its project.

    Raises:
        ApiError: UbiOps cannot be read.
    """
    name = stack.deployment.name
    services = [raw for address, raw in live.owned.items() if address.kind is Kind.SERVICE]
    real = [raw for raw in services if raw["name"] != preview_name(name)]
    if not real:
        return []
    versions = [raw for raw in api.versions(name) if owner(raw) == stack.name]
    default = next((raw["version"] for raw in versions if raw.get("default")), None)
    led_to = {raw.get("version") or default for raw in real}
    return [
        Leak(version=raw["version"], credits_per_hour=_credits(api, live, name, raw["version"], kept))
        for raw in versions
        if raw["version"] not in led_to and (kept := _kept(raw, name, instances))
    ]


def _kept(version: Json, deployment: str, instances: Sequence[Json]) -> int:
    """Instances that run, or that the minimum keeps."""
    where = (deployment, version["version"])
    running = sum(
        (item.get("deployment"), item.get("version")) == where and item.get("status") in RUNS for item in instances
    )
    return max(int(version.get("minimum_instances") or 0), running)


def _credits(api: Api, live: Live, deployment: str, version: str, kept: int) -> float | None:
    """Credits an hour, by the dearest type of the version's group."""
    wanted = (api.version(deployment, version) or {}).get("instance_type_group_id")
    found = next((group for group in live.groups if group["id"] == wanted), None)
    rate = dearest(found.get("instance_types") or ()) if found else None
    return None if rate is None else kept * rate
