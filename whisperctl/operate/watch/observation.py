"""What one look at a stack shows: drift, endpoint, instances, cost, failed starts, leaks. Reads only, wakes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from whisperctl.apply.failed_starts import FAILED_START, last_failure, lines_of
from whisperctl.apply.holder import is_gone
from whisperctl.clock import Clock, latest_moment
from whisperctl.control.api import Api
from whisperctl.engine import World
from whisperctl.errors import ApiError, WhisperctlError
from whisperctl.operate.drift import Drift, find_drift
from whisperctl.operate.inventory import VersionUse, read_inventory
from whisperctl.operate.status import Status, read_status
from whisperctl.spec import Stack
from whisperctl.state.labels import Labels
from whisperctl.state.resources import Kind

HOURS = 24
LOOK_BACK = 3600
"""Seconds of an instance's log in which a failed start is looked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """One stack as it was in one round."""

    stack: str
    project: str
    drift: Drift | None = None
    """None where it could not be planned."""
    status: Status | None = None
    failed_starts: tuple[str, ...] = ()
    """Why the server did not come up, as the log of its instances tells; since the round before."""
    leaks: tuple[VersionUse, ...] = ()
    """Versions that cost and serve nobody."""
    leased: bool = False
    """Whether a command that writes is at work on it."""
    last_apply: float | None = None
    """When its deployment was last written (seconds since 1970), as every apply does at its end."""
    advisories: tuple[str, ...] = ()
    """What is known against the pinned vLLM release."""
    error: str = ""
    """Why it could not be looked at."""


@dataclass(kw_only=True)
class Observer:
    """Looks at stacks; remembers only until when each log was read."""

    world: World
    clock: Clock
    read_until: dict[tuple[str, str], float] = field(default_factory=dict)
    """Project and stack -> seconds since 1970."""

    def look(self, stacks: Sequence[Stack]) -> list[Observation]:
        """Look at every stack; what cannot be read of one is told in its observation and hides no other."""
        projects: dict[str, list[Stack]] = {}
        for stack in stacks:
            projects.setdefault(self.world.project_of(stack), []).append(stack)
        return [seen for project, members in projects.items() for seen in self._look_at_project(project, members)]

    def _look_at_project(self, project: str, stacks: Sequence[Stack]) -> Iterator[Observation]:
        drifts = self._drifts(project, stacks)
        leaks = self._leaks(project)
        for stack in stacks:
            drift = drifts[stack.name]
            if isinstance(drift, str):
                yield Observation(stack=stack.name, project=project, error=drift)
                continue
            try:
                yield self._observation(project, stack, drift, leaks.get(stack.name, ()))
            except WhisperctlError as error:
                yield Observation(stack=stack.name, project=project, drift=drift, error=str(error))

    def _drifts(self, project: str, stacks: Sequence[Stack]) -> dict[str, Drift | str]:
        """The drift of each stack, or why it cannot be planned: together, and one by one where that fails."""
        try:
            return {drift.plan.stack: drift for drift in find_drift(stacks, self.world)}
        except WhisperctlError as error:
            if len(stacks) == 1 or isinstance(error, ApiError):
                return dict.fromkeys((stack.name for stack in stacks), str(error))
        return {name: drift for stack in stacks for name, drift in self._drifts(project, [stack]).items()}

    def _leaks(self, project: str) -> dict[str, tuple[VersionUse, ...]]:
        try:
            entries = read_inventory(self.world.apis[project], parallelism=self.world.parallelism)
        except WhisperctlError:
            return {}  # whatever cannot be read is told with the stacks
        return {entry.stack: entry.leaks for entry in entries}

    def _observation(self, project: str, stack: Stack, drift: Drift, leaks: tuple[VersionUse, ...]) -> Observation:
        api = self.world.apis[project]
        status = read_status(api, stack)
        raw = next((raw for address, raw in drift.plan.live.owned.items() if address.kind is Kind.DEPLOYMENT), {})
        lease = Labels.of(raw).lease
        leased = lease is not None and not is_gone(lease)
        return Observation(
            stack=stack.name,
            project=project,
            drift=drift,
            status=status,
            failed_starts=self._failed_starts(api, stack, status),
            leaks=() if leased else leaks,  # a rollout at work runs two versions for a while
            leased=leased,
            last_apply=_seconds(raw),
            advisories=tuple(problem.text for problem in stack.warnings if problem.name == "vllm-advisory"),
        )

    def _failed_starts(self, api: Api, stack: Stack, status: Status) -> tuple[str, ...]:
        """The reasons of failed starts since the log was last read; asked for only while an instance is not up."""
        if not status.deployed or all(instance.status == "running" for instance in status.instances):
            return ()
        key, now = (api.project, stack.name), self.clock.time()
        since, until = self.read_until.get(key, now - LOOK_BACK), latest_moment(self.clock)
        self.read_until[key] = now
        names = (stack.deployment.name, next((part.address.names[1] for part in status.parts
                                              if part.address.kind is Kind.VERSION), stack.version.name))  # fmt: skip
        query = f"{lines_of(*names)} |= `{FAILED_START}`"
        if not api.logs(query, until, int(since * 1e9), 1):
            return ()
        # What went wrong was logged before the server ended, perhaps before the last round.
        cause = last_failure(api, *names, int((now - LOOK_BACK) * 1e9), until)
        return (cause.error,) if cause else ()


def _seconds(deployment: Mapping[str, object]) -> float | None:
    text = deployment.get("last_updated")
    try:
        return datetime.fromisoformat(str(text)).timestamp() if text else None
    except ValueError:
        return None
