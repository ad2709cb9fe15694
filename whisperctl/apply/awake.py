"""Instances brought up and kept awake by deployment requests, never by a minimum: what a killed apply leaves behind
then falls asleep by itself.

UbiOps starts instances for requests that wait (reference, 6), and stops them after `maximum_idle_time` without one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from whisperctl.apply.polling import looks
from whisperctl.clock import StoppableClock
from whisperctl.control.api import Api, Json
from whisperctl.endpoint.readiness import Wake, check_woken, waking_request
from whisperctl.errors import Interrupted, NotFound, TimedOut, Unhealthy, WhisperctlError
from whisperctl.spec import InstanceTypeGroup
from whisperctl.state.group_types import types_of_groups

_SCHEDULE_TIMEOUT = 300
"""Seconds that UbiOps tries to schedule an instance on one type where the group does not say (reference, 3.7)."""
STOPPABLE = ("pending", "initialising", "running")
"""Statuses of an instance that can be stopped (reference, 3.13)."""


class KeptAwake:
    """Keeps instances of one version awake until `stop`; safe to stop twice."""

    def __init__(self, api: Api, deployment: str, version: str, instances: int, idle_seconds: float) -> None:
        """Begin at once.

        Args:
            api: the control plane.
            deployment: the deployment's name.
            version: the version's name.
            instances: how many instances each round of requests is to reach.
            idle_seconds: the version's maximum_idle_time.
        """
        self.version = version
        self._api, self._deployment, self._instances = api, deployment, max(instances, 1)
        self._pause = max(idle_seconds / 4, 1.0)
        self._over = threading.Event()
        self.last_error = ""
        """Why the latest request failed; whoever waits for the endpoint sees whether that matters."""
        threading.Thread(target=self._run, name=f"keep {version} awake", daemon=True).start()

    def stop(self) -> None:
        """Send no further requests; those under way may end."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.wait(self._pause):
            with ThreadPoolExecutor(self._instances) as pool:
                list(pool.map(self._ask, range(self._instances)))

    def _ask(self, _number: int) -> None:
        try:
            waking_request(self._api, self._deployment, self.version, self._pause)
        except (WhisperctlError, Interrupted) as error:  # whoever interrupts stops this, too
            self.last_error = str(error)


def wake(
    api: Api,
    deployment: str,
    version: str,
    *,
    instances: int,
    timeout: float,
    schedule_seconds: float,
    clock: StoppableClock,
    checks: Sequence[Callable[[], None]] = (),
    more: Callable[[], str] = lambda: "",
) -> bool:
    """Return once `instances` of the version run: as many deployment requests at a time start them.

    Args:
        api: the control plane.
        deployment: the deployment's name.
        version: the version's name.
        instances: how many must run.
        timeout: seconds for all of it.
        schedule_seconds: how long an instance may wait for room: the sum of its group's schedule timeouts.
        clock: for the waiting.
        checks: called between two looks; one that raises ends the waiting.
        more: further lines of the message when a request fails, such as the cause in the log.

    Returns:
        Whether none had run before.

    Raises:
        Unhealthy: no room was found, or the instance did not come up.
        TimedOut: they did not run in time.
    """
    name = f"version/{deployment}/{version}"

    def send() -> Json:
        answer = waking_request(api, deployment, version, timeout)
        check_woken(answer, name, more)
        return answer

    requests = Wake(send, instances)
    running: list[int] = []
    try:
        for waited in looks(clock, timeout):
            instances_now = api.instances(deployment, version)
            running.append(sum(item["status"] == "running" for item in instances_now))
            if running[-1] >= instances:
                return not running[0]
            requests.check()
            _refuse_unscheduled(instances_now, waited, schedule_seconds, name)
            for check in checks:
                check()
            requests.start()
    finally:
        requests.close()
    raise TimedOut(
        f"Timed out after {timeout:g} s: {running[-1]} of {instances} instances of {name} run.\n"
        "  A larger rollout.timeout waits longer."
    )


def schedule_seconds(api: Api, group: InstanceTypeGroup) -> float:
    """How long UbiOps tries to schedule an instance of the group, over all of its instance types."""
    types = types_of_groups(api.groups(), group)
    return float(sum(item.get("schedule_timeout") or _SCHEDULE_TIMEOUT for item in types) or _SCHEDULE_TIMEOUT)


def _refuse_unscheduled(instances: Sequence[Json], waited: float, limit: float, name: str) -> None:
    unscheduled = [item for item in instances if item["status"] == "pending" and not item.get("instance_type")]
    if unscheduled and waited > limit:
        raise Unhealthy(
            f"{name}: no capacity: an instance was not scheduled within {limit:g} s.\n"
            "  Free an instance, name further instance_types in the group, or use rollout.strategy: in_place."
        )


def stop_instances(api: Api, deployment: str, version: str) -> int:
    """Stop every instance of a version at once, for until then they cost; how many were told to."""
    count = 0
    for instance in api.instances(deployment, version):
        if instance["status"] not in STOPPABLE:
            continue
        try:
            api.stop_instance(deployment, version, instance["id"])
        except NotFound:
            continue  # it has just gone by itself
        count += 1
    return count
