"""The gate of a blue_green rollout: a new version is woken and heard through a temporary service, beside what serves.

The version that serves and its services are not touched. However it ends, the temporary service is deleted before
anything else goes on, and a version that does not pass falls asleep at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from whisperctl import __version__
from whisperctl.apply.awake import KeptAwake
from whisperctl.apply.context import ApplyContext
from whisperctl.apply.fresh import create_once, write_labels
from whisperctl.apply.polling import wait_for
from whisperctl.apply.proof import check_own_health
from whisperctl.apply.versions import read, record_of, rollout_in, sleep, wake_up, write_record
from whisperctl.endpoint.client import Endpoint
from whisperctl.endpoint.gate import Transcribe, figures, judge, measure
from whisperctl.endpoint.probe import probe, recording, unheard_text
from whisperctl.endpoint.readiness import Wait, waking_request
from whisperctl.endpoint.transcription import ROUTES, Ask, request
from whisperctl.endpoint.transcription import read as transcript
from whisperctl.errors import GateFailed, Interrupted, NotOwned, WhisperctlError
from whisperctl.plan.operations import Operation
from whisperctl.spec import Smoke
from whisperctl.state import labels
from whisperctl.state.ownership import owner
from whisperctl.state.records import RolloutRecord
from whisperctl.state.resources import Address, service_address, version_address
from whisperctl.state.rollout import preview_name


def gate(context: ApplyContext, operation: Operation, token: str) -> None:
    """Wake the new version and let it pass its gate, with the version that serves beside it where that answers.

    Raises:
        GateFailed: it does not come up, does not hear well enough, or is too slow; nothing was switched.
    """
    new = rollout_in(context).new
    context.woken = new
    try:
        wake_up(context, operation.address, 1)
        idle = float(read(context, new).get("maximum_idle_time") or 300)
        context.awake.append(KeptAwake(context.api, context.deployment, new, 1, idle))
        record, reasons = _measured(context, operation.address, token)
    except Interrupted:
        fall_back_asleep(context, new)
        raise
    except WhisperctlError as error:
        fall_back_asleep(context, new, record_of(context, "failed", "start"))
        raise GateFailed(f"{error}\n  {unswitched(context)}") from error
    if reasons:
        fall_back_asleep(context, new, record)
        text = "\n".join(reasons)
        raise GateFailed(f"{operation.address} did not pass its gate: {text}\n  {unswitched(context)}")
    write_record(context, new, record)


def fall_back_asleep(context: ApplyContext, version: str, record: RolloutRecord | None = None) -> None:
    """Let a version sleep again, with a record of why."""
    for awake in context.awake:
        awake.stop()
    if record is not None:
        write_record(context, version, record)
    sleep(context, version)
    context.woken = ""


def wind_down(context: ApplyContext) -> None:
    """At the end of a run: nothing is kept awake any more, and a version that was woken for nothing sleeps."""
    for awake in context.awake:
        awake.stop()
    if context.woken:
        try:
            sleep(context, context.woken)
        except (WhisperctlError, Interrupted) as error:
            address = version_address(context.deployment, context.woken)
            context.warn(address, f"could not be put to sleep; it falls asleep by itself: {error}")


def unswitched(context: ApplyContext) -> str:
    """What the failure leaves, in words."""
    serving = rollout_in(context).replaces
    return f"No service was touched: {serving} serves on." if serving else "No service was touched."


def _measured(context: ApplyContext, address: Address, token: str) -> tuple[RolloutRecord, list[str]]:
    """The record of the gate, and why it is not passed."""
    stack = context.plan.desired.stack
    if not stack.services:
        check_own_health(address, waking_request(context.api, context.deployment, context.version, context.timeout))
        return record_of(context, "passed"), []
    with ExitStack() as closing:
        new = closing.enter_context(
            Endpoint(closing.enter_context(_preview(context)), token, context.api.rest.timeout, home=context.api.host)
        )
        probed = probe(
            new,
            served_name=stack.model.served_name,
            smoke=None,
            task=stack.model.task,
            clock=context.clock,
            timeout=context.timeout,
            listen=lambda line: context.say(address, line),
        )
        samples = stack.rollout.smokes
        if not samples or probed.untried:
            context.proved = unheard_text(stack.model.served_name, probed.untried)
            return record_of(context, "passed"), []
        beside = _serving(context, token)
        serving = closing.enter_context(beside) if beside else None
        measured, compared = measure(
            samples,
            _transcribe_with(context, new),
            _transcribe_with(context, serving) if serving else None,
            context.clock.monotonic,
        )
    context.say(address, figures(measured, compared))
    context.proved = f"transcribed {', '.join(smoke.audio.name for smoke in samples)}: {figures(measured, compared)}"
    if compared is None:
        context.say(address, "nothing that serves could be compared with: only max_wer counts")
    reasons = judge(samples, stack.rollout.gate, measured, compared)
    return record_of(context, "failed" if reasons else "passed", "gate" if reasons else "", measured, compared), reasons


def _transcribe_with(context: ApplyContext, endpoint: Endpoint) -> Transcribe:
    stack = context.plan.desired.stack
    route = ROUTES[stack.model.task]
    wait = Wait(endpoint, context.clock, context.timeout, lambda _line: None)

    def transcribe(smoke: Smoke) -> str:
        context.clock.sleep(0)  # who was interrupted asks for no more
        ask = Ask(model=stack.model.served_name, task=stack.model.task, language=smoke.language)
        upload = (smoke.audio.name, recording(smoke.audio))
        answer = wait.until_ok(f"POST {route}", lambda seconds: request(endpoint, ask, upload, seconds), patient=True)
        return transcript(answer, endpoint.url + route).text

    return transcribe


def _serving(context: ApplyContext, token: str) -> Endpoint | None:
    """The version that serves, through its own service; None where the plan found nothing to compare with."""
    rollout = rollout_in(context)
    if not rollout.compared or rollout.replaces is None:
        return None
    for service in context.plan.desired.stack.services:
        raw = context.plan.live.owned.get(service_address(service.name))
        if raw is None or raw.get("version") not in (rollout.replaces, None):
            continue
        if url := url_of(context, service.name):
            needed = token if raw.get("authentication_required") else None
            return Endpoint(url, needed, context.api.rest.timeout, home=context.api.host)
    return None


def url_of(context: ApplyContext, service: str) -> str:
    """The endpoint of a service; empty while it has none."""
    return str((context.api.find_service(service) or {}).get("endpoint") or "")


@contextmanager
def _preview(context: ApplyContext) -> Iterator[str]:
    """The URL of a temporary service that leads to the new version."""
    name = preview_name(context.deployment)
    address = service_address(name)
    delete_preview(context)
    body = {
        "name": name,
        "deployment": context.deployment,
        "version": context.version,
        "port": context.plan.desired.stack.services[0].port,
        "authentication_required": True,
        "labels": labels.new(owner=context.plan.stack, tool=__version__),
    }
    try:
        context.say(address, f"leads to {context.version} for its gate")
        create_once(context, address, lambda: context.api.create_service(body), lambda: context.api.find_service(name))
        write_labels(context, address, lambda raw: labels.Labels.of(raw).written(id=raw["id"]))
        yield wait_for(
            lambda: url_of(context, name),
            bool,
            clock=context.clock,
            timeout=context.timeout,
            what=f"{address} to have an endpoint",
        )
    finally:
        delete_preview(context)


def delete_preview(context: ApplyContext) -> None:
    """Delete the temporary service, if there is one.

    Raises:
        NotOwned: a service of that name is not ours.
    """
    name = preview_name(context.deployment)
    preview = context.api.find_service(name)
    if preview is None:
        return
    if owner(preview) != context.plan.stack:
        raise NotOwned(f"{service_address(name)} is not ours, and the gate needs that name.\n  Rename that service.")
    context.api.delete_service(name)
