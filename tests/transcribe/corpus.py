"""Recordings of every kind, made by ffmpeg and sox from the same few seconds of tones: what people have on their disks.

Each kind says how it is made from `clean` (16 kHz, mono) and where its words then are.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.endpoint import tones

SENTENCES = tones.sentences_of(4, 4)
RATE = 16_000
TOOLS = ("ffmpeg", "sox")
MISSING = [tool for tool in TOOLS if not shutil.which(tool)]
_LENGTH = 4 * tones.WORD + 3 * tones.GAP
STARTS = [number * (_LENGTH + tones.PAUSE) for number in range(len(SENTENCES))]
"""Seconds at which the sentences start in `clean`."""
SECONDS = len(SENTENCES) * (_LENGTH + tones.PAUSE)

Make = Callable[[Path, Path], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One kind of file."""

    name: str
    suffix: str
    make: Make
    """Makes the second path of the first, which is `clean`."""
    shifts: tuple[float, ...] = (0.0,) * len(SENTENCES)
    """Seconds by which each sentence is later than in `clean`."""
    times: int = 1
    """How often all of it is said, one after the other."""


def clean(folder: Path) -> Path:
    """The recording that all kinds are made of."""
    path = folder / "clean.wav"
    path.write_bytes(tones.wav(tones.speak(SENTENCES, rate=RATE), RATE))
    return path


def ran(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, (command, done.stderr.decode(errors="replace")[-800:])


def _ffmpeg(*options: str) -> Make:
    """Encoded by ffmpeg with these options."""
    return lambda source, target: ran("ffmpeg", "-v", "error", "-y", "-i", source, *options, f"file:{target}")


def _video(*options: str) -> Make:
    """The sound of a black video."""
    black = ("-f", "lavfi", "-i", "color=black:s=128x96:r=25", "-shortest")
    return lambda source, target: ran("ffmpeg", "-v", "error", "-y", "-i", source, *black, *options, f"file:{target}")


def _sox(*options: str) -> Make:
    """Written by sox with these output options."""
    return lambda source, target: ran("sox", source, *options, target)


def _edited(make: Make, edit: Callable[[bytes], bytes]) -> Make:
    """Made, and its bytes edited afterwards."""

    def made(source: Path, target: Path) -> None:
        make(source, target)
        target.write_bytes(edit(target.read_bytes()))

    return made


def _late(seconds: float, *options: str) -> Make:
    """A video whose sound starts late."""
    black = ("-f", "lavfi", "-t", "20", "-i", "color=black:s=128x96:r=25")
    return lambda source, target: ran(
        "ffmpeg", "-v", "error", "-y", "-itsoffset", str(seconds), "-i", source, *black, "-map", "0:a", "-map", "1:v",
        *options, f"file:{target}",
    )  # fmt: skip


def _gap(*options: str) -> Make:
    """Five seconds without packets between the second and the third sentence."""
    hole = f"asetpts='PTS+gte(T,{STARTS[2] - 0.3})*5/TB'"
    return lambda source, target: ran(
        "ffmpeg", "-v", "error", "-y", "-i", source, "-af", f"asetnsamples=160,{hole}", *options, f"file:{target}"
    )


def _piped(form: str, *options: str) -> Make:
    """Written to a pipe, so that nothing can be filled in afterwards."""

    def made(source: Path, target: Path) -> None:
        command = ["ffmpeg", "-v", "error", "-i", str(source), *options, "-f", form, "-"]
        target.write_bytes(subprocess.run(command, capture_output=True, timeout=60, check=True).stdout)

    return made


def _spliced(source: Path, target: Path) -> None:
    """Two mp3 files of other rates and channels, one after the other, as podcasts get their advertisements."""
    parts = []
    for number, options in enumerate((("-ar", "44100", "-ac", "1"), ("-ar", "48000", "-ac", "2"))):
        part = target.with_name(f"part{number}.mp3")
        ran("ffmpeg", "-v", "error", "-y", "-i", source, *options, "-write_xing", "0", "-id3v2_version", "0", part)
        parts.append(part.read_bytes())
    target.write_bytes(b"".join(parts))


def _counted(size: int) -> Callable[[bytes], bytes]:
    """A WAV whose header counts so many bytes of samples."""
    return lambda data: data[:40] + size.to_bytes(4, "little") + data[44:]


def _listed(data: bytes) -> bytes:
    note = b"LIST" + (27).to_bytes(4, "little") + b"INFOISFT" + (14).to_bytes(4, "little") + b"somebody else\0" + b"x"
    return data[:36] + note + b"\0" + data[36:]


_MONO_TO = {
    "left only": "pan=stereo|c0=c0",
    "opposite phase": "pan=stereo|c0=c0|c1=-1*c0",
    "centre of 5.1": "pan=5.1|FC=c0",
}
_LATE = (5.0,) * len(SENTENCES)
_HOLE = (0.0, 0.0, 5.0, 5.0)

KINDS = [
    Kind(name="wav 8 bit", suffix="wav", make=_ffmpeg("-c:a", "pcm_u8")),
    Kind(name="wav 24 bit", suffix="wav", make=_ffmpeg("-c:a", "pcm_s24le")),
    Kind(name="wav 32 bit", suffix="wav", make=_ffmpeg("-c:a", "pcm_s32le")),
    Kind(name="wav float", suffix="wav", make=_ffmpeg("-c:a", "pcm_f32le")),
    Kind(name="wav double", suffix="wav", make=_ffmpeg("-c:a", "pcm_f64le")),
    Kind(name="wav 8 kHz mu-law", suffix="wav", make=_ffmpeg("-ar", "8000", "-c:a", "pcm_mulaw")),
    Kind(name="wav 8 kHz A-law", suffix="wav", make=_ffmpeg("-ar", "8000", "-c:a", "pcm_alaw")),
    Kind(name="wav ADPCM IMA", suffix="wav", make=_ffmpeg("-c:a", "adpcm_ima_wav")),
    Kind(name="wav ADPCM MS", suffix="wav", make=_ffmpeg("-c:a", "adpcm_ms")),
    Kind(name="wav GSM 6.10", suffix="wav", make=_sox("-r", "8000", "-e", "gsm-full-rate")),
    Kind(name="wav 11 kHz", suffix="wav", make=_ffmpeg("-ar", "11025")),
    Kind(name="wav 44 kHz stereo", suffix="wav", make=_ffmpeg("-ar", "44100", "-ac", "2")),
    Kind(name="wav 96 kHz 24 bit", suffix="wav", make=_ffmpeg("-ar", "96000", "-c:a", "pcm_s24le")),
    Kind(name="wav left only", suffix="wav", make=_ffmpeg("-af", _MONO_TO["left only"])),
    Kind(name="wav opposite phase", suffix="wav", make=_ffmpeg("-af", _MONO_TO["opposite phase"])),
    Kind(name="wav centre of 5.1", suffix="wav", make=_ffmpeg("-af", _MONO_TO["centre of 5.1"])),
    Kind(name="wav with an offset", suffix="wav", make=_ffmpeg("-af", "volume=0.5,dcshift=0.2")),
    Kind(name="wav of no length", suffix="wav", make=_edited(_ffmpeg("-bitexact"), _counted(0))),
    Kind(name="wav of endless length", suffix="wav", make=_edited(_ffmpeg("-bitexact"), _counted(0xFFFFFFFF))),
    Kind(name="wav with a list", suffix="wav", make=_edited(_ffmpeg("-bitexact"), _listed)),
    Kind(name="wav with an odd end", suffix="wav", make=_edited(_ffmpeg("-bitexact"), lambda data: data + b"junk!")),
    Kind(name="wav from a pipe", suffix="wav", make=_piped("wav")),
    Kind(name="rf64", suffix="wav", make=_ffmpeg("-rf64", "always")),
    Kind(name="wave64", suffix="w64", make=_ffmpeg()),
    Kind(name="rifx", suffix="wav", make=_sox("-B")),
    Kind(name="aiff", suffix="aiff", make=_ffmpeg()),
    Kind(name="aifc", suffix="aifc", make=_sox()),
    Kind(name="au", suffix="au", make=_ffmpeg()),
    Kind(name="caf", suffix="caf", make=_ffmpeg("-c:a", "pcm_s16be")),
    Kind(name="voc", suffix="voc", make=_ffmpeg("-c:a", "pcm_u8")),
    Kind(name="sphere", suffix="sph", make=_sox()),
    Kind(name="ircam", suffix="sf", make=_sox()),
    Kind(name="raw gsm", suffix="gsm", make=_sox("-r", "8000")),
    Kind(name="mp3", suffix="mp3", make=_ffmpeg()),
    Kind(name="mp3 without a length", suffix="mp3", make=_ffmpeg("-q:a", "5", "-write_xing", "0")),
    Kind(name="mp3 opposite phase", suffix="mp3", make=_ffmpeg("-ar", "44100", "-af", _MONO_TO["opposite phase"])),
    Kind(name="mp3 behind junk", suffix="mp3", make=_edited(_ffmpeg(), lambda data: bytes(3000) + data)),
    Kind(name="mp3 spliced", suffix="mp3", make=_spliced, times=2),
    Kind(name="mp2", suffix="mp2", make=_ffmpeg()),
    Kind(name="ac3", suffix="ac3", make=_ffmpeg("-ar", "48000")),
    Kind(name="aac", suffix="aac", make=_ffmpeg()),
    Kind(name="m4a", suffix="m4a", make=_ffmpeg()),
    Kind(name="m4a for the web", suffix="m4a", make=_ffmpeg("-movflags", "faststart")),
    Kind(name="m4b", suffix="m4b", make=_ffmpeg("-f", "ipod")),
    Kind(name="alac", suffix="m4a", make=_ffmpeg("-c:a", "alac")),
    Kind(name="mp4 in fragments", suffix="mp4", make=_ffmpeg("-movflags", "frag_keyframe+empty_moov")),
    Kind(name="flac", suffix="flac", make=_ffmpeg()),
    Kind(name="flac in ogg", suffix="oga", make=_ffmpeg("-c:a", "flac")),
    Kind(name="vorbis", suffix="ogg", make=_ffmpeg("-c:a", "libvorbis")),
    Kind(name="opus", suffix="opus", make=_ffmpeg()),
    Kind(name="speex", suffix="spx", make=_ffmpeg()),
    Kind(name="webm of a browser", suffix="webm", make=_piped("webm", "-c:a", "libopus")),
    Kind(name="wma", suffix="wma", make=_ffmpeg()),
    Kind(name="wavpack", suffix="wv", make=_ffmpeg("-c:a", "wavpack")),
    Kind(name="tta", suffix="tta", make=_ffmpeg()),
    Kind(name="mka", suffix="mka", make=_ffmpeg("-c:a", "flac")),
    Kind(name="mp4 video", suffix="mp4", make=_video()),
    Kind(name="mov video", suffix="mov", make=_video("-c:a", "pcm_s16le")),
    Kind(name="mkv video", suffix="mkv", make=_video("-c:a", "ac3", "-ar", "48000")),
    Kind(name="avi video", suffix="avi", make=_video("-c:a", "mp3")),
    Kind(name="flv video", suffix="flv", make=_video("-ar", "44100")),
    Kind(name="mpeg video", suffix="mpg", make=_video("-ar", "44100")),
    Kind(name="transport stream", suffix="ts", make=_video()),
    Kind(name="blu-ray stream", suffix="mts", make=_video("-c:a", "ac3", "-ar", "48000", "-mpegts_m2ts_mode", "1")),
    Kind(name="3gp video", suffix="3gp", make=_video("-c:a", "aac")),
    Kind(name="wmv video", suffix="wmv", make=_video()),
    Kind(name="ogv video", suffix="ogv", make=_video("-c:v", "libtheora", "-c:a", "libvorbis")),
    Kind(name="mp4 with late sound", suffix="mp4", make=_late(5), shifts=_LATE),
    Kind(name="mkv with late sound", suffix="mkv", make=_late(5, "-c:a", "flac"), shifts=_LATE),
    Kind(name="transport stream with late sound", suffix="ts", make=_late(5), shifts=_LATE),
    Kind(name="mkv with a gap", suffix="mkv", make=_gap("-c:a", "pcm_s16le"), shifts=_HOLE),
    Kind(name="mka with a gap", suffix="mka", make=_gap("-c:a", "flac"), shifts=_HOLE),
]  # fmt: skip
