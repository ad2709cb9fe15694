"""The channels of a recording as the lanes that are transcribed: all mixed into one, or each by itself. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from whisperctl.errors import WhisperctlError
from whisperctl.transcribe.sound import Samples

_OPPOSED = 0.05
"""A mix with less than this part of the power that its channels would have without any relation is cancelled out."""
_STRIDE = 8
"""Every so many frames are looked at to tell."""


@dataclass(frozen=True, slots=True)
class Channels:
    """What to make of the channels."""

    split: bool = False
    """Whether each is transcribed by itself."""
    names: tuple[str, ...] = ()
    """Their labels, in order; empty numbers them."""

    def __str__(self) -> str:
        """As the option is written."""
        return ",".join(self.names) if self.names else "split" if self.split else "mix"

    def labels(self, count: int) -> tuple[str | None, ...]:
        """The label of each lane of a recording with `count` channels; a mix has none.

        Raises:
            WhisperctlError: there are not as many channels as names; the message follows the recording's name.
        """
        if not self.split:
            return (None,)
        if self.names and len(self.names) != count:
            have = f"{count} channel" + "s" * (count != 1)
            raise WhisperctlError(f"has {have}, and --channels names {len(self.names)}: {', '.join(self.names)}.")
        return self.names or tuple(f"channel {number}" for number in range(1, count + 1))

    def lanes(self, block: Samples) -> Sequence[Samples]:
        """The lanes of one block, each of shape (samples,)."""
        if not self.split:
            return (mixed(block),)
        return [np.ascontiguousarray(block[:, channel]) for channel in range(block.shape[1])]


def parsed(text: str) -> Channels:
    """`mix`, `split`, or names with commas between them.

    Raises:
        ValueError: a name is empty or there twice.
    """
    if text in ("mix", "split"):
        return Channels(split=text == "split")
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or len(set(names)) < len(names) or not all(name.isprintable() for name in names):
        raise ValueError("mix, split, or one name for each channel with commas between them, no name twice")
    return Channels(split=True, names=names)


def mixed(block: Samples) -> Samples:
    """The mean of all channels, or the loudest one where they cancel each other out.

    Two channels in opposite phase (a balanced line taken for stereo, a mis-wired microphone) sum to nothing.
    """
    count = block.shape[1]
    if count == 1:
        only: Samples = block[:, 0]
        return only
    total = block[:, 0].astype(np.int32)
    for channel in range(1, count):
        total += block[:, channel]
    mean: Samples = (total // count).astype(np.int16)
    sample = block[::_STRIDE].astype(np.float32)
    powers: npt.NDArray[np.float32] = sample.var(axis=0)
    if float(mean[::_STRIDE].astype(np.float32).var()) < _OPPOSED * float(powers.sum()) / count**2:
        return np.ascontiguousarray(block[:, int(powers.argmax())])
    return mean
