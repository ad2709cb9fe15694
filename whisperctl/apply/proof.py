"""The end of an apply: an instance is awake, and the endpoint does what the spec says.

An instance is woken by a deployment request, never by changing minimum_instances. The request runs beside the
probe: when it fails, the instance will not come up, and there is no point in waiting for the deadline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from whisperctl.apply.context import ApplyContext
from whisperctl.apply.failed_starts import WORDS, Starts, last_logs
from whisperctl.apply.polling import wait_for
from whisperctl.control.api import Json
from whisperctl.endpoint.client import Endpoint
from whisperctl.endpoint.probe import probe as probe_endpoint
from whisperctl.endpoint.probe import proof_text
from whisperctl.endpoint.readiness import Wake, check_woken, reports_health, waking_request
from whisperctl.errors import TimedOut, Unhealthy
from whisperctl.plan.operations import Operation
from whisperctl.serving.launch import server_port
from whisperctl.spec import Service
from whisperctl.state.resources import Address, service_address

OLD_SECONDS = 300.0
"""How long the instances of an old revision are waited for."""


def prove(context: ApplyContext, operation: Operation, token: str) -> None:
    """Wake an instance and probe every service that leads to the server; without one, ask the deployment itself.

    Raises:
        Unhealthy: it does not come up, or does not do what the spec says.
        TimedOut: it did not come up within rollout.timeout.
    """
    stack, address = context.plan.desired.stack, operation.address
    _see_off_old_instances(context, address)
    since = int(context.clock.time() * 1e9)
    begun = context.clock.monotonic()
    wake = Wake(lambda: _request(context, address, since))
    served = [s for s in stack.services if s.port == server_port(stack) and _leads_here(context, s)]
    checks: list[Callable[[], None]] = [Starts(context, address).look]
    is_running = _is_running(context)
    if not (served and is_running):  # else a service shows the health of what runs
        context.say(address, "waking an instance with a deployment request")
        wake.start()
        checks.insert(0, wake.check)
    for service in served:
        _probe_service(context, address, service, token, checks)
    if not served:
        check_own_health(address, wake.wait(context.clock, context.timeout, str(address)))
        context.say(address, "the deployment request answers: healthy")
        context.proved = (
            "a deployment request answered: healthy; nothing was transcribed: no service leads to the server"
        )
    if not is_running:
        context.started(begun)


def _request(context: ApplyContext, address: Address, since: int) -> Json:
    """A deployment request that an instance has answered; `since` is when the start began, in nanoseconds."""
    answer = waking_request(context.api, context.deployment, context.version, context.timeout)
    reason = answer.get("error_message")
    # The package's own last lines stand in the log, too, below their cause.
    cleaned = {
        **answer,
        "error_message": "\n".join(context.redacted(reason)).partition(WORDS)[0].strip() if reason else None,
    }
    check_woken(cleaned, str(address), lambda: last_logs(context, since))
    return answer


def _leads_here(context: ApplyContext, service: Service) -> bool:
    """Whether a service leads to the stack's version after this plan: one that is left out leads where it led."""
    address = service_address(service.name)
    raw = context.plan.live.owned.get(address, {})
    leads = (raw.get("deployment"), raw.get("version")) == (context.deployment, context.version)
    return address not in context.plan.left_out or leads


def _is_running(context: ApplyContext) -> bool:
    return any(item["status"] == "running" for item in context.api.instances(context.deployment, context.version))


def _see_off_old_instances(context: ApplyContext, address: Address) -> None:
    """Wait until no instance runs what was active before: the probe must not be answered by it."""

    def old() -> set[str]:
        return context.outdated & {item["id"] for item in context.api.instances(context.deployment, context.version)}

    if not context.outdated or not old():
        return
    context.say(address, "waiting for the instances of the old revision to go")
    try:
        wait_for(
            old,
            lambda left: not left,
            clock=context.clock,
            timeout=min(context.timeout, OLD_SECONDS),
            what="them to go",
        )
    except TimedOut:
        # How UbiOps replaces instances is not documented: what stays is not waited for longer.
        context.warn(address, f"some still run after {OLD_SECONDS:g} s: the proof may come from one of them")


def _probe_service(
    context: ApplyContext, address: Address, service: Service, token: str, checks: Sequence[Callable[[], None]]
) -> None:
    stack = context.plan.desired.stack
    url = context.api.service(service.name).get("endpoint")
    if not url:
        raise Unhealthy(f"service/{service.name} has no endpoint yet.\n  Apply again in a minute.")
    needs_token = token if service.authentication_required else None
    with Endpoint(url, needs_token, context.api.rest.timeout, home=context.api.host) as endpoint:
        passed = [
            probe_endpoint(
                endpoint,
                served_name=stack.model.served_name,
                smoke=smoke,
                task=stack.model.task,
                clock=context.clock,
                timeout=context.timeout,
                listen=lambda line: context.say(address, f"{service.name}: {line}"),
                checks=checks,
            )
            for smoke in stack.rollout.smokes or (None,)
        ]
    context.say(address, f"{url} is up after {sum(probed.seconds for probed in passed):.0f} s")
    name, has_smoke = stack.model.served_name, bool(stack.rollout.smokes)
    context.proved = "; ".join(dict.fromkeys(proof_text(name, probed, has_smoke) for probed in passed))


def check_own_health(address: Address, answer: Mapping[str, Any]) -> None:
    """Return if the package's `request()`, by this answer to a deployment request, reports a healthy server.

    Raises:
        Unhealthy: it does not.
    """
    result = answer.get("result")
    if not reports_health(result):
        raise Unhealthy(f"{address}: the deployment request answers {result!r}, not a healthy server.")
