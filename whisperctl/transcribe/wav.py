"""WAV files: plain ones are read here, without a decoder, and every piece that is sent becomes one.

Reads RIFF, RF64 and RIFX (which ffmpeg 5.1 decodes to noise) with 8, 16, 24 or 32 bit integers or 32 or 64 bit floats,
any rate, any number of channels, also with a header that counts nothing (as recorders write when they are killed, and
programs into pipes). Compressed WAV is for a decoder.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from whisperctl.errors import WhisperctlError
from whisperctl.transcribe.sound import BLOCK, RATE, Samples, Sound, Track

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_UNCOUNTED = (0, 0xFFFFFFFF)
"""Sizes that stand for "until the end"."""
_EDGE = 1600
"""Frames of a constant that a resampler gets before and after a recording, so that an offset makes no click there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """What a WAV header says, and where its samples are."""

    kind: str
    """numpy's name of one sample: |u1, <i2, <i3 (24 bit, which numpy has not), <i4, <f4, <f8; > of a RIFX."""
    rate: int
    channels: int
    start: int
    """Byte of the first sample."""
    frames: int
    """How many there are in the file."""
    counted: int
    """How many its header counts."""

    @property
    def width(self) -> int:
        """Bytes of one sample of one channel."""
        return int(self.kind[-1])


def header(samples: Samples) -> bytes:
    """The bytes that make a WAV file of `samples` (one channel) when they come first."""
    size = samples.nbytes
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, _PCM, 1, RATE, 2 * RATE, 2, 16, b"data", size
    )


def layout(file: IO[bytes]) -> Layout | None:
    """The layout of a WAV file, or None if a decoder has to read it.

    Raises:
        WhisperctlError: its header contradicts itself; the message follows the file's name.
    """
    size = os.fstat(file.fileno()).st_size
    if not (chunks := _chunks(file, size)):
        return None
    order, form, data_start, data_size = chunks
    code, channels, rate, _, align, _ = struct.unpack_from(order + "HHIIHH", form)
    if code == _EXTENSIBLE and len(form) >= 26:
        code = struct.unpack_from(order + "H", form, 24)[0]
    if code in (_PCM, _FLOAT) and not channels:
        raise WhisperctlError("is broken: its WAV header counts no channels.")
    if (letter := _LETTERS.get((code, align * 8 // max(1, channels)))) is None:
        return None
    kind = f"{'|' if letter == 'u1' else order}{letter}"
    if not rate:
        raise WhisperctlError("is broken: its WAV header says 0 samples a second.")
    there = max(0, size - data_start) // align
    counted = there if data_size in _UNCOUNTED else data_size // align
    return Layout(
        kind=kind, rate=rate, channels=channels, start=data_start, frames=min(there, counted), counted=counted
    )


def opened(file: IO[bytes], shape: Layout) -> Sound:
    """The recording in `file`, which stays open meanwhile."""
    complaints = []
    if shape.counted - shape.frames > shape.rate // 10:
        ends, counted = shape.frames / shape.rate, shape.counted / shape.rate
        complaints.append(f"its sound ends after {ends:.1f} s; its header counts {counted:.1f} s")
    blocks = _blocks(file, shape)
    if shape.rate != RATE:
        blocks = _resampled(blocks, shape)
    seconds = shape.frames / shape.rate
    track = Track(number=1, index=0, channels=shape.channels, seconds=seconds)
    return Sound(blocks=blocks, seconds=seconds, tracks=(track,), complaints=complaints)


_LETTERS = {
    (_PCM, 8): "u1",
    (_PCM, 16): "i2",
    (_PCM, 24): "i3",
    (_PCM, 32): "i4",
    (_FLOAT, 32): "f4",
    (_FLOAT, 64): "f8",
}


def _chunks(file: IO[bytes], size: int) -> tuple[str, bytes, int, int] | None:
    """The byte order, the format chunk, where the samples begin and how many bytes they are said to be."""
    file.seek(0)
    head = file.read(12)
    if len(head) < 12 or head[:4] not in (b"RIFF", b"RF64", b"RIFX") or head[8:] != b"WAVE":
        return None
    order = ">" if head[:4] == b"RIFX" else "<"
    form, long_size, at = b"", None, 12
    while at + 8 <= size:
        file.seek(at)
        name, length = struct.unpack(order + "4sI", file.read(8))
        if name == b"data":
            known = long_size if length == 0xFFFFFFFF and long_size else length
            return (order, form, at + 8, known) if len(form) >= 16 else None
        if name == b"fmt ":
            form = file.read(min(length, 64))
        elif name == b"ds64":
            long_size = struct.unpack("<QQ", file.read(16))[1]
        at += 8 + length + length % 2
    return None


def _blocks(file: IO[bytes], shape: Layout) -> Iterator[Samples]:
    file.seek(shape.start)
    left, size = shape.frames, max(1, BLOCK * shape.rate // RATE)
    while left > 0:
        data = file.read(min(size, left) * shape.width * shape.channels)
        data = data[: len(data) - len(data) % (shape.width * shape.channels)]
        if not data:
            return  # it became shorter while it was read: whoever counts, notices
        block = _sixteen_bit(data, shape.kind).reshape(-1, shape.channels)
        left -= len(block)
        yield block


def _sixteen_bit(data: bytes, kind: str) -> Samples:
    match kind[1:]:
        case "i2":
            return np.frombuffer(data, kind).astype(np.int16, copy=False)
        case "u1":
            return ((np.frombuffer(data, np.uint8).astype(np.int16) - 128) << 8).astype(np.int16)
        case "i3":
            parts = np.frombuffer(data, np.uint8).reshape(-1, 3)[:, :: -1 if kind[0] == ">" else 1]
            high, middle, low = (parts[:, at].astype(np.int32) for at in (2, 1, 0))
            return _rounded(((high << 24) | (middle << 16) | (low << 8)) / 65536)
        case "i4":
            return _rounded(np.frombuffer(data, kind) / 65536)
    return _rounded(np.clip(np.nan_to_num(np.frombuffer(data, kind)), -2, 2) * 32768.0)


def _rounded(values: npt.NDArray[Any]) -> Samples:
    clipped: Samples = np.clip(np.rint(values), -32768, 32767).astype(np.int16)
    return clipped


def _resampled(blocks: Iterator[Samples], shape: Layout) -> Iterator[Samples]:
    """At 16 kHz; the edges get a constant that is cut off again."""
    import soxr

    stream = soxr.ResampleStream(shape.rate, RATE, shape.channels, dtype="int16", quality="HQ")
    edge = -(-_EDGE * shape.rate // RATE)
    skip, total, out, last = round(edge * RATE / shape.rate), 0, 0, None

    def clear(block: Samples) -> Samples:
        """Without the edges."""
        nonlocal skip, out
        cut = min(skip, len(block))
        skip -= cut
        block = block[cut:]
        out += len(block)
        return block

    for block in blocks:
        if last is None:
            clear(stream.resample_chunk(np.repeat(block[:1], edge, axis=0)).reshape(-1, shape.channels))
        last, total = block[-1:], total + len(block)
        if len(done := clear(stream.resample_chunk(np.ascontiguousarray(block)).reshape(-1, shape.channels))):
            yield done
    if last is None:
        return
    done = clear(stream.resample_chunk(np.repeat(last, edge, axis=0), last=True).reshape(-1, shape.channels))
    surplus = out - round(total * RATE / shape.rate)
    yield done[: max(0, len(done) - max(0, surplus))]
