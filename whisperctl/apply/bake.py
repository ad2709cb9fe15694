"""The bake of a blue_green rollout: the real services are asked for a while, and lead back if they do not keep well."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

from whisperctl.apply.context import ApplyContext
from whisperctl.apply.gate import url_of
from whisperctl.apply.switch import back_out
from whisperctl.apply.versions import rollout_in
from whisperctl.endpoint.client import Endpoint
from whisperctl.endpoint.gate import Bake
from whisperctl.endpoint.probe import no_model_behind, recording
from whisperctl.endpoint.transcription import Ask, read, request
from whisperctl.endpoint.wer import word_error_rate
from whisperctl.errors import GateFailed, Unhealthy, WhisperctlError
from whisperctl.plan.operations import Operation
from whisperctl.spec import Smoke, Stack
from whisperctl.state.resources import Address

CHECK_EACH = 1.0
"""Seconds between the beginnings of two checks."""
CHECKS_AT_ONCE = 32
"""Checks that have begun and not answered."""
HEALTH_SECONDS = 10.0
"""How long /health may take."""
BUSY = 429
"""A status that says nothing against a version."""

BakeCheck = Callable[[], str | None]
"""Asks once; why it is not good, or None."""


def bake(context: ApplyContext, operation: Operation, token: str) -> None:
    """Ask the services for `rollout.bake` seconds, while the earlier version is awake and could take over again.

    Raises:
        GateFailed: three checks in a row failed; the services lead to the earlier version again.
    """
    rollout = rollout_in(context)
    try:
        _bake(context, operation.address, token)
    except Unhealthy as error:
        if rollout.replaces is None:
            raise
        back_out(context, "bake")
        raise GateFailed(f"{error}\n  The services lead to {rollout.replaces} again.") from error


def _bake(context: ApplyContext, address: Address, token: str) -> None:
    stack = context.plan.desired.stack
    context.say(address, f"baking for {stack.rollout.bake} s")
    pool = ThreadPoolExecutor(CHECKS_AT_ONCE)
    with ExitStack() as closing:
        closing.callback(pool.shutdown, wait=False, cancel_futures=True)
        endpoints = [
            closing.enter_context(
                Endpoint(
                    url_of(context, service.name),
                    token if service.authentication_required else None,
                    context.api.rest.timeout,
                    home=context.api.host,
                )
            )
            for service in stack.services
        ]
        _check_each_second(context, _checks(stack, endpoints), pool)


def _check_each_second(context: ApplyContext, checks: Iterator[BakeCheck], pool: ThreadPoolExecutor) -> None:
    start = context.clock.monotonic()
    bake = Bake(seconds=context.plan.desired.stack.rollout.bake, started=start)
    waiting: deque[Future[str | None]] = deque()
    for number in itertools.count(1):
        waiting.append(pool.submit(next(checks)))
        context.clock.sleep(max(start + number * CHECK_EACH - context.clock.monotonic(), 0.0) if bake.seconds else 0.0)
        while waiting and (waiting[0].done() or len(waiting) >= CHECKS_AT_ONCE or not bake.seconds):
            bake.add(waiting.popleft().result())
        if bake.count and bake.is_over(context.clock.monotonic()):
            return


def _checks(stack: Stack, endpoints: list[Endpoint]) -> Iterator[BakeCheck]:
    """Checks without end: every service with every recording, in turn."""
    samples: tuple[Smoke | None, ...] = stack.rollout.smokes or (None,)
    pairs = [(endpoint, smoke) for smoke in samples for endpoint in endpoints]
    return (partial(_check, stack, endpoint, smoke) for endpoint, smoke in itertools.cycle(pairs))


def _check(stack: Stack, endpoint: Endpoint, smoke: Smoke | None) -> str | None:
    """Why health or the transcription is not good; None when it is, and when the endpoint is only busy."""
    try:
        health = endpoint.get("/health", HEALTH_SECONDS)
        if health.status not in (200, BUSY):
            return f"GET {endpoint.url}/health answers {health}"
        if smoke is None or health.status == BUSY or no_model_behind(health):
            return None
        ask = Ask(model=stack.model.served_name, task=stack.model.task, language=smoke.language)
        answer = request(endpoint, ask, (smoke.audio.name, recording(smoke.audio)))
        if answer.status == BUSY:
            return None
        text = read(answer, endpoint.url).text
    except WhisperctlError as error:
        return str(error)
    rate = word_error_rate(smoke.expect, text)
    if rate > smoke.max_wer:
        return f"{smoke.audio.name} was heard as {text!r}, a word error rate of {rate:.2f}"
    return None
