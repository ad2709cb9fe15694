"""A transcript as text, JSON, or subtitles. Pure.

Subtitles are made here from segments: vLLM accepts `srt` and `vtt` in its schema and then refuses them.
"""

from __future__ import annotations

import json
from typing import Any

from whisperctl.endpoint.transcription import Segment, Transcript

SUFFIXES = {"text": ".txt", "json": ".json", "verbose_json": ".json", "srt": ".srt", "vtt": ".vtt"}
"""Format -> suffix of its file."""

TIMED = frozenset({"verbose_json", "srt", "vtt"})
"""Formats that need segments with times."""


def rendered(transcript: Transcript, shape: str) -> str:
    """`transcript` in the format `shape`, ending with a newline."""
    match shape:
        case "text":
            return transcript.text + "\n"
        case "srt":
            return _srt(transcript.segments or ())
        case "vtt":
            return _vtt(transcript.segments or ())
    return json.dumps(document(transcript, shape), ensure_ascii=False, indent=2) + "\n"


def document(transcript: Transcript, shape: str) -> dict[str, Any]:
    """`transcript` as OpenAI's `json` or `verbose_json` object; times in seconds."""
    if shape == "json":
        known = {"language": transcript.language, "duration": _rounded(transcript.duration)}
        return {"text": transcript.text} | {key: value for key, value in known.items() if value is not None}
    segments = [
        {"id": number, "start": _rounded(one.start), "end": _rounded(one.end), "text": one.text}
        for number, one in enumerate(transcript.segments or ())
    ]
    return {
        "language": transcript.language,
        "duration": _rounded(transcript.duration),
        "text": transcript.text,
        "segments": segments,
    }


def _srt(segments: tuple[Segment, ...]) -> str:
    blocks = [
        f"{number}\n{_clock(one.start, ',')} --> {_clock(_after(one), ',')}\n{_line(one.text)}\n"
        for number, one in enumerate(segments, start=1)
    ]
    return "\n".join(blocks)


def _vtt(segments: tuple[Segment, ...]) -> str:
    blocks = [
        f"{_clock(one.start, '.')} --> {_clock(_after(one), '.')}\n{_escaped(_line(one.text))}\n" for one in segments
    ]
    return "\n".join(["WEBVTT\n", *blocks])


def _after(segment: Segment) -> float:
    """An end that is after the start, as players ask for."""
    return max(segment.end, segment.start + 0.01)


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{point}{rest % 1000:03}"


def _line(text: str) -> str:
    """One line: an empty one would end the cue."""
    return " ".join(text.split())


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
