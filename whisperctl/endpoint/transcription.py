"""One request to an OpenAI-compatible audio route, and what its answer means. No retries, files or waiting.

vLLM's traps are settled here: `text` still answers with a JSON object, an error may come with status 200,
segments may be missing, empty or past the end, `verbose_json` fails with a 500 when the model emits nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from whisperctl.endpoint.client import Answer, Endpoint
from whisperctl.endpoint.form import Upload
from whisperctl.endpoint.shapes import TRANSCRIPT, misfit, number
from whisperctl.errors import Unhealthy

Task = Literal["transcription", "translation"]

ROUTES: dict[str, str] = {
    "transcription": "/v1/audio/transcriptions",
    "translation": "/v1/audio/translations",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """A word with its time, in seconds from the start of the recording: an estimate, vLLM gives none."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """Words with their time, in seconds from the start of the recording."""

    start: float
    end: float
    text: str
    channel: str | None = None
    """The label of the channel it was said on, where channels are transcribed by themselves."""
    words: tuple[Word, ...] = ()
    """Where their times were asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Transcript:
    """What was said."""

    text: str
    language: str | None = None
    """As the server named it: a code such as `en`."""
    duration: float | None = None
    """Seconds of audio, when known."""
    segments: tuple[Segment, ...] | None = None
    """None when times were not asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """What to ask the server for."""

    model: str
    """The served name."""
    task: Task = "transcription"
    language: str | None = None
    """None lets vLLM 0.17 and later detect it; earlier ones take English."""
    timed: bool = False
    """Whether segments with times are wanted (vLLM 0.12 and later)."""
    temperature: float = 0.0
    seed: int | None = None
    """Makes an answer at a temperature above 0 repeatable."""
    prompt: str | None = None
    """Corrupts Whisper's decoding in most releases: see `serving.capabilities.cannot_prompt`."""


def request(endpoint: Endpoint, ask: Ask, upload: Upload, timeout: float | None = None) -> Answer:
    """Send one audio file; the answer may be anything.

    Raises:
        Unreachable: no answer came.
    """
    fields = {
        "model": ask.model,
        "response_format": "verbose_json" if ask.timed else "json",
        "temperature": f"{ask.temperature:g}",
    }
    optional = {
        "language": ask.language,
        "seed": None if ask.seed is None else str(ask.seed),
        "prompt": ask.prompt,
    }
    fields |= {name: value for name, value in optional.items() if value}
    return endpoint.post(ROUTES[ask.task], fields, upload, timeout)


def transcribe(endpoint: Endpoint, ask: Ask, upload: Upload, timeout: float | None = None) -> Transcript:
    """Send one audio file and read what was said.

    Raises:
        Unreachable: no answer came.
        Unhealthy: the server refused, or answered with something else than a transcript.
    """
    return read(request(endpoint, ask, upload, timeout), endpoint.url + ROUTES[ask.task])


def read(answer: Answer, asked: str) -> Transcript:
    """The transcript in `answer`.

    Raises:
        Unhealthy: there is none; the message says what `asked` answered instead.
    """
    body = answer.json()
    if problem := failure(answer, body):
        raise Unhealthy(f"POST {asked} answered {problem}.")
    match body:
        case {"text": str(text)}:
            return _transcript(body, text.strip(), asked)
        case str(text):
            return Transcript(text=text.strip())
    if body is None and answer.headers.get("content-type", "").startswith("text/plain"):
        return Transcript(text=answer.text.strip())
    raise Unhealthy(f"POST {asked} answered 200 without a transcript: {_instead(answer)}.")


def failure(answer: Answer, body: Any) -> str | None:
    """What went wrong, or None: a bad status, or an error in the body of a good one."""
    if answer.status == 413:
        return f"{answer}: something on the way refuses bodies of that size, not vLLM; see its body limit"
    if answer.status != 200:
        return str(answer)
    if isinstance(body, dict) and (body.get("error") or body.get("object") == "error"):
        return f"200 with an error in the body: {answer.reason}"
    return None


def _instead(answer: Answer) -> str:
    if "<html" in answer.text[:500].lower():
        return "a web page, such as a login"
    return answer.reason or "an empty body"


def lacks_times(answer: Answer) -> bool:
    """Whether the server may still give plain `json` where it could not give `verbose_json`.

    vLLM before 0.12 refuses it (400); later ones answer 500 when the model emits no token to time.
    """
    return answer.status == 500 or (answer.status == 400 and "verbose_json" in answer.text)


def timed(transcript: Transcript, duration: float) -> Transcript:
    """`transcript` with sane segments: in order, none empty, none over the next, inside 0 to `duration`.

    One segment for all of it if none came.
    """
    segments = transcript.segments
    if not segments and transcript.text:
        segments = (Segment(start=0.0, end=duration, text=transcript.text),)
    sane: list[Segment] = []
    for segment in segments or ():
        if not segment.text:
            continue
        start = min(max(segment.start, sane[-1].start if sane else 0.0), duration)
        if sane and sane[-1].end > start:
            sane[-1] = replace(sane[-1], end=start)
        end = min(max(segment.end, start), duration)
        if (start, end) != (segment.start, segment.end):  # most need no change: a copy costs more than all the rest
            segment = replace(segment, start=start, end=end)
        sane.append(segment)
    return replace(transcript, segments=tuple(sane), duration=duration)


def _transcript(body: dict[str, Any], text: str, asked: str) -> Transcript:
    if why := misfit(TRANSCRIPT, body):
        raise Unhealthy(f"POST {asked} answered 200 with {why}.")
    segments = body.get("segments") if isinstance(body.get("segments"), list) else []
    language = body.get("language")
    return Transcript(
        text=text,
        language=language if isinstance(language, str) and language else None,
        duration=number(body.get("duration")),
        segments=tuple(_segment(one) for one in segments or ()) if "segments" in body else None,
    )


def _segment(body: dict[str, Any]) -> Segment:
    start = number(body.get("start")) or 0.0
    end = number(body.get("end"))
    return Segment(start=start, end=start if end is None else end, text=(body.get("text") or "").strip())
