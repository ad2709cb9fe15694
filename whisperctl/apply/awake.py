"""Instances brought up and kept awake by deployment requests, never by a minimum: what a killed apply leaves behind
then falls asleep by itself.

UbiOps starts instances for requests that wait (reference, 6), and stops them after `maximum_idle_time` without one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from whisperctl.clock import Clock
from whisperctl.control.api import Api, Json
from whisperctl.errors import ApiError, Interrupted, NotFound, TimedOut, Unhealthy, WhisperctlError

QUESTION = "health"
"""What a waking request asks; the package answers any request with its health."""
SCHEDULE_TIMEOUT = 300
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
        """Send nothing more."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.wait(self._pause):
            with ThreadPoolExecutor(self._instances) as pool:
                list(pool.map(self._ask, range(self._instances)))

    def _ask(self, _number: int) -> None:
        try:
            self._api.create_request(self._deployment, self.version, QUESTION, self._pause)
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
    clock: Clock,
    checks: Sequence[Callable[[], None]] = (),
) -> None:
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

    Raises:
        Unhealthy: no room was found, or the instance did not come up.
        TimedOut: they did not run in time.
    """
    requests = _Requests(api, deployment, version, instances, timeout)
    start = clock.monotonic()
    try:
        while True:
            found = api.instances(deployment, version)
            running = [item for item in found if item["status"] == "running"]
            if len(running) >= instances:
                return
            requests.raise_failure()
            waited = clock.monotonic() - start
            _refuse_unscheduled(found, waited, schedule_seconds, f"version/{deployment}/{version}")
            if waited > timeout:
                raise TimedOut(
                    f"Timed out after {timeout:g} s: {len(running)} of {instances} instances of "
                    f"version/{deployment}/{version} run.\n  A larger rollout.timeout waits longer."
                )
            for check in checks:
                check()
            requests.send()
            clock.sleep(1.0)
    finally:
        requests.close()


def _refuse_unscheduled(found: Sequence[Json], waited: float, limit: float, name: str) -> None:
    unscheduled = [item for item in found if item["status"] == "pending" and not item.get("instance_type")]
    if unscheduled and waited > limit:
        raise Unhealthy(
            f"{name}: no capacity: an instance was not scheduled within {limit:g} s.\n"
            "  Free an instance, name further instance_types in the group, or use rollout.strategy: in_place."
        )


class _Requests:
    """As many waking requests at a time as instances are wanted."""

    def __init__(self, api: Api, deployment: str, version: str, count: int, timeout: float) -> None:
        self._ask: Callable[[], Json] = lambda: api.create_request(deployment, version, QUESTION, timeout)
        self._name = f"version/{deployment}/{version}"
        self._count, self._lock = count, threading.Lock()
        self._open = 0
        self._failure: WhisperctlError | None = None

    def send(self) -> None:
        """Bring the number of open requests up to the number of instances."""
        with self._lock:
            missing, self._open = self._count - self._open, self._count
        for _ in range(missing):
            threading.Thread(target=self._one, name=f"wake {self._name}", daemon=True).start()

    def raise_failure(self) -> None:
        """Raise what a request failed with."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Start no more of them; those on their way end by themselves."""
        with self._lock:
            self._count = 0

    def _one(self) -> None:
        try:
            answer = self._ask()
        except Interrupted:
            return
        except ApiError as error:
            if error.status not in (0, 429, 502, 503, 504):  # lost, or given up in between: another is sent
                self._failure = error
        else:
            if answer.get("status") == "failed":
                reason = answer.get("error_message") or "UbiOps gives no reason"
                self._failure = Unhealthy(f"{self._name}: no instance came up: {reason}")
        finally:
            with self._lock:
                self._open -= 1


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
