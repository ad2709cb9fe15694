"""Transcribes the recordings of `rollout.smoke` through the real service: how long that takes, and how right it is."""

from __future__ import annotations

from dataclasses import dataclass

from whisperctl.clock import Clock
from whisperctl.control.api import Api
from whisperctl.endpoint.client import Endpoint
from whisperctl.endpoint.probe import recording
from whisperctl.endpoint.transcription import Ask, transcribe
from whisperctl.endpoint.wer import word_error_count, words
from whisperctl.errors import WhisperctlError
from whisperctl.operate.status import Door, Status
from whisperctl.serving.launch import server_port
from whisperctl.spec import Stack

PROBE_SECONDS = 120.0
"""How long one transcription may take."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """What one probe of a stack measured."""

    stack: str
    project: str
    seconds: float = 0.0
    """Of the slowest recording, from the request to its answer."""
    wer: float | None = None
    """Word error rate over all recordings; None where one was not transcribed."""
    problem: str = ""
    """Why it is not good; empty where it is."""


def probe_stack(api: Api, stack: Stack, status: Status, clock: Clock) -> Probe | None:
    """Transcribe every recording once; None where there is none, or no healthy endpoint: a probe wakes nobody."""
    door = _door(stack, status)
    if not stack.rollout.smokes or door is None:
        return None
    service = next(service for service in stack.services if service.name == door.name)
    token = api.token if service.authentication_required else None
    try:
        with Endpoint(door.url, token, PROBE_SECONDS, home=api.host) as endpoint:
            return _measured(api.project, stack, endpoint, clock)
    except WhisperctlError as error:
        return Probe(stack=stack.name, project=api.project, problem=str(error).splitlines()[0])


def _door(stack: Stack, status: Status) -> Door | None:
    ports = {service.name: service.port for service in stack.services}
    return next((d for d in status.doors if d.healthy and ports.get(d.name) == server_port(stack)), None)


def _measured(project: str, stack: Stack, endpoint: Endpoint, clock: Clock) -> Probe:
    errors = expected = 0
    slowest, problem = 0.0, ""
    for smoke in stack.rollout.smokes:
        ask = Ask(model=stack.model.served_name, task=stack.model.task, language=smoke.language)
        content = recording(smoke.audio)
        start = clock.monotonic()
        text = transcribe(endpoint, ask, (smoke.audio.name, content)).text
        slowest = max(slowest, clock.monotonic() - start)
        wrong, known = word_error_count(smoke.expect, text), len(words(smoke.expect))
        errors, expected = errors + wrong, expected + known
        rate = wrong / known if known else float(wrong > 0)
        if rate > smoke.max_wer:
            problem = f"{smoke.audio.name}: word error rate {rate:.2f}, allowed are {smoke.max_wer:.2f}"
    wer = errors / expected if expected else float(errors > 0)
    return Probe(stack=stack.name, project=project, seconds=slowest, wer=wer, problem=problem)
