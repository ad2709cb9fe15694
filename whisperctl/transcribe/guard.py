"""Whether an answer can be all that was said: text in circles, an early end, nothing over loud speech. Pure.

Whisper's decoder may loop, and may stop early with everything after it lost, and vLLM answers 200 all the same.
openai's own program asks again above the same compression ratio; vLLM has no such guard.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from whisperctl.endpoint.transcription import Transcript
from whisperctl.transcribe.levels import SECONDS, Levels

REPETITIVE = 2.4
"""Bytes of text over bytes when compressed: openai-whisper's `compression_ratio_threshold`."""
_LOUD = 0.3
"""Sound counts as loud from this part of what the loud moments of the words that were heard have."""
_PAUSE = 1.0
"""Seconds after the last segment that its end may be off by."""
_UNHEARD = 2.0
"""Seconds of loud sound after that which make an end doubtful."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why an answer may not be all that was said."""

    kind: Literal["ends early", "repeats itself", "is empty"]
    start: float
    """Seconds from the piece's start, from which on words may be missing."""
    weight: float
    """Of two answers with the same doubt, the lighter one is better."""


def doubt(transcript: Transcript, levels: Levels, has_speech: Callable[[], bool]) -> Doubt | None:
    """What makes `transcript` doubtful, or None.

    Args:
        transcript: of one piece, times from the piece's start.
        levels: how loud the piece is.
        has_speech: whether someone speaks loudly in the piece; asked only if there is no text.
    """
    ratio = repetition(transcript.text)
    if ratio > REPETITIVE:
        return Doubt("repeats itself", 0.0, ratio)
    if not transcript.text:
        return Doubt("is empty", 0.0, 0.0) if has_speech() else None
    if not transcript.segments:
        return None
    start, end = transcript.segments[0].start, max(one.end for one in transcript.segments)
    unheard = _loud_seconds_after(levels, start, end)
    return Doubt("ends early", end, unheard) if unheard >= _UNHEARD else None


def repetition(text: str) -> float:
    """How much shorter `text` becomes when compressed; below 2 for what people say."""
    data = text.encode(errors="surrogatepass")
    return len(data) / len(zlib.compress(data)) if data else 0.0


def better(one: tuple[Transcript, Doubt | None], other: tuple[Transcript, Doubt | None]) -> bool:
    """Whether `one` is to be kept rather than `other`."""
    return _rank(one[1]) < _rank(other[1])


def _rank(doubt: Doubt | None) -> tuple[int, float]:
    if doubt is None:
        return 0, 0.0
    return {"ends early": 1, "repeats itself": 2, "is empty": 3}[doubt.kind], doubt.weight


def _loud_seconds_after(levels: Levels, start: float, end: float) -> float:
    """Seconds behind the end of the words that are about as loud as the words between `start` and `end`."""
    spoken = levels[int(start / SECONDS) : max(int(start / SECONDS) + 1, int(end / SECONDS))]
    if not len(spoken):
        return 0.0
    loud = _LOUD * float(np.partition(spoken, len(spoken) * 9 // 10)[len(spoken) * 9 // 10])
    after = levels[int((end + _PAUSE) / SECONDS) :]
    return float(np.count_nonzero(after >= max(loud, 1.0))) * SECONDS
