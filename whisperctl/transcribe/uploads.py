"""What is sent of a piece: WAV, or FLAC where bytes cost more than CPU. Both hold the same samples, without an offset.

FLAC takes a third to a half of the bytes away, and some 7 ms of a core for 28 seconds (measured; our own part of such a
piece's CPU is 2 to 3 ms). Which of the two is dearer tells TCP's own measure of how quickly bytes are delivered (Linux;
elsewhere nothing is known and WAV is sent): of a link that many requests share it is one request's share.
"""

from __future__ import annotations

import io
import time
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np

from whisperctl.endpoint.form import Upload
from whisperctl.transcribe import wav
from whisperctl.transcribe.sound import RATE, Samples

Encoding = Literal["wav", "flac", "auto"]
_SAVED = 0.4
"""Part of the bytes that FLAC saves of speech, before it was measured."""
_SECONDS = 8e-9
"""Seconds to encode a byte, before it was measured."""
_OFFSET = 328
"""Steps of 16 bits, 1 % of full scale: a larger constant offset is taken off. Whisper pads what it gets with zeros, and
takes the step at its end for a word (seen with an offset of 20 %)."""
_SPARSE = 61
"""Every so many samples tell whether there may be an offset; a prime, so that no tone looks like one."""
_WEIGHT = 0.2
"""Of the newest measurement."""


def can_encode() -> bool:
    """Whether FLAC can be made here: by soundfile, which the extra `audio` installs."""
    return find_spec("soundfile") is not None


class Uploads:
    """Makes uploads of pieces; safe to share between threads (a lost measurement is another's gain)."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._saved, self._seconds = _SAVED, _SECONDS

    def upload(self, samples: Samples, link: float | None) -> Upload:
        """The file to send of `samples` (16 kHz, one channel).

        Args:
            samples: what was cut.
            link: bytes a second that one request gets through, if that is known.
        """
        samples = _centred(samples)
        if self._is_flac(link):
            return "audio.flac", self._flac(samples)
        return "audio.wav", (wav.header(samples), samples.data.cast("B"))

    def _is_flac(self, link: float | None) -> bool:
        if self._encoding != "auto":
            return self._encoding == "flac"
        return link is not None and self._saved / link > self._seconds and can_encode()

    def _flac(self, samples: Samples) -> bytes:
        soundfile: Any = import_module("soundfile")
        began, out = time.perf_counter(), io.BytesIO()
        soundfile.write(out, samples, RATE, format="FLAC", subtype="PCM_16")
        content = out.getvalue()
        size = max(1, samples.nbytes)
        self._seconds += _WEIGHT * ((time.perf_counter() - began) / size - self._seconds)
        self._saved += _WEIGHT * (1 - len(content) / size - self._saved)
        return content


def _centred(samples: Samples) -> Samples:
    if not len(samples) or abs(samples[::_SPARSE].mean()) <= _OFFSET:
        return samples
    offset = int(samples.mean())
    if abs(offset) <= _OFFSET:
        return samples
    centred: Samples = np.clip(samples.astype(np.int32) - offset, -32768, 32767).astype(np.int16)
    return centred
