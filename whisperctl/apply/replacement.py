"""Every running instance of a version replaced by a new one, one after the other: the endpoint goes on answering.

The minimum is raised until the last successor runs. What it was is noted on the version, so that a process that was
killed meanwhile leaves nothing that costs for ever: whoever restarts, scales or pauses next goes on from the note, and
an apply sets what the file says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from whisperctl.apply.awake import STOPPABLE, schedule_seconds, wake
from whisperctl.apply.context import ApplyContext
from whisperctl.apply.failed_starts import cause_text, last_failure
from whisperctl.apply.fresh import change_now
from whisperctl.apply.polling import looks
from whisperctl.clock import StoppableClock, latest_moment
from whisperctl.control.api import Api, Json
from whisperctl.errors import NotFound, TimedOut, Unhealthy
from whisperctl.plan.operations import Operation
from whisperctl.state.labels import Labels
from whisperctl.state.resources import version_address

LOG_EVERY = 15.0
"""Seconds between two looks for a failed start in the log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Replaced:
    """What became of the instances that ran."""

    count: int
    """Instances that were replaced."""
    silent_seconds: float = 0.0
    """How long none answered, because there was no room for a successor beside the last one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """The version whose instances are replaced, and how long its successors may take."""

    api: Api
    deployment: str
    version: str
    clock: StoppableClock
    timeout: float
    """Seconds for each successor."""
    schedule_seconds: float
    """How long an instance may wait for room."""
    say: Callable[[str], None]

    @property
    def name(self) -> str:
        """Its address."""
        return f"version/{self.deployment}/{self.version}"

    def read(self) -> Json:
        """The version as it is now.

        Raises:
            Unhealthy: it is gone.
        """
        return self._there(self.api.version(self.deployment, self.version))

    def change(self, body_of: Callable[[Json], Json]) -> None:
        """Change the version as follows from how it is right before each try.

        Raises:
            Unhealthy: it is gone.
        """
        address = version_address(self.deployment, self.version)
        change_now(self.api, address, lambda raw: body_of(self._there(raw)))

    def _there(self, raw: Json | None) -> Json:
        if raw is None:
            raise Unhealthy(f"{self.name} disappeared while its instances were replaced.")
        return raw

    def instances(self) -> list[Json]:
        """Those that run or are about to."""
        instances = self.api.instances(self.deployment, self.version)
        return [item for item in instances if item["status"] in STOPPABLE]

    def stop(self, instance: str) -> None:
        """Ask an instance to stop; one that is gone is fine."""
        try:
            self.api.stop_instance(self.deployment, self.version, instance)
        except NotFound:
            return


def restart(context: ApplyContext, operation: Operation) -> None:
    """Replace the instances that still have the old value of an env var; none is woken.

    Raises:
        Unhealthy: a successor does not come up.
    """
    replaced = replace_instances(
        Target(
            api=context.api,
            deployment=context.deployment,
            version=context.version,
            clock=context.clock,
            timeout=context.timeout,
            schedule_seconds=schedule_seconds(context.api, context.plan.desired.stack.instance_type_group),
            say=lambda text: context.say(operation.address, text),
        )
    )
    address = version_address(context.deployment, context.version)
    context.saw(address, context.api.version(context.deployment, context.version))
    if not replaced.count:
        context.say(operation.address, "no instance runs: there is none to replace")


def minimum_of(raw: Json) -> int:
    """minimum_instances of a version without what a restart that was cut off has raised it by."""
    noted = Labels.of(raw).restart
    minimum = int(raw.get("minimum_instances") or 0)
    return noted[0] if noted is not None and noted[1] == minimum else minimum


def replace_instances(target: Target) -> Replaced:
    """Replace every instance that runs.

    Raises:
        Unhealthy: a successor does not come up; the instances that were not replaced yet go on running.
        TimedOut: it did not in time.
        Interrupted: the user interrupted.
    """
    raw = target.read()
    minimum = minimum_of(raw)
    old = [str(item["id"]) for item in target.instances()]
    if not old:
        _put_back(target, minimum)
        return Replaced(count=0)
    raised = max(minimum, len(old)) + 1
    if raised > int(raw.get("maximum_instances") or 0):
        _put_back(target, minimum)
        return _stop_first(target, old)
    with _raised(target, minimum, raised):
        for position, instance in enumerate(old, 1):
            target.say(f"replacing instance {position} of {len(old)}: waiting for its successor")
            _wait_for_successors(target, old, position)
            if position == len(old):
                _put_back(target, minimum)
            target.stop(instance)
    return Replaced(count=len(old))


def _stop_first(target: Target, old: Sequence[str]) -> Replaced:
    """Without room for one more: each is stopped before its successor starts."""
    silent = 0.0
    for position, instance in enumerate(old, 1):
        alone = len(old) == 1
        target.say(
            f"replacing instance {position} of {len(old)}: maximum_instances leaves no room for a successor beside it"
            + (", so that nothing answers until that is up" if alone else "")
        )
        target.stop(instance)
        begun = target.clock.monotonic()
        _gone(target, instance)
        wake(
            target.api,
            target.deployment,
            target.version,
            instances=len(old),
            timeout=target.timeout,
            schedule_seconds=target.schedule_seconds,
            clock=target.clock,
            checks=(_failed_start_check(target),),
        )
        silent += target.clock.monotonic() - begun if alone else 0.0
    if silent:
        target.say(f"nothing answered for {silent:.0f} s")
    return Replaced(count=len(old), silent_seconds=silent)


def _gone(target: Target, instance: str) -> None:
    """Wait until an instance is stopping, so that it does not count as one that runs."""
    for _ in looks(target.clock, target.timeout):
        if all(item["id"] != instance for item in target.instances()):
            return
    raise TimedOut(f"Timed out after {target.timeout:g} s: the instance {instance} does not stop.")


def _wait_for_successors(target: Target, old: Sequence[str], count: int) -> None:
    check = _failed_start_check(target)
    for _ in looks(target.clock, target.timeout):
        new = [item for item in target.instances() if item["id"] not in old]
        if sum(item["status"] == "running" for item in new) >= count:
            return
        check()
    raise TimedOut(
        f"Timed out after {target.timeout:g} s: no successor of an instance of {target.name} runs.\n"
        "  A larger rollout.timeout waits longer; the instances that run were left as they are."
    )


def _failed_start_check(target: Target) -> Callable[[], None]:
    """A call that looks into the log now and then, and raises the cause of a failed start."""
    since, looked = int(target.clock.time() * 1e9), [target.clock.monotonic()]

    def check() -> None:
        if target.clock.monotonic() - looked[0] < LOG_EVERY:
            return
        looked[0] = target.clock.monotonic()
        cause = last_failure(target.api, target.deployment, target.version, since, latest_moment(target.clock))
        if cause is not None:
            raise Unhealthy(
                f"{target.name}: the successor of an instance failed to start.{cause_text(cause)}\n"
                "  What was not replaced yet goes on running; `whisperctl logs --instance` shows the rest."
            )

    return check


@contextmanager
def _raised(target: Target, minimum: int, raised: int) -> Iterator[None]:
    """With a higher minimum while this lasts, noted on the version; however it ends, the minimum is put back."""
    target.change(
        lambda raw: {"minimum_instances": raised, "labels": Labels.of(raw).written(restart=(minimum, raised))}
    )
    try:
        yield
    finally:
        _put_back(target, minimum)


def _put_back(target: Target, minimum: int) -> None:
    """The minimum of before, and no note of a restart any more; writes nothing where that is so already."""

    def body_of(raw: Json) -> Json:
        if Labels.of(raw).restart is None:
            return {}
        body: Json = {"labels": Labels.of(raw).written(restart=None)}
        return body if minimum_of(raw) == raw.get("minimum_instances") else body | {"minimum_instances": minimum}

    target.change(body_of)
