"""Whether a deployed endpoint really does its job: /health, the served name, the smoke transcription.

What a new endpoint answers while it comes up (refused, 429, 502, 503, 504, a health of 500) means "not yet";
what no waiting changes (401, 403, 404, another model) is an error at once. Wakes nothing and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from whisperctl.clock import Clock
from whisperctl.endpoint.client import Answer, Endpoint
from whisperctl.endpoint.readiness import HEALTH_PATH, Wait
from whisperctl.endpoint.shapes import MODELS, misfit
from whisperctl.endpoint.transcription import ROUTES, Ask, Task, read, request
from whisperctl.endpoint.wer import word_error_rate
from whisperctl.errors import Unhealthy
from whisperctl.files import Unreadable, read_file
from whisperctl.output import clean
from whisperctl.spec import Smoke

LONGEST_TRANSCRIPT = 100
LARGEST_SAMPLE = 512 << 20
"""Bytes of a recording that an apply ends with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Probed:
    """What a passed probe saw."""

    seconds: float
    """From the first question to the last answer."""
    models: tuple[str, ...]
    transcript: str | None
    """None without a smoke transcription."""
    wer: float | None
    untried: str = ""
    """Why no smoke transcription can be asked for here, in the host's own words."""


def probe(
    endpoint: Endpoint,
    *,
    served_name: str,
    smoke: Smoke | None,
    task: Task,
    clock: Clock,
    timeout: float,
    listen: Callable[[str], None],
    checks: Sequence[Callable[[], None]] = (),
) -> Probed:
    """Wait until the endpoint is healthy, then prove that it serves `served_name` and transcribes.

    Args:
        endpoint: what to ask.
        served_name: the name that /v1/models must list.
        smoke: audio with its expected text; None asks for no transcription.
        task: the route of the smoke transcription.
        clock: for the waiting.
        timeout: seconds for all of it.
        listen: gets a short line whenever the state changes.
        checks: called between two looks while it waits; one that raises ends the waiting.

    Raises:
        Unhealthy: what was asked, what answered, what to do.
        TimedOut: it did not come up in `timeout` seconds.
    """
    wait = Wait(endpoint, clock, timeout, listen, checks)
    health = wait.until_ok(HEALTH_PATH, lambda seconds: endpoint.get("/health", seconds))
    listen("healthy")
    models = model_names(wait.until_ok("GET /v1/models", lambda seconds: endpoint.get("/v1/models", seconds)), endpoint)
    check_served(models, served_name, endpoint)
    listen(f"serves {served_name}")
    untried = no_model_behind(health)
    transcript, wer = (None, None) if smoke is None or untried else _smoke(wait, smoke, served_name, task)
    return Probed(seconds=wait.waited(), models=models, transcript=transcript, wer=wer, untried=untried)


def no_model_behind(health: Answer) -> str:
    """Why nothing can be transcribed, where the answer of /health itself says that no package runs; else empty.

    Only the local emulator says so, in books-only operation. vLLM's /health has no body.
    """
    body = health.json()
    note = body.get("note") if isinstance(body, dict) else None
    return clean(note) if isinstance(note, str) and "no code was executed" in note else ""


def proof_text(served_name: str, probed: Probed, has_smoke: bool) -> str:
    """What a passed probe has proved, and what not, for the last words of an apply."""
    if probed.transcript is not None:
        return f"transcribed {shortened(probed.transcript)!r} (word error rate {probed.wer:.2f})"
    return unheard_text(served_name, probed.untried if has_smoke else "")


def unheard_text(served_name: str, why: str) -> str:
    """The proof of an endpoint that transcribed nothing."""
    return f"healthy and serving {served_name}; nothing was transcribed: {why or 'no rollout.smoke'}"


def shortened(text: str) -> str:
    """The start of a transcript, for one line."""
    line = clean(" ".join(text.split()))
    return line if len(line) <= LONGEST_TRANSCRIPT else line[: LONGEST_TRANSCRIPT - 1] + "…"


def model_names(answer: Answer, endpoint: Endpoint) -> tuple[str, ...]:
    """The names in an answer of /v1/models.

    Raises:
        Unhealthy: it is no list of models.
    """
    body = answer.json()
    if why := misfit(MODELS, body):
        raise Unhealthy(
            f"GET {endpoint.url}/v1/models did not answer with a list of models, but with {why}: {answer}.\n"
            "  Check that the service's port is the one vLLM listens on."
        )
    return tuple(model["id"] for model in body["data"])


def check_served(models: tuple[str, ...], served_name: str, endpoint: Endpoint) -> None:
    """Return if `served_name` is among `models`.

    Raises:
        Unhealthy: it is not.
    """
    if served_name not in models:
        raise Unhealthy(
            f"GET {endpoint.url}/v1/models lists {', '.join(models) or 'no model'}, not {served_name}.\n"
            "  Another package is running there; see `whisperctl status` and `whisperctl history`."
        )


def recording(audio: Path) -> bytes:
    """The bytes of a sample that the endpoint is to transcribe.

    Raises:
        Unhealthy: it cannot be read.
    """
    try:
        return read_file(audio, LARGEST_SAMPLE)
    except Unreadable as error:
        raise Unhealthy(f"The smoke audio {audio} cannot be read: {error}.") from None


def _smoke(wait: Wait, smoke: Smoke, served_name: str, task: Task) -> tuple[str, float]:
    content = recording(smoke.audio)
    ask = Ask(model=served_name, task=task, language=smoke.language)
    asked = f"POST {ROUTES[task]}"
    answer = wait.until_ok(
        asked, lambda seconds: request(wait.endpoint, ask, (smoke.audio.name, content), seconds), patient=True
    )
    text = read(answer, wait.endpoint.url + ROUTES[task]).text
    wer = word_error_rate(smoke.expect, text)
    check_word_error_rate(smoke.audio.name, smoke.expect, text, wer, smoke.max_wer)
    wait.listen(f"heard {text!r} (word error rate {wer:.2f})")
    return text, wer


def check_word_error_rate(audio: str, expect: str, text: str, wer: float, max_wer: float) -> None:
    """Return if the word error rate is good enough.

    Raises:
        Unhealthy: it is not; the message has both texts.
    """
    if wer > max_wer:
        raise Unhealthy(
            f"{audio} was transcribed with a word error rate of {wer:.2f}, allowed are {max_wer:.2f}.\n"
            f"  expected: {expect}\n  heard:    {text or '(nothing)'}"
        )
