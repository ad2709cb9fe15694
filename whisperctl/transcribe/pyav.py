"""Recordings decoded by PyAV (`pip install av`), which brings ffmpeg's libraries along, where there is no ffmpeg."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from whisperctl.errors import WhisperctlError
from whisperctl.transcribe.sound import RATE, Samples, Sound, Track
from whisperctl.transcribe.timeline import placed
from whisperctl.transcribe.tracks import chosen


def is_there() -> bool:
    """Whether recordings can be decoded this way."""
    return find_spec("av") is not None


@contextmanager
def opened(path: Path, track: str | None) -> Iterator[Sound]:
    """The recording at `path`.

    Raises:
        WhisperctlError: it cannot be decoded, or has no such track.
    """
    av: Any = import_module("av")
    try:
        container = av.open(str(path.absolute()), options={"protocol_whitelist": "file,pipe"})
    except (av.FFmpegError, ValueError) as error:
        raise WhisperctlError(f"cannot be decoded by PyAV: {_reason(error, path)}.") from error
    with container:
        tracks = _tracks(container)
        taken = chosen(tracks, track)
        complaints: list[str] = []
        gaps: list[tuple[float, float]] = []
        decoded = _Decoded(av, container, container.streams[taken.index], path, complaints)
        yield Sound(
            blocks=placed(decoded.blocks(), gaps),
            seconds=taken.seconds,
            tracks=tracks,
            track=taken.number,
            gaps=gaps,
            complaints=complaints,
        )


def _reason(error: Exception, path: Path) -> str:
    reason = str(getattr(error, "strerror", None) or error)
    return reason.replace(f": '{path.absolute()}'", "").rstrip(".")


def _tracks(container: Any) -> tuple[Track, ...]:
    sound = container.streams.audio
    if not sound:
        kinds = sorted({str(one.type) for one in container.streams}) or ["nothing"]
        raise WhisperctlError(f"holds no sound, only {' and '.join(kinds)}.")
    return tuple(_track(number, one) for number, one in enumerate(sound, start=1))


def _track(number: int, stream: Any) -> Track:
    language = stream.metadata.get("language")
    return Track(
        number=number,
        index=stream.index,
        channels=stream.codec_context.channels or 1,
        language=language if language != "und" else None,
        title=stream.metadata.get("title"),
    )


class _Decoded:
    """One track's frames at 16 kHz, in the layout of the first; what cannot be decoded is skipped and counted."""

    def __init__(self, av: Any, container: Any, stream: Any, path: Path, complaints: list[str]) -> None:
        self._av, self._container, self._stream, self._path = av, container, stream, path
        self._complaints, self._damaged, self._first_fault = complaints, 0, ""
        self._resampler: Any = None
        self._shape: tuple[int, str, str] | None = None
        self._layout: str | None = None

    def blocks(self) -> Iterator[tuple[float | None, Samples]]:
        decoded = False
        for frame in self._frames():
            for block in self._resampled(frame):
                decoded = True
                yield block
        yield from self._flushed()
        if not decoded and self._damaged:
            raise WhisperctlError(f"cannot be decoded by PyAV: {self._first_fault}.")
        if self._damaged:
            more = f", and {self._damaged - 1} more of the kind" if self._damaged > 1 else ""
            self._complaints.append(f"PyAV passed over broken parts of it: {self._first_fault}{more}")

    def _frames(self) -> Iterator[Any]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except self._av.FFmpegError as error:  # the container itself ends here
                self._fault(error)
                return
            if packet is None:
                return
            try:
                yield from packet.decode()
            except self._av.FFmpegError as error:
                self._fault(error)

    def _fault(self, error: Exception) -> None:
        self._damaged += 1
        self._first_fault = self._first_fault or _reason(error, self._path)

    def _resampled(self, frame: Any) -> Iterator[tuple[float | None, Samples]]:
        shape = (frame.sample_rate, frame.layout.name, frame.format.name)
        if shape != self._shape:
            yield from self._flushed()
            self._shape, self._layout = shape, self._layout or frame.layout.name
            self._resampler = self._av.AudioResampler(format="s16", layout=self._layout, rate=RATE)
        start = self._time(frame)
        for out in self._resampler.resample(frame):
            yield start, _samples(out)
            start = None

    def _flushed(self) -> Iterator[tuple[float | None, Samples]]:
        for out in self._resampler.resample(None) if self._resampler else ():
            yield None, _samples(out)

    def _time(self, frame: Any) -> float | None:
        """Seconds from the container's start."""
        if frame.pts is None or frame.time_base is None:
            return None
        start: float = (self._container.start_time or 0) / self._av.time_base
        return float(frame.pts * frame.time_base) - start


def _samples(frame: Any) -> Samples:
    samples: Samples = frame.to_ndarray().reshape(-1, len(frame.layout.channels))
    return samples
