"""A transcript as text, JSON, or subtitles. Pure.

Subtitles are made here from segments: vLLM accepts `srt` and `vtt` in its schema and then refuses them.
"""

from __future__ import annotations

import json
from typing import Any

from whisperctl.endpoint.transcription import Segment, Transcript, Word
from whisperctl.transcribe.cues import Cue, Limits, cues

SUFFIXES = {"text": ".txt", "json": ".json", "verbose_json": ".json", "srt": ".srt", "vtt": ".vtt"}
"""Format -> suffix of its file."""

TIMED = frozenset({"verbose_json", "srt", "vtt"})
"""Formats that need segments with times."""


def rendered(transcript: Transcript, shape: str, limits: Limits | None = None) -> str:
    """`transcript` in the format `shape`, ending with a newline; `limits` are those of subtitles."""
    match shape:
        case "text":
            return transcript.text + "\n"
        case "srt":
            return _srt(_cues(transcript, limits))
        case "vtt":
            return _vtt(_cues(transcript, limits))
    return json.dumps(document(transcript, shape), ensure_ascii=False, indent=2) + "\n"


def document(transcript: Transcript, shape: str) -> dict[str, Any]:
    """`transcript` as OpenAI's `json` or `verbose_json` object; times in seconds.

    A segment of a channel has its label as `channel`. Words, where asked for, stand in their segment and, as OpenAI has
    them, in `words`; `words_estimated` says that their times are.
    """
    if shape == "json":
        known = {"language": transcript.language, "duration": _rounded(transcript.duration)}
        return {"text": transcript.text} | {key: value for key, value in known.items() if value is not None}
    segments = transcript.segments or ()
    words = [_word(word) for one in segments for word in one.words]
    return {
        "language": transcript.language,
        "duration": _rounded(transcript.duration),
        "text": transcript.text,
        "segments": [_segment(number, one) for number, one in enumerate(segments)],
    } | ({"words": words, "words_estimated": True} if words else {})


def _segment(number: int, segment: Segment) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": number,
        "start": _rounded(segment.start),
        "end": _rounded(segment.end),
        "text": segment.text,
    }
    if segment.channel:
        shown["channel"] = segment.channel
    if segment.words:
        shown["words"] = [_word(word) for word in segment.words]
    return shown


def _word(word: Word) -> dict[str, Any]:
    return {"word": word.text, "start": _rounded(word.start), "end": _rounded(word.end)}


def _cues(transcript: Transcript, limits: Limits | None) -> list[Cue]:
    return cues(transcript.segments or (), limits or Limits(), transcript.duration, transcript.language)


def _srt(cues: list[Cue]) -> str:
    blocks = []
    for number, cue in enumerate(cues, start=1):
        label = f"{cue.channel}: " if cue.channel else ""
        text = label + "\n".join(cue.lines)
        blocks.append(f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{text}\n")
    return "\n".join(blocks)


def _vtt(cues: list[Cue]) -> str:
    blocks = []
    for cue in cues:
        voice = f"<v {_escaped(cue.channel)}>" if cue.channel else ""
        text = voice + (_karaoke(cue) if cue.words else "\n".join(_escaped(line) for line in cue.lines))
        blocks.append(f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{text}\n")
    return "\n".join(["WEBVTT\n", *blocks])


def _karaoke(cue: Cue) -> str:
    """The lines with a time before each word after the first, as players light them up one after the other."""
    words = iter(cue.words)
    shown: list[str] = []
    for line in cue.lines:
        rest = line
        parts: list[str] = []
        while rest and (word := next(words, None)) is not None:
            stamp = f"<{_clock(min(max(word.start, cue.start), cue.end), '.')}>" if shown or parts else ""
            gap = " " if rest[len(word.text) :].startswith(" ") else ""
            parts.append(f"{stamp}<c>{_escaped(word.text)}</c>{gap}")
            rest = rest[len(word.text) :].lstrip()
        shown.append("".join(parts) + _escaped(rest))
    return "\n".join(shown)


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{point}{rest % 1000:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
