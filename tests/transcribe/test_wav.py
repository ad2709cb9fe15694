"""WAV files read here: every kind of sample, any rate, headers that count wrong."""

from __future__ import annotations

import io
import struct
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.endpoint import tones
from whisperctl.errors import WhisperctlError
from whisperctl.transcribe import wav
from whisperctl.transcribe.sound import RATE, Samples

RAMP = np.array([0, 1, -1, 255, -256, 32767, -32768, 12345], np.int16)


def riff(data: bytes, code: int, bits: int, *, rate: int = RATE, order: str = "<", counted: int | None = None) -> bytes:
    """A WAV file of one channel."""
    form = struct.pack(f"{order}HHIIHH", code, 1, rate, rate * bits // 8, bits // 8, bits)
    size = len(data) if counted is None else counted
    body = b"WAVEfmt " + struct.pack(f"{order}I", 16) + form + b"data" + struct.pack(f"{order}I", size) + data
    return (b"RIFX" if order == ">" else b"RIFF") + struct.pack(f"{order}I", len(body)) + body


def samples(tmp_path: Path, content: bytes) -> tuple[Samples, list[str]]:
    """What is read, and what is told of it."""
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with path.open("rb") as file:
        shape = wav.layout(file)
        assert shape is not None
        sound = wav.opened(file, shape)
        blocks = [*sound.blocks, np.zeros((0, 1), np.int16)]
    return np.concatenate(blocks)[:, 0], sound.complaints


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("letter", "code", "scale"), [("i2", 1, 1), ("i4", 1, 65536), ("f4", 3, 2**-15), ("f8", 3, 2**-15)]
)
def test_every_kind_of_sample(tmp_path: Path, order: str, letter: str, code: int, scale: float) -> None:
    kind = np.dtype(order + letter)
    data = (RAMP * np.float64(scale)).astype(kind).tobytes()
    read, complaints = samples(tmp_path, riff(data, code, kind.itemsize * 8, order=order))
    assert read.tolist() == RAMP.tolist()
    assert complaints == []


@pytest.mark.parametrize("order", ["<", ">"])
def test_24_bit(tmp_path: Path, order: str) -> None:
    wide = (RAMP.astype(np.int32) * 65536).astype(f"{order}i4").tobytes()
    parts: npt.NDArray[np.uint8] = np.frombuffer(wide, np.uint8).reshape(-1, 4)
    data = (parts[:, 1:] if order == "<" else parts[:, :3]).tobytes()
    assert samples(tmp_path, riff(data, 1, 24, order=order))[0].tolist() == RAMP.tolist()


def test_8_bit(tmp_path: Path) -> None:
    assert samples(tmp_path, riff(bytes([0, 127, 128, 255]), 1, 8))[0].tolist() == [-32768, -256, 0, 32512]


def test_what_is_no_number_is_silence(tmp_path: Path) -> None:
    data = np.array([np.nan, np.inf, -np.inf, 2.0], "<f4").tobytes()
    assert samples(tmp_path, riff(data, 3, 32))[0].tolist() == [0, 32767, -32768, 32767]


@pytest.mark.parametrize("counted", [0, 0xFFFFFFFF])
def test_a_header_that_counts_nothing(tmp_path: Path, counted: int) -> None:
    read, complaints = samples(tmp_path, riff(RAMP.tobytes(), 1, 16, counted=counted))
    assert (read.tolist(), complaints) == (RAMP.tolist(), [])


def test_a_header_that_counts_too_much_is_told(tmp_path: Path) -> None:
    read, complaints = samples(tmp_path, riff(bytes(2 * RATE), 1, 16, counted=20 * RATE))
    assert len(read) == RATE
    assert complaints == ["its sound ends after 1.0 s; its header counts 10.0 s"]


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_any_rate_becomes_16_khz_of_the_same_length(tmp_path: Path, rate: int) -> None:
    data = tones.speak([["ba", "be"]], rate=rate)
    read, _ = samples(tmp_path, riff(data, 1, 16, rate=rate))
    assert len(read) == pytest.approx(len(data) / 2 / rate * RATE, abs=2)
    sentences = tones.listen(wav.header(read) + read.tobytes())[1]
    assert [text for _, _, text in sentences] == ["ba be"]
    assert sentences[0][0] == pytest.approx(0, abs=0.02)


def test_an_offset_makes_no_click_at_the_edges(tmp_path: Path) -> None:
    read, _ = samples(tmp_path, riff(np.full(8000, 5000, np.int16).tobytes(), 1, 16, rate=8000))
    assert np.abs(read.astype(int) - 5000).max() <= 2


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\0\0\0\0WAVE", b"OggS" + bytes(100), riff(bytes(90), 0x11, 4)])
def test_what_a_decoder_has_to_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with (tmp_path / "a").open("rb") as file:
        assert wav.layout(file) is None


def test_a_header_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(riff(RAMP.tobytes(), 1, 16, rate=0))
    with (tmp_path / "a").open("rb") as file, pytest.raises(WhisperctlError, match="0 samples a second"):
        wav.layout(file)


def test_what_is_sent_is_a_wav_file() -> None:
    with wave.open(io.BytesIO(wav.header(RAMP) + RAMP.tobytes())) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2)
        assert file.readframes(100) == RAMP.tobytes()
