"""Times of single words, estimated from where the sound is: no vLLM release gives any. Pure.

Whisper's segments are right to some tenths of a second. Inside one, words are laid along the moments in which there is
sound, each as long as it has letters, so that pauses fall between words; a boundary then moves to the softest moment
nearby. `docs/transcribe.md` says how far off that is.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from whisperctl.endpoint.transcription import Segment, Transcript, Word
from whisperctl.transcribe.levels import SECONDS, Levels, loud_from
from whisperctl.transcribe.stitch import SPACELESS

_REACH = round(0.2 / SECONDS)
"""Levels by which a boundary may move to a softer moment."""


def estimated(transcript: Transcript, levels: Levels) -> Transcript:
    """`transcript` with words in its segments.

    Args:
        transcript: with times from the recording's start.
        levels: of the whole recording (or of the lane that the transcript is of).
    """
    spaceless = transcript.language in SPACELESS
    segments = tuple(_with_words(one, levels, spaceless=spaceless) for one in transcript.segments or ())
    return replace(transcript, segments=segments)


def _with_words(segment: Segment, levels: Levels, *, spaceless: bool) -> Segment:
    texts = list(segment.text.replace(" ", "")) if spaceless else segment.text.split()
    if not texts:
        return segment
    first = int(segment.start / SECONDS)
    inside = levels[first : max(first + 1, int(np.ceil(segment.end / SECONDS)))]
    bounds = _bounds([max(1, sum(map(str.isalnum, text))) for text in texts], inside)
    times = [min(max(segment.start + at * SECONDS, segment.start), segment.end) for at in bounds]
    words = tuple(
        Word(start=start, end=end, text=text)
        for text, (start, end) in zip(texts, zip(times[::2], times[1::2], strict=True), strict=True)
    )
    return replace(segment, words=words)


def _bounds(lengths: list[int], levels: Levels) -> list[float]:
    """Start and end of each word in turn, in levels from the segment's start."""
    sound: npt.NDArray[np.bool_] = levels >= loud_from(levels) if len(levels) else np.zeros(0, bool)
    if not sound.any():
        shares = np.cumsum([0, *lengths]) / sum(lengths) * len(levels)
        return [float(at) for pair in pairwise(shares) for at in pair]
    spoken = np.cumsum(sound)
    edges = [int(np.argmax(sound))]
    for share in np.cumsum(lengths)[:-1] / sum(lengths) * spoken[-1]:
        edges.append(_softest(levels, max(int(np.searchsorted(spoken, share)) + 1, edges[-1] + 1)))
    edges.append(int(len(sound) - np.argmax(sound[::-1])))
    bounds: list[float] = []
    for start, end in pairwise(edges):
        loud = np.flatnonzero(sound[start:end])
        inner = (start + int(loud[0]), start + int(loud[-1]) + 1) if len(loud) else (start, max(start, end))
        bounds += [float(inner[0]), float(inner[1])]
    return bounds


def _softest(levels: Levels, near: int) -> int:
    """The softest moment around `near`, the nearest of equals."""
    first = max(0, near - _REACH)
    window = levels[first : near + _REACH + 1].astype(np.float64)
    if not len(window):
        return near
    distance = np.abs(np.arange(first, first + len(window)) - near)
    return first + int(np.lexsort((distance, np.round(window / max(1.0, window.max()), 1)))[0])
