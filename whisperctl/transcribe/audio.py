"""A recording as a stream of PCM, whatever its container; never more of it in memory than was asked for.

WAV is read by the standard library, everything else by ffmpeg when it is on PATH, else by PyAV when it can be
imported. Nothing here cuts, uploads or knows the server.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from whisperctl.errors import WhisperctlError

SUFFIXES = frozenset(
    {".wav", ".mp3", ".m4a", ".flac", ".ogg", ".oga", ".opus", ".webm", ".aac", ".aiff", ".amr", ".mka", ".wma"}
    | {".mp4", ".mkv", ".mov", ".avi", ".mpeg", ".mpga"}
)
"""What counts as a recording when a folder is given."""

INSTALL = "Install ffmpeg (`apt install ffmpeg`, `brew install ffmpeg`) or PyAV (`pip install av`)."

_HEAVY = 200_000
"""Bytes per second of PCM above which mixing down pays for itself: more than 48 kHz, 16 bit, stereo."""

_RATE = 16_000
"""Whisper hears 16 kHz mono."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pcm:
    """An open recording: little-endian PCM as in a WAV file (8 bit is unsigned)."""

    rate: int
    channels: int
    width: int
    """Bytes of one sample of one channel."""
    read: Callable[[int], bytes]
    """The next frames, at most so many; fewer only at the end."""

    @property
    def frame(self) -> int:
        """Bytes of one sample of all channels."""
        return self.channels * self.width


@contextmanager
def opened(path: Path) -> Iterator[Pcm | None]:
    """The recording at `path`, or None when nothing on this machine can decode it.

    Raises:
        WhisperctlError: it cannot be read, or it is broken, or it holds no sound; the message follows its name.
    """
    with _readable(path) as file:
        if not os.fstat(file.fileno()).st_size and path.is_file():  # a pipe has no size
            raise WhisperctlError("is empty.")
        sound = _wave(file)
        if sound and (_weight(sound) <= _HEAVY or not can_decode()):
            yield _pcm_of(sound)
            return
    if shutil.which("ffmpeg"):
        with _ffmpeg(path) as pcm:
            yield pcm
    elif find_spec("av"):
        with _pyav(path) as pcm:
            yield pcm
    else:
        yield None


def _readable(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise WhisperctlError(f"cannot be read: {error.strerror}.") from error


def can_decode() -> bool:
    """Whether anything here decodes more than plain WAV."""
    return bool(shutil.which("ffmpeg") or find_spec("av"))


def seconds(path: Path) -> float | None:
    """How long the recording is, if that is quick to tell; never an error."""
    try:
        with path.open("rb") as file:
            if sound := _wave(file):
                there = min(sound.getnframes(), path.stat().st_size // (sound.getnchannels() * sound.getsampwidth()))
                return there / sound.getframerate()
    except OSError:
        return None
    if not shutil.which("ffprobe"):
        return None
    asked = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", *_source(path)]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=False, stdin=subprocess.DEVNULL)
        return float(told.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return None


def _wave(file: IO[bytes]) -> wave.Wave_read | None:
    """`file` as a WAV of plain PCM, or None: another container, float samples, or a header that counts no frames."""
    try:
        sound = wave.open(file)  # noqa: SIM115 - closing it is up to the file's owner
    except (wave.Error, EOFError, RuntimeError):  # RuntimeError: a chunk that claims to reach past its container
        return None
    return sound if sound.getnframes() and sound.getsampwidth() <= 4 else None


def _weight(sound: wave.Wave_read) -> int:
    return sound.getframerate() * sound.getnchannels() * sound.getsampwidth()


def _pcm_of(sound: wave.Wave_read) -> Pcm:
    return Pcm(
        rate=sound.getframerate(),
        channels=sound.getnchannels(),
        width=sound.getsampwidth(),
        read=sound.readframes,
    )


def _source(path: Path) -> list[str]:
    """The input as ffmpeg's arguments: a local file, also when its name looks like an option, a URL or a playlist."""
    return ["-protocol_whitelist", "file,pipe", "-i", f"file:{path.absolute()}"]


@contextmanager
def _ffmpeg(path: Path) -> Iterator[Pcm]:
    asked = ["ffmpeg", "-nostdin", "-v", "error", *_source(path)]
    asked += ["-map", "0:a:0", "-ac", "1", "-ar", str(_RATE), "-f", "s16le", "-"]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(asked, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said)
        try:
            yield Pcm(rate=_RATE, channels=1, width=2, read=_reader(process, said, path))
        finally:
            process.kill()
            process.communicate()


def _reader(process: subprocess.Popen[bytes], said: IO[bytes], path: Path) -> Callable[[int], bytes]:
    assert process.stdout is not None
    out = process.stdout

    def read(frames: int) -> bytes:
        data = out.read(2 * frames)
        if len(data) < 2 * frames and process.wait() != 0:
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()
            raise _undecodable(path, "ffmpeg", lines[-1] if lines else "it gave up")
        return data[: len(data) // 2 * 2]

    return read


@contextmanager
def _pyav(path: Path) -> Iterator[Pcm]:
    av: Any = import_module("av")
    try:
        with av.open(str(path.absolute()), options={"protocol_whitelist": "file,pipe"}) as container:
            if not container.streams.audio:
                raise _undecodable(path, "PyAV", "it holds no sound")
            yield Pcm(rate=_RATE, channels=1, width=2, read=_gathered(_resampled(av, container)))
    except av.FFmpegError as error:
        raise _undecodable(path, "PyAV", str(error)) from error


def _resampled(av: Any, container: Any) -> Iterator[bytes]:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=_RATE)
    for frame in container.decode(audio=0):
        for out in resampler.resample(frame):
            yield bytes(out.planes[0])[: 2 * out.samples]
    for out in resampler.resample(None):
        yield bytes(out.planes[0])[: 2 * out.samples]


def _gathered(chunks: Iterator[bytes]) -> Callable[[int], bytes]:
    """A read function over chunks of any size, for 16 bit mono."""
    held = bytearray()

    def read(frames: int) -> bytes:
        while len(held) < 2 * frames and (chunk := next(chunks, b"")):
            held.extend(chunk)
        data = bytes(held[: 2 * frames])
        del held[: 2 * frames]
        return data

    return read


def _undecodable(path: Path, by: str, reason: str) -> WhisperctlError:
    for name in (f"file:{path.absolute()}", f"'{path.absolute()}'"):
        reason = reason.replace(f"{name}: ", "").replace(f": {name}", "")
    return WhisperctlError(f"cannot be decoded by {by}: {reason}.")
