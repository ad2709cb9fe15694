"""What decoding gives and cutting takes: sound at 16 kHz in 16 bit steps, in blocks of bounded size. Data only.

Every stage after the decoder (channels, pieces, levels, speech) works on these arrays; nothing else is ever in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

RATE = 16_000
"""Samples a second: what Whisper hears."""

BLOCK = 64_000
"""Frames of one block, about: four seconds."""

Samples = npt.NDArray[np.int16]
"""One channel, shape (samples,); or a block of all channels, shape (frames, channels)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Track:
    """A sound track of a container."""

    number: int
    """From 1, in the container's order."""
    index: int
    """Among all streams of the container, from 0."""
    channels: int
    language: str | None = None
    """The container's own tag, such as `ger`."""
    title: str | None = None
    seconds: float | None = None
    """How long it says it is; None where that is unknown or estimated."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sound:
    """An open recording."""

    blocks: Iterator[Samples]
    """All channels, in order, to be read once: shape (frames, channels)."""
    seconds: float | None = None
    """How long its container says it is; None where that is unknown or estimated."""
    tracks: tuple[Track, ...] = ()
    track: int = 1
    """Which one this is."""
    gaps: list[tuple[float, float]] = field(default_factory=list)
    """Seconds from and to which its container holds no sound, late starts aside: complete when `blocks` has ended."""
    complaints: list[str] = field(default_factory=list)
    """What was wrong with it and did not stop the decoder: complete when `blocks` has ended."""
