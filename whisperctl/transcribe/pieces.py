"""A recording cut into pieces that a Whisper server takes whole: at silence where there is any.

vLLM cuts whatever is longer than 30 s by itself, at a quiet moment of one second, and drops or doubles words there;
before 0.27 it also reports wrong times after the first cut. So no piece reaches 30 s, which is also far below the
server's 25 MB and 600 s. Two neighbours share the silence they are cut in; where there is none they share a few seconds
of sound, and `stitch` removes what was then heard twice. Pure, but for reading the recording it is given.
"""

from __future__ import annotations

import io
import sys
import wave
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd

from whisperctl.transcribe.audio import Pcm

LONGEST = 28.0
"""Seconds of one piece, at most."""
OVERLAP = 4.0
"""Seconds that two pieces share when they are cut in the middle of sound."""
HEAVIEST = 20 * 1024 * 1024
"""Bytes of one piece, at most: below vLLM's 25 MB."""

_FRAME = 0.02
_SHORTEST_SILENCE = 0.3
_MARGIN = 0.5
"""Seconds of silence that a piece keeps beyond a cut."""
_EARLIEST = 0.4
"""A cut falls into the last 60 % of a piece."""
_QUIET = 0.002
"""Mean level, of full scale, below which nothing is said (-54 dB)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A part of a recording as a WAV file. Times are seconds from the recording's start."""

    number: int
    start: float
    end: float
    content: bytes
    doubled: bool
    """Whether its start holds sound that the end of the piece before holds as well."""
    silent: bool
    """Whether it holds nothing to hear, so that a model would only invent words."""
    last: bool


@dataclass(frozen=True, slots=True)
class _Cut:
    """Where one piece ends and the next begins, in seconds from the start of the first."""

    end: float
    resume: float
    in_sound: bool


def pieces(pcm: Pcm, longest: float = LONGEST) -> Iterator[Piece]:
    """`pcm` in order, each piece at most `longest` seconds; a short recording is one piece, an empty one none."""
    limit = int(min(longest * pcm.rate, HEAVIEST / pcm.frame))
    held, start, number, doubled = pcm.read(limit + 1), 0, 0, False
    while len(held) > limit * pcm.frame:
        levels = _levels(pcm, held)
        cut = _cut(levels, limit / pcm.rate)
        end, resume = int(cut.end * pcm.rate), int(cut.resume * pcm.rate)
        yield _piece(pcm, held[: end * pcm.frame], number, start, doubled=doubled, last=False)
        held = held[resume * pcm.frame :]
        held += pcm.read(limit + 1 - len(held) // pcm.frame)
        start, number, doubled = start + resume, number + 1, cut.in_sound
    if held:
        yield _piece(pcm, held, number, start, doubled=doubled, last=True)


def _piece(pcm: Pcm, data: bytes, number: int, start: int, *, doubled: bool, last: bool) -> Piece:
    frames = len(data) // pcm.frame
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(pcm.channels)
        file.setsampwidth(pcm.width)
        file.setframerate(pcm.rate)
        file.writeframes(data)
    return Piece(
        number=number,
        start=start / pcm.rate,
        end=(start + frames) / pcm.rate,
        content=out.getvalue(),
        doubled=doubled,
        silent=max(_levels(pcm, data), default=0.0) < _QUIET,
        last=last,
    )


def _levels(pcm: Pcm, data: bytes) -> list[float]:
    """The mean level of each 20 ms, of full scale, from a sample here and there."""
    samples, full = _samples(pcm.width, data)
    size = max(1, round(pcm.rate * _FRAME)) * pcm.channels
    stride = max(1, size // 80)
    while gcd(stride, pcm.channels) > 1:  # or every sample would come from the same channels
        stride += 1
    frames = (samples[at : at + size : stride] for at in range(0, len(samples), size))
    return [sum(map(abs, frame)) / len(frame) / full for frame in frames]


def _samples(width: int, data: bytes) -> tuple[array[int], int]:
    """Signed samples of at most 16 bits, and their full scale."""
    match width:
        case 1:
            return array("b", data.translate(bytes(byte ^ 0x80 for byte in range(256)))), 1 << 7
        case 3:
            return array("b", data[2::3]), 1 << 7
    samples = array("h", data[: len(data) // 2 * 2])
    if sys.byteorder == "big":
        samples.byteswap()
    return (samples[1::2] if width == 4 else samples), 1 << 15


def _cut(levels: list[float], length: float) -> _Cut:
    """The middle of the longest silence in the later part, or the very end with an overlap."""
    first = int(_EARLIEST * length / _FRAME)
    silences = [(max(start, first), end) for start, end in _silences(levels) if end - max(start, first) >= 1]
    if not silences:
        return _Cut(length, max(length - OVERLAP, length / 2), in_sound=True)
    start, end = max(silences, key=lambda silence: (silence[1] - silence[0], silence[1]))
    middle = (start + end) / 2 * _FRAME
    after, before = min(end * _FRAME, middle + _MARGIN, length), max(start * _FRAME, middle - _MARGIN)
    return _Cut(after, before, in_sound=False)


def _silences(levels: list[float]) -> list[tuple[int, int]]:
    """Runs of quiet frames that are long enough to be a pause, as (first, after the last)."""
    threshold = _threshold(levels)
    found: list[tuple[int, int]] = []
    start = 0
    for index, level in enumerate([*levels, 1.0]):
        if level >= threshold:
            if index - start >= _SHORTEST_SILENCE / _FRAME:
                found.append((start, index))
            start = index + 1
    return found


def _threshold(levels: list[float]) -> float:
    """Quiet for this recording: little above its background, well below its speech."""
    ordered = sorted(levels)
    background, loud = ordered[len(ordered) // 10], ordered[len(ordered) * 9 // 10]
    return max(_QUIET, 0.1 * loud, min(1.5 * background, 0.4 * loud))
