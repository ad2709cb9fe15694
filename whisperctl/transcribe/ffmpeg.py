"""Recordings decoded by the programs ffmpeg and ffprobe, where they are on PATH."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from whisperctl.errors import WhisperctlError
from whisperctl.transcribe import matroska
from whisperctl.transcribe.sound import RATE, Samples, Sound, Track
from whisperctl.transcribe.timeline import placed
from whisperctl.transcribe.tracks import chosen

_PROBE_SECONDS = 60
_LONGEST_LOG = 1 << 16
"""Bytes of what ffmpeg says that are read: a broken file may make it say a lot."""
_ESTIMATED = frozenset(
    {"mp3", "mp2", "aac", "ac3", "eac3", "dts", "amr", "amrnb", "amrwb", "gsm", "adts", "mpeg", "mpegts"}
)
"""Formats whose length is guessed from the bit rate."""


def is_there() -> bool:
    """Whether recordings can be decoded this way."""
    return shutil.which("ffmpeg") is not None


@contextmanager
def opened(path: Path, track: str | None) -> Iterator[Sound]:
    """The recording at `path`.

    Raises:
        WhisperctlError: it cannot be decoded, or has no such track.
    """
    tracks, starts = _probed(path)
    taken = chosen(tracks, track) if tracks else None
    # Of a transport stream ffmpeg takes the chosen track's start for the container's: a late one would be early.
    command = ["ffmpeg", "-nostdin", "-v", "error", *([] if starts is None else ["-copyts"]), *_source(path)]
    command += ["-map", f"0:{taken.index}" if taken else "0:a:0", "-vn", "-sn", "-dn", "-map_metadata", "-1"]
    command += ["-ar", str(RATE), "-c:a", "pcm_s16le", "-f", "matroska", "-"]
    complaints: list[str] = []
    gaps: list[tuple[float, float]] = []
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        try:
            yield Sound(
                blocks=placed(
                    ((at - (starts or 0.0), block) for at, block in _read(process, log, path, complaints)), gaps
                ),
                seconds=taken.seconds if taken else None,
                tracks=tracks,
                track=taken.number if taken else 1,
                gaps=gaps,
                complaints=complaints,
            )
        finally:
            process.kill()
            process.communicate()


def _source(path: Path) -> list[str]:
    """The input as ffmpeg's arguments: a local file, also when its name looks like an option, a URL or a playlist."""
    return ["-protocol_whitelist", "file,pipe", "-i", f"file:{path.absolute()}"]


def _read(
    process: subprocess.Popen[bytes], log: IO[bytes], path: Path, complaints: list[str]
) -> Iterator[tuple[float, Samples]]:
    assert process.stdout is not None
    blocks = 0
    for block in matroska.blocks(process.stdout):
        blocks += 1
        yield block
    code, lines = process.wait(), _lines(log, path)
    if code and not blocks:
        raise WhisperctlError(_undecodable(lines))
    if lines:
        more = f", and {len(lines) - 1} more of the kind" if len(lines) > 1 else ""
        complaints.append(f"ffmpeg passed over broken parts of it: {lines[0]}{more}")
    elif code:
        complaints.append(f"ffmpeg ended early, with {code}")


def _lines(log: IO[bytes], path: Path) -> list[str]:
    """What ffmpeg or ffprobe said, each line once, without the recording's own name and addresses in memory."""
    log.seek(0)
    text = log.read(_LONGEST_LOG).decode(errors="replace")
    for name in (f"file:{path.absolute()}", f"'{path.absolute()}'", str(path.absolute())):
        text = text.replace(f"{name}: ", "").replace(f": {name}", "")
    lines = (re.sub(r"^(\[[^]]* @ 0x[0-9a-f]+\] )+", "", line).strip() for line in text.splitlines())
    return list(dict.fromkeys(line.rstrip(".") for line in lines if line and not _is_noise(line)))


def _is_noise(line: str) -> bool:
    """What is no fault of the recording: ffmpeg on its own output."""
    return "monoton" in line or line.startswith(("Last message repeated", "Error writing trailer", "Error closing"))


def _undecodable(lines: list[str]) -> str:
    """The message, with the cause rather than ffmpeg's last words."""
    causes = [
        line for line in lines if not line.startswith(("To ignore this", "Invalid data found", "Conversion failed"))
    ]
    return f"cannot be decoded by ffmpeg: {'; '.join((causes or lines)[:2]) or 'it gave up'}."


def _probed(path: Path) -> tuple[tuple[Track, ...], float | None]:
    """The sound tracks, and the second at which the container starts; nothing and None without ffprobe.

    Raises:
        WhisperctlError: it is no recording, or holds no sound.
    """
    if not shutil.which("ffprobe"):
        return (), None
    shown = "format=duration,start_time,format_name:stream=index,codec_type,codec_name,channels,duration:stream_tags"
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_entries", shown, *_source(path)]
    with tempfile.TemporaryFile() as log:
        try:
            ran = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                timeout=_PROBE_SECONDS,
                check=False,
            )
            answer = json.loads(ran.stdout or b"{}")
        except (subprocess.TimeoutExpired, ValueError):
            return (), None
        if ran.returncode:
            raise WhisperctlError(_undecodable(_lines(log, path)))
    streams = answer.get("streams") or []
    sound = [one for one in streams if one.get("codec_type") == "audio"]
    if not sound:
        kinds = sorted({str(one.get("codec_type")) for one in streams}) or ["nothing"]
        raise WhisperctlError(f"holds no sound, only {' and '.join(kinds)}.")
    tracks = tuple(_track(number, one, answer, alone=len(streams) == 1) for number, one in enumerate(sound, start=1))
    return tracks, _seconds((answer.get("format") or {}).get("start_time"))


def _track(number: int, stream: dict[str, Any], answer: dict[str, Any], *, alone: bool) -> Track:
    tags = {name.lower(): str(value) for name, value in (stream.get("tags") or {}).items()}
    whole = answer.get("format") or {}
    estimated = bool(_ESTIMATED & set(str(whole.get("format_name")).split(",")))
    lengths = (tags.get("duration"), stream.get("duration"), whole.get("duration") if alone else None)
    seconds = None if estimated else next((length for one in lengths if (length := _seconds(one)) is not None), None)
    return Track(
        number=number,
        index=int(stream.get("index", 0)),
        channels=int(stream.get("channels") or 1),
        language=tags.get("language") if tags.get("language") != "und" else None,
        title=tags.get("title"),
        seconds=seconds,
    )


def _seconds(value: str | None) -> float | None:
    """`12.5` or Matroska's `00:00:12.500000000`."""
    if not value:
        return None
    sign, value = (-1.0, value[1:]) if value.startswith("-") else (1.0, value)
    try:
        total = 0.0
        for part in value.split(":"):
            total = 60 * total + float(part)
    except ValueError:
        return None
    return sign * total
