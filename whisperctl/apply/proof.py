"""The end of an apply: an instance is awake, and the endpoint does what the spec says.

An instance is woken by a deployment request, never by changing minimum_instances. The request runs beside the
probe: when it fails, the instance will not come up, and there is no point in waiting for the deadline.
"""

from __future__ import annotations

import contextlib
import json
import threading
from typing import Any

from whisperctl.apply.failed_starts import Starts, last_logs
from whisperctl.apply.job import Job
from whisperctl.apply.polling import wait_for
from whisperctl.clock import StoppableClock
from whisperctl.control.api import Json
from whisperctl.endpoint.client import Endpoint
from whisperctl.endpoint.probe import probe as probe_endpoint
from whisperctl.errors import ApiError, Interrupted, TimedOut, Unhealthy, WhisperctlError
from whisperctl.plan.operations import Operation
from whisperctl.spec import Service
from whisperctl.state.resources import Address

NOT_YET = (0, 502, 503, 504)
"""Statuses of a deployment request that was lost, or given up by something in between."""
OLD_SECONDS = 300.0
"""How long the instances of an old revision are waited for."""


def prove(job: Job, operation: Operation, token: str) -> None:
    """Wake an instance and probe every service that leads to the server; without one, ask the deployment itself.

    Raises:
        Unhealthy: it does not come up, or does not do what the spec says.
        TimedOut: it did not come up within rollout.timeout.
    """
    stack = job.plan.wanted.stack
    _see_off_old_instances(job, operation.address)
    awake = _Wake(job, operation.address)
    awake.start()
    served = [service for service in stack.services if service.port == _server_port(job)]
    for service in served:
        _probe_service(job, operation.address, service, token, awake)
    if not served:
        awake.wait()


def _see_off_old_instances(job: Job, address: Address) -> None:
    """Wait until no instance runs what was active before: the probe must not be answered by it."""

    def old() -> set[str]:
        return job.outdated & {item["id"] for item in job.api.instances(job.deployment, job.version)}

    if not job.outdated or not old():
        return
    job.say(address, "waiting for the instances of the old revision to go")
    try:
        wait_for(old, lambda left: not left, clock=job.clock, timeout=min(job.timeout, OLD_SECONDS), what="them to go")
    except TimedOut:
        # How UbiOps replaces instances is not documented: what stays is not waited for longer.
        job.warn(address, f"some still run after {OLD_SECONDS:g} s: the proof may come from one of them")


def _server_port(job: Job) -> int:
    """The port of the health check, which loading made sure is the server's; 8080 without one."""
    check: Any = job.plan.wanted.stack.version.fields.get("health_check") or {}
    return int(check.get("port") or 8080)


def _probe_service(job: Job, address: Address, service: Service, token: str, awake: _Wake) -> None:
    stack = job.plan.wanted.stack
    url = job.api.service(service.name).get("endpoint")
    if not url:
        raise Unhealthy(f"service/{service.name} has no endpoint yet.\n  Apply again in a minute.")
    needs_token = token if service.authentication_required else None
    with Endpoint(url, needs_token, job.api.rest.timeout, home=job.api.host) as endpoint:
        probed = probe_endpoint(
            endpoint,
            served_name=stack.model.served_name,
            smoke=stack.rollout.smoke,
            task=stack.model.task,
            clock=_HopefulClock(job.clock, awake, Starts(job, address)),
            timeout=job.timeout,
            listen=lambda line: job.say(address, f"{service.name}: {line}"),
        )
    job.say(address, f"{url} is up after {probed.seconds:.0f} s")


class _HopefulClock:
    """The job's clock; a sleep also ends when the waking request has failed, or the server too often."""

    def __init__(self, clock: StoppableClock, awake: _Wake, starts: Starts) -> None:
        self.clock, self.awake, self.starts = clock, awake, starts

    def monotonic(self) -> float:
        return self.clock.monotonic()

    def time(self) -> float:
        return self.clock.time()

    def sleep(self, seconds: float) -> None:
        self.awake.raise_failure()
        self.starts.look()
        self.clock.sleep(seconds)


class _Wake:
    """A deployment request in a thread of its own: it returns once an instance has answered."""

    def __init__(self, job: Job, address: Address) -> None:
        self.job, self.address = job, address
        self.failure: WhisperctlError | None = None
        self.answer: Json | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Send the request, unless an instance runs already and a service will show its health."""
        job = self.job
        running = [item for item in job.api.instances(job.deployment, job.version) if item["status"] == "running"]
        if running and job.plan.wanted.stack.services:
            return
        job.say(self.address, "waking an instance with a deployment request")
        self.thread.start()

    def _run(self) -> None:
        job = self.job
        try:
            self.answer = self._ask()
        except Interrupted:
            return
        except ApiError as error:
            self.failure = error
            return
        if self.answer.get("status") == "failed":
            reason = "\n".join(job.foreign(self.answer.get("error_message") or "UbiOps gives no reason"))
            self.failure = Unhealthy(f"{self.address}: no instance came up: {reason}" + last_logs(job))

    def _ask(self) -> Json:
        """The answer; a request that is lost, or given up while the instance still starts, is made again."""
        job = self.job
        since = job.clock.monotonic()
        while True:
            try:
                return job.api.create_request(job.deployment, job.version, "health", job.timeout)
            except ApiError as error:
                if error.status not in NOT_YET or job.clock.monotonic() - since > job.timeout:
                    raise
                job.clock.sleep(2.0)

    def raise_failure(self) -> None:
        """Raise what the request failed with, if it did."""
        if self.failure is not None:
            raise self.failure

    def wait(self) -> None:
        """Wait for the answer and hold it to its word."""
        if not self.thread.is_alive() and self.answer is None and self.failure is None:
            return
        start = self.job.clock.monotonic()
        while self.thread.is_alive():
            if self.job.clock.monotonic() - start > self.job.timeout:
                raise Unhealthy(f"{self.address}: no answer to a deployment request in {self.job.timeout:g} s.")
            self.job.clock.sleep(0.2)
        self.raise_failure()
        check_own_health(self.address, self.answer)
        self.job.say(self.address, "the deployment request answers: healthy")


def check_own_health(address: Address, answer: Json | None) -> None:
    """Raise Unhealthy unless the package's `request()` reports a healthy server."""
    result: Any = (answer or {}).get("result")
    if isinstance(result, str):
        with contextlib.suppress(ValueError):
            result = json.loads(result)
    if not isinstance(result, dict) or result.get("status") != "healthy":
        raise Unhealthy(f"{address}: the deployment request answers {result!r}, not a healthy server.")
