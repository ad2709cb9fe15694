"""How loud a recording is, 50 times a second: computed once, when sound arrives, and used for everything after. Pure.

A level is half the distance between the highest and the lowest sample of 20 ms, in 16 bit steps (0 to 32767): a
constant offset does not count. A level of at most `DIGITAL_SILENCE` is what recorders write when nothing is plugged in.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from whisperctl.transcribe.sound import RATE, Samples

FRAME = RATE // 50
"""Samples of one level."""
SECONDS = FRAME / RATE
DIGITAL_SILENCE = 2
"""Steps of 16 bits: no sample is farther than this from a constant offset."""
_QUIET = 650
"""Steps: -34 dB of full scale. A piece that is not louder for 0.2 s in all is shown to the voice-activity model."""
_LONG = 10
"""Levels that make 0.2 s: shorter than a word, longer than a click."""

Levels = npt.NDArray[np.uint16]


def measured(samples: Samples) -> Levels:
    """The level of each 20 ms; the last may be shorter."""
    whole = len(samples) // FRAME * FRAME
    frames = samples[:whole].reshape(-1, FRAME)
    levels = _halved(frames.max(axis=1), frames.min(axis=1))
    if whole == len(samples):
        return levels
    rest = samples[whole:]
    return np.append(levels, _halved(rest.max(keepdims=True), rest.min(keepdims=True)))


def _halved(highest: Samples, lowest: Samples) -> Levels:
    return ((highest.astype(np.int32) - lowest + 1) // 2).astype(np.uint16)


def is_digital_silence(levels: Levels) -> bool:
    """Whether nothing at all was recorded."""
    return not len(levels) or int(levels.max()) <= DIGITAL_SILENCE


def is_quiet(levels: Levels) -> bool:
    """Whether one may wonder if anything is said here: never loud for as long as a word."""
    return int(np.count_nonzero(levels >= _QUIET)) < _LONG


def loud_from(levels: Levels) -> float:
    """The level from which on a moment counts as speech: well below what is said, above the background."""
    background, loud = _tenths(levels)
    return max(DIGITAL_SILENCE + 1.0, 0.1 * loud, min(1.5 * background, 0.4 * loud))


def _tenths(levels: Levels) -> tuple[float, float]:
    """What a tenth is quieter than, and what a tenth is louder than."""
    low, high = len(levels) // 10, len(levels) * 9 // 10
    ordered = np.partition(levels, (low, high))
    return float(ordered[low]), float(ordered[high])


def silences(levels: Levels, shortest: int) -> list[tuple[int, int]]:
    """Runs of at least `shortest` silent levels, as (first, after the last)."""
    silent = np.concatenate(([False], levels < loud_from(levels), [False]))
    edges = np.flatnonzero(silent[1:] != silent[:-1])
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= shortest]


def leading_silence(levels: Levels) -> int:
    """How many levels are silent before the first sound; a soft voice before a loud one is sound."""
    lead = len(levels)
    while lead:
        loud = levels[:lead] >= loud_from(levels[:lead])
        first = int(loud.argmax()) if loud.any() else lead
        if first == 0:
            return 0 if lead == len(levels) else lead
        if first == lead:
            return lead
        lead = first
    return 0
