"""A recording cut into pieces that a Whisper server takes whole: at silence where there is any. Pure.

vLLM cuts whatever is longer than 30 s by itself, at a quiet moment of one second, and drops or doubles words there;
before 0.27 it also reports wrong times after the first cut. So no piece reaches 30 s, which is also far below the
server's 25 MB and 600 s. Two neighbours share the silence they are cut in; where there is none they share a few seconds
of sound, and `stitch` removes what was then heard twice.

Each sample is copied once, into the buffer that the pieces are views of; each level is computed once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from whisperctl.transcribe.levels import FRAME, SECONDS, Levels, measured, silences
from whisperctl.transcribe.sound import RATE, Samples

LONGEST = 28.0
"""Seconds of one piece, at most."""
OVERLAP = 4.0
"""Seconds that two pieces share when they are cut in the middle of sound."""

_SHORTEST_SILENCE = round(0.3 / SECONDS)
_MARGIN = round(0.5 / SECONDS)
"""Levels of silence that a piece keeps beyond a cut."""
_EARLIEST = 0.4
"""A cut falls into the last 60 % of a piece."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A part of one lane of a recording. Times are seconds from the recording's start."""

    number: int
    start: float
    end: float
    samples: Samples = field(repr=False)
    """16 kHz, one channel; empty once it was sent."""
    levels: Levels = field(repr=False)
    """How loud each 20 ms of it is."""
    shared: bool
    """Whether its start holds sound that the end of the piece before holds as well."""
    last: bool
    lane: int = 0
    """Which of the lanes that are transcribed, from 0."""


@dataclass(frozen=True, slots=True)
class _Cut:
    """Where one piece ends and the next begins, in levels from the start of the first."""

    end: int
    resume: int
    in_sound: bool


class Cutter:
    """Cuts one lane as its sound arrives; holds at most one piece and a block."""

    def __init__(self, lane: int = 0, longest: float = LONGEST) -> None:
        self._lane, self._limit = lane, int(longest / SECONDS)
        self._number, self._start, self._shared = 0, 0, False
        self._filled, self._measured = 0, 0
        self._buffer, self._levels = self._empty()

    def push(self, samples: Samples) -> Iterator[Piece]:
        """Take the next samples; the pieces that are complete with them."""
        while len(samples):
            room = len(self._buffer) - self._filled
            self._buffer[self._filled : self._filled + min(room, len(samples))] = samples[:room]
            self._filled += min(room, len(samples))
            samples = samples[room:]
            if self._filled == len(self._buffer):
                yield self._cut()

    def end(self) -> Iterator[Piece]:
        """What is left when the recording has ended."""
        if self._filled > self._limit * FRAME:
            yield self._cut()
        if self._filled:
            self._measure(last=True)
            yield self._piece(self._filled, self._measured, last=True)

    def _empty(self) -> tuple[Samples, Levels]:
        frames = self._limit + 1
        return np.empty(frames * FRAME, np.int16), np.empty(frames, np.uint16)

    def _measure(self, *, last: bool = False) -> None:
        until = self._filled if last else self._filled // FRAME * FRAME
        levels = measured(self._buffer[self._measured * FRAME : until])
        self._levels[self._measured : self._measured + len(levels)] = levels
        self._measured += len(levels)

    def _cut(self) -> Piece:
        self._measure()
        cut = _best_cut(self._levels[: min(self._measured, self._limit)], self._limit)
        piece = self._piece(cut.end * FRAME, cut.end, last=False)
        buffer, levels = self._empty()
        rest, known = self._filled - cut.resume * FRAME, self._measured - cut.resume
        buffer[:rest] = self._buffer[cut.resume * FRAME : self._filled]
        levels[:known] = self._levels[cut.resume : self._measured]
        self._buffer, self._levels, self._filled, self._measured = buffer, levels, rest, known
        self._number, self._start, self._shared = self._number + 1, self._start + cut.resume * FRAME, cut.in_sound
        return piece

    def _piece(self, samples: int, levels: int, *, last: bool) -> Piece:
        return Piece(
            number=self._number,
            start=self._start / RATE,
            end=(self._start + samples) / RATE,
            samples=self._buffer[:samples],
            levels=self._levels[:levels],
            shared=self._shared,
            last=last,
            lane=self._lane,
        )


def pieces(blocks: Iterable[Samples], longest: float = LONGEST) -> Iterator[Piece]:
    """One lane in order, each piece at most `longest` seconds; a short recording is one piece, an empty one none."""
    cutter = Cutter(longest=longest)
    for block in blocks:
        yield from cutter.push(block)
    yield from cutter.end()


def _length(pause: tuple[int, int]) -> tuple[int, int]:
    """The order of pauses: the longest, and of equals the last."""
    return pause[1] - pause[0], pause[1]


def _stillest(levels: Levels, start: int, end: int) -> tuple[int, int]:
    """The longest pause inside what seems one: beside a loud speaker a soft one's words pass for silence."""
    while inner := silences(levels[start:end], _SHORTEST_SILENCE):
        first, after = max(inner, key=_length)
        if after - first == end - start:
            break
        start, end = start + first, start + after
    return start, end


def _best_cut(levels: Levels, limit: int) -> _Cut:
    """The middle of the longest silence in the later part, or the very end with an overlap."""
    first = int(_EARLIEST * limit)
    pauses = [(max(a, first), b) for a, b in silences(levels, _SHORTEST_SILENCE) if b - max(a, first) >= 1]
    if not pauses:
        return _Cut(limit, max(limit - round(OVERLAP / SECONDS), limit // 2), in_sound=True)
    start, end = _stillest(levels, *max(pauses, key=_length))
    middle = (start + end) // 2
    return _Cut(min(end, middle + _MARGIN, limit), max(start, middle - _MARGIN), in_sound=False)
