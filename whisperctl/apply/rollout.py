"""The steps of a blue_green rollout: gate, switch, bake, retire, and the way back. Decides nothing that the plan did.

Until the switch the version that serves and its services are not touched. What fails is undone here, at once; what is
cut off is finished or undone by the next apply, from the records on the versions. At no point do two versions keep
instances beyond their idle time: the new one runs on deployment requests until the earlier one's minimum is 0.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from whisperctl.apply.awake import stop_instances
from whisperctl.apply.job import Job
from whisperctl.apply.polling import wait_for
from whisperctl.apply.proof import check_own_health
from whisperctl.endpoint.client import Endpoint
from whisperctl.endpoint.gate import Bake, Transcribe, figures, judge, measure
from whisperctl.endpoint.probe import probe
from whisperctl.endpoint.transcription import Ask, read, request
from whisperctl.endpoint.wer import word_error_rate
from whisperctl.errors import GateFailed, Interrupted, WhisperctlError
from whisperctl.plan.operations import Operation
from whisperctl.plan.rollout import Rollout, preview_name
from whisperctl.spec import Smoke
from whisperctl.state.labels import Labels, RolloutRecord
from whisperctl.state.resources import Address, service_address, version_address

CHECK_EACH = 1.0
"""Seconds between the beginnings of two checks of a bake."""
CHECKS_AT_ONCE = 32


def gate(job: Job, operation: Operation, token: str) -> None:
    """Wake the new version and let it pass its gate, beside the version that serves where that can be compared with.

    Raises:
        GateFailed: it does not hear well enough, is too slow, or does not come up; it sleeps again, nothing was touched.
    """
    rollout = _rollout(job)
    try:
        _wake(job, operation.address, rollout.new, 1)
        told = _measure(job, operation.address, token)
    except Interrupted:
        sleep(job, rollout.new)
        raise
    except GateFailed as error:
        _record(job, rollout.new, error.record)
        sleep(job, rollout.new)
        raise
    except WhisperctlError as error:
        _record(job, rollout.new, _failed("start"))
        sleep(job, rollout.new)
        raise GateFailed(_nothing_switched(job, str(error))) from error
    _record(job, rollout.new, told)


def _measure(job: Job, address: Address, token: str) -> RolloutRecord:
    """Both versions' figures, as a record of a passed gate.

    Raises:
        GateFailed: the new version does not pass.
    """
    stack = job.plan.wanted.stack
    if not stack.services:
        answer = job.api.create_request(job.deployment, job.version, "health", job.timeout)
        check_own_health(address, answer)
        return _passed(None, None)
    with ExitStack() as closing:
        url = closing.enter_context(_preview(job, token))
        new = closing.enter_context(Endpoint(url, token, job.api.rest.timeout))
        probe(
            new,
            served_name=stack.model.served_name,
            smoke=None,
            task=stack.model.task,
            clock=job.clock,
            timeout=job.timeout,
            listen=lambda line: job.say(address, line),
        )
        samples = stack.rollout.smokes
        if not samples:
            return _passed(None, None)
        serving = _serving_endpoint(job, token, closing)
        measured, beside = measure(
            samples, _transcriber(job, new), serving and _transcriber(job, serving), job.clock.monotonic
        )
    job.say(address, figures(measured, beside))
    if reasons := judge(samples, stack.rollout.gate, measured, beside):
        text = _nothing_switched(job, f"{address} did not pass its gate: " + "\n".join(reasons))
        raise GateFailed(text, _failed("gate", measured, beside))
    return _passed(measured, beside)


def _transcriber(job: Job, endpoint: Endpoint) -> Transcribe:
    stack = job.plan.wanted.stack
    wait = Wait(endpoint, job.clock, job.timeout, lambda _line: None)

    def transcribe(smoke: Smoke) -> str:
        ask = Ask(model=stack.model.served_name, task=stack.model.task, language=smoke.language)
        asked = f"POST {ROUTES[stack.model.task]}"
        content = smoke.audio.read_bytes()
        answer = wait.until_ok(
            asked, lambda seconds: request(endpoint, ask, (smoke.audio.name, content), seconds), patient=True
        )
        return read(answer, endpoint.url + ROUTES[stack.model.task]).text

    return transcribe


def _serving_endpoint(job: Job, token: str, closing: ExitStack) -> Endpoint | None:
    """The version that serves through its own service; None where the plan found nothing to compare with."""
    rollout = _rollout(job)
    if not rollout.compared:
        return None
    for service in job.plan.wanted.stack.services:
        raw = job.plan.live.owned.get(service_address(service.name))
        if raw is not None and raw.get("version") == rollout.replaces and (found := _url(job, service.name)):
            needs_token = token if raw.get("authentication_required") else None
            return closing.enter_context(Endpoint(found, needs_token, job.api.rest.timeout))
    return None


@contextmanager
def _preview(job: Job, token: str) -> Iterator[str]:
    """The URL of a temporary service that leads to the new version; deleted before anything else goes on."""
    name = preview_name(job.deployment)
    first = job.plan.wanted.stack.services[0]
    _delete_preview(job, name)
    body = {
        "name": name,
        "deployment": job.deployment,
        "version": job.version,
        "port": first.port,
        "authentication_required": True,
        "labels": Labels({}).written(owner=job.plan.stack),
    }
    address = service_address(name)
    job.say(address, "a temporary service leads to the new version")
    create_once(job, address, lambda: job.api.create_service(body), lambda: job.api.find_service(name))
    try:
        yield wait_for(
            lambda: _url(job, name),
            bool,
            clock=job.clock,
            timeout=job.timeout,
            what=f"{address} to have an endpoint",
        )
    finally:
        _delete_preview(job, name)


def _delete_preview(job: Job, name: str) -> None:
    found = job.api.find_service(name)
    if found is None:
        return
    if Labels.of(found).owner != job.plan.stack:
        raise NotOwned(f"{service_address(name)} exists and is not ours: the gate needs that name.\n  Rename it.")
    job.api.delete_service(name)


def _url(job: Job, service: str) -> str:
    return str((job.api.find_service(service) or {}).get("endpoint") or "")


def switch(job: Job, operation: Operation) -> None:
    """Point every service at the new version, which runs as many instances as the one that serves; then its default.

    Raises:
        WhisperctlError: it did not work; the services lead to the earlier version again.
    """
    rollout = _rollout(job)
    paused = job.plan.wanted.paused is not None
    try:
        if not paused:
            _wake(job, operation.address, rollout.new, _instances_needed(job, rollout))
        for address in _services_to_point(job):
            writes.update(job, Operation(id=operation.id, kind="update", address=address))
            job.say(address, f"leads to {rollout.new}")
        _make_default(job, rollout.new)
        if not paused:
            _hand_over_the_minimum(job, rollout)
    except Interrupted:
        raise
    except WhisperctlError as error:
        back_out(job, "switch")
        raise GateFailed(f"{error}\n  {_back(rollout)}") from error


def _instances_needed(job: Job, rollout: Rollout) -> int:
    """As many as the version that serves runs now, at least one, at most the new one's maximum."""
    running = 0
    if rollout.replaces:
        found = job.api.instances(job.deployment, rollout.replaces)
        running = sum(item["status"] == "running" for item in found)
    return max(1, min(running, job.plan.wanted.stack.version.maximum_instances))


def _services_to_point(job: Job) -> list[Address]:
    """Live services of the stack that differ from the plan, in the file's order."""
    changed = {change.address for change in job.plan.changes if change.action == "update"}
    addresses = (service_address(service.name) for service in job.plan.wanted.stack.services)
    return [address for address in addresses if address in changed]


def _make_default(job: Job, version: str) -> None:
    raw = job.api.deployment(job.deployment) or {}
    if raw.get("default_version") == version:
        return
    with job.lock:
        address = deployment_address(job.deployment)
        job.saw(address, job.api.update_deployment(job.deployment, {"default_version": version}))


def _hand_over_the_minimum(job: Job, rollout: Rollout) -> None:
    """The earlier version's minimum to 0 first, then the new one's: never do both keep instances."""
    wanted = job.plan.wanted.stack.version
    minimum = wanted.minimum_instances
    if rollout.replaces:
        raw = job.api.version(job.deployment, rollout.replaces) or {}
        minimum = int(raw.get("minimum_instances") or 0)
        if minimum:
            job.awake.append(_kept_awake(job, rollout.replaces, raw, minimum))
            _patch(job, rollout.replaces, {"minimum_instances": 0})
    if minimum:
        _patch(job, rollout.new, {"minimum_instances": min(minimum, wanted.maximum_instances)})


def bake(job: Job, operation: Operation, token: str) -> None:
    """Ask the real services for `rollout.bake` seconds while the earlier version could take over again.

    Raises:
        GateFailed: three checks in a row failed; the services lead to the earlier version again.
    """
    rollout = _rollout(job)
    try:
        _bake(job, operation.address, token)
    except Unhealthy as error:
        back_out(job, "bake")
        raise GateFailed(f"{error}\n  {_back(rollout)}", _failed("bake")) from error


def _bake(job: Job, address: Address, token: str) -> None:
    stack = job.plan.wanted.stack
    job.say(address, f"baking for {stack.rollout.bake} s")
    with ExitStack() as closing:
        checks = _checks(job, token, closing)
        pool = closing.enter_context(_pool())
        start = job.clock.monotonic()
        found = Bake(seconds=stack.rollout.bake, started=start)
        waiting: deque[Future[str | None]] = deque()
        for number in itertools.count():
            waiting.append(pool.submit(next(checks)))
            while waiting and (waiting[0].done() or len(waiting) >= CHECKS_AT_ONCE):
                found.add(waiting.popleft().result())
            if found.checks and found.is_over(job.clock.monotonic()):
                return
            job.clock.sleep(max(start + (number + 1) * CHECK_EACH - job.clock.monotonic(), 0.0))


@contextmanager
def _pool() -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(CHECKS_AT_ONCE)
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _checks(job: Job, token: str, closing: ExitStack) -> Iterator[Callable[[], str | None]]:
    """Checks without end, each of one service and one recording in turn; a check returns why it failed, or None."""
    stack = job.plan.wanted.stack
    endpoints = []
    for service in stack.services:
        needs_token = token if service.authentication_required else None
        endpoints.append(closing.enter_context(Endpoint(_url(job, service.name), needs_token, job.api.rest.timeout)))
    samples: Sequence[Smoke | None] = stack.rollout.smokes or (None,)
    for endpoint, smoke in zip(itertools.cycle(endpoints), _stretched(samples, len(endpoints)), strict=False):
        yield lambda endpoint=endpoint, smoke=smoke: _check(job, endpoint, smoke)  # type: ignore[misc]


def _stretched(samples: Sequence[Smoke | None], times: int) -> Iterator[Smoke | None]:
    """Each sample for as many services as there are, so that every service is asked for every sample."""
    return (sample for sample in itertools.cycle(samples) for _ in range(times))


def _check(job: Job, endpoint: Endpoint, smoke: Smoke | None) -> str | None:
    """Why health or transcription is not good; None when it is, and when the endpoint is only busy (429)."""
    stack = job.plan.wanted.stack
    try:
        health = endpoint.get("/health", HEALTH_SECONDS)
        if health.status == 429:
            return None
        if health.status != 200:
            return f"GET {endpoint.url}/health answers {health}"
        if smoke is None:
            return None
        ask = Ask(model=stack.model.served_name, task=stack.model.task, language=smoke.language)
        answer = request(endpoint, ask, (smoke.audio.name, smoke.audio.read_bytes()))
        if answer.status == 429:
            return None
        rate = word_error_rate(smoke.expect, text := read(answer, endpoint.url).text)
    except WhisperctlError as error:
        return str(error)
    if rate > smoke.max_wer:
        return f"{smoke.audio.name} was heard as {text!r}, a word error rate of {rate:.2f}"
    return None


def retire(job: Job, operation: Operation) -> None:
    """The new version gets what the file says and the earlier ones sleep: the rollout has succeeded."""
    rollout = _rollout(job)
    for name in rollout.kept:
        raw = job.api.version(job.deployment, name)
        if raw is None:
            continue
        labels = Labels.of(raw)
        record = labels.rollout or _record_of("served", job)
        quiet = {name: None for name in OPENAI_LABELS if name in labels.all}
        if not sleeps(raw) or labels.rollout is None:
            body = {"minimum_instances": 0, "labels": labels.written(rollout=record, user=quiet)}
            job.saw(version_address(job.deployment, name), job.api.update_version(job.deployment, name, body))
        stop_instances(job.api, job.deployment, name)
    for kept in job.awake:
        kept.stop()
    _record(job, rollout.new, replace(_current(job, rollout.new), state="served"), final=True)
    if job.plan.wanted.paused is not None:
        stop_instances(job.api, job.deployment, rollout.new)


def back_out(job: Job, stage: str) -> None:
    """Services and default lead to the earlier version again, which keeps its instances; the new one sleeps."""
    rollout = _rollout(job)
    for service in job.plan.wanted.stack.services:
        address = service_address(service.name)
        before = job.plan.live.owned.get(address)
        now = job.api.find_service(service.name)
        if before is None or now is None:
            continue
        fields = {name: before.get(name) for name in ("deployment", "version", "port")}
        if any(now.get(name) != value for name, value in fields.items()):
            job.saw(address, job.api.update_service(service.name, fields))
    if rollout.replaces:
        minimum = job.plan.live.owned[version_address(job.deployment, rollout.replaces)].get("minimum_instances")
        _make_default(job, rollout.replaces)
        _patch(job, rollout.new, {"minimum_instances": 0})
        _patch(job, rollout.replaces, {"minimum_instances": minimum or 0})
    _record(job, rollout.new, replace(_current(job, rollout.new), state="failed", stage=stage))
    if rollout.replaces:
        sleep(job, rollout.new)
