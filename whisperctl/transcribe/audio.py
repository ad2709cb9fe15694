"""A recording opened for reading, whatever its container: plain WAV here, the rest by ffmpeg, else by PyAV.

Nothing here cuts, uploads or knows the server.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from whisperctl.errors import WhisperctlError
from whisperctl.transcribe import ffmpeg, pyav, wav
from whisperctl.transcribe.sound import Sound
from whisperctl.transcribe.tracks import chosen

INSTALL = "Install ffmpeg (`apt install ffmpeg`, `brew install ffmpeg`) or PyAV (`pip install av`)."


@contextmanager
def opened(path: Path, track: str | None = None) -> Iterator[Sound | None]:
    """The recording at `path`, or None when nothing on this machine can decode it.

    Args:
        path: a regular file.
        track: the sound track, by number from 1 or by language; None is the first.

    Raises:
        WhisperctlError: it cannot be read, or it is broken, or it holds no sound; the message follows its name. Also
            from the blocks, as far as it shows only then.
    """
    with _readable(path) as file:
        if not os.fstat(file.fileno()).st_size:
            raise WhisperctlError("is empty.")
        if shape := wav.layout(file):
            sound = wav.opened(file, shape)
            chosen(sound.tracks, track)
            yield sound
            return
    if ffmpeg.is_there():
        with ffmpeg.opened(path, track) as sound:
            yield sound
    elif pyav.is_there():
        with pyav.opened(path, track) as sound:
            yield sound
    else:
        yield None


def _readable(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise WhisperctlError(f"cannot be read: {error.strerror}.") from error


def can_decode() -> bool:
    """Whether anything here decodes more than plain WAV."""
    return ffmpeg.is_there() or pyav.is_there()
