"""Decoded sound at the times of its container: late starts and gaps become silence. Pure.

A recording's second 0 is where its container starts, as in players. What comes early (rounding, overlapping splices) is
put right behind what was there: no sound is ever dropped for its time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, pairwise

import numpy as np

from whisperctl.transcribe.sound import BLOCK, RATE, Samples

_TOLERANCE = 0.1
"""Seconds by which a container's times may jitter; a smaller hole is no gap."""
_BROKEN = 3600.0
"""Seconds: a longer jump forward is a clock that was set, not a gap in the sound."""
_OVERLAP = 0.015
"""Seconds: a block after which the next one starts earlier than this before its end has a wrong time.

ffmpeg gives the first block after a change of the sample rate a time in the old one's unit, and what it then writes
counts on from there, a millisecond a block, until the true times have passed it.
"""
_NOTHING = np.zeros((0, 1), np.int16)

Stamped = tuple[float | None, Samples]
"""Seconds from the container's start (None: right behind the block before), and the sound from there."""


def placed(stamped: Iterable[Stamped], gaps: list[tuple[float, float]]) -> Iterator[Samples]:
    """The same sound as one stream, with silence where there was none; blocks of about `BLOCK` frames.

    Args:
        stamped: what was decoded, in order.
        gaps: gets the holes that were filled behind the start, in seconds.
    """
    return _gathered(_filled(stamped, gaps))


def _filled(stamped: Iterable[Stamped], gaps: list[tuple[float, float]]) -> Iterator[Samples]:
    written, shift = 0, 0.0
    wrong_until: float | None = None
    for (start, block), (following, _) in pairwise(chain(stamped, [(None, _NOTHING)])):
        gap = 0.0 if start is None else start + shift - written / RATE
        if gap < -_TOLERANCE or gap > _BROKEN:  # the clock was set: go on from here
            shift -= gap
        elif gap > _TOLERANCE and start is not None:
            ends = start + len(block) / RATE - _OVERLAP
            is_wrong = wrong_until is not None and start < wrong_until
            if is_wrong or (following is not None and following < ends):
                wrong_until = ends
            else:
                missing = round(gap * RATE)
                if written:
                    gaps.append((written / RATE, (written + missing) / RATE))
                written += missing
                yield from _silence(missing, block.shape[1])
        written += len(block)
        yield block


def _gathered(blocks: Iterator[Samples]) -> Iterator[Samples]:
    waiting: list[Samples] = []
    frames = 0
    for block in blocks:
        waiting.append(block)
        frames += len(block)
        if frames >= BLOCK:
            yield np.concatenate(waiting) if len(waiting) > 1 else block
            waiting, frames = [], 0
    if waiting:
        yield np.concatenate(waiting)


def _silence(frames: int, channels: int) -> Iterator[Samples]:
    while frames > 0:
        yield np.zeros((min(frames, BLOCK), channels), np.int16)
        frames -= BLOCK
