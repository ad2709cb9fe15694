"""Blocks of 16 bit sound, and their times, out of the Matroska stream that ffmpeg writes to a pipe.

Raw samples on a pipe carry no times; this is the simplest stream that does. Only what ffmpeg writes for one track of
`pcm_s16le` is understood (RFC 9559: element IDs, sizes, clusters, simple blocks).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import IO

import numpy as np

from whisperctl.transcribe.sound import Samples

_CHANNELS, _CLUSTER_TIME, _SIMPLE_BLOCK, _BLOCK = 0x9F, 0xE7, 0xA3, 0xA1
_OPENED = frozenset({0x18538067, 0x1F43B675, 0x1654AE6B, 0xAE, 0xE1, 0xA0})
"""Elements whose children matter: Segment, Cluster, Tracks, TrackEntry, Audio, BlockGroup."""
_READ = frozenset({_CHANNELS, _CLUSTER_TIME, _SIMPLE_BLOCK, _BLOCK})
_LARGEST = 1 << 24
"""Bytes of one element; ffmpeg's blocks have a few kilobytes."""


def blocks(stream: IO[bytes]) -> Iterator[tuple[float, Samples]]:
    """Seconds, and the samples from there, shape (frames, channels), until the stream ends."""
    channels, cluster = 1, 0
    while (element := _head(stream)) is not None:
        name, size = element
        if name in _OPENED:
            continue
        if size > _LARGEST:
            return
        content = stream.read(size)
        if name not in _READ:
            continue
        if name == _CHANNELS:
            channels = int.from_bytes(content)
        elif name == _CLUSTER_TIME:
            cluster = int.from_bytes(content)
        else:
            time = struct.unpack_from(">h", content, 1)[0]
            samples = np.frombuffer(content, "<i2", offset=4, count=(len(content) - 4) // (2 * channels) * channels)
            if len(samples):
                yield (cluster + time) / 1000, samples.reshape(-1, channels)


def _head(stream: IO[bytes]) -> tuple[int, int] | None:
    """ID and size of the next element; None at the end."""
    first = stream.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    name = int.from_bytes(first + stream.read(more))
    second = stream.read(1)
    if not second or not second[0]:
        return None
    more = 8 - second[0].bit_length()
    return name, int.from_bytes(bytes([second[0] & (0x7F >> more)]) + stream.read(more))
