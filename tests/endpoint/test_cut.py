"""Cutting at silence: what is lost, what is doubled, what is held."""

from __future__ import annotations

import io
import itertools
import wave
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.endpoint import tones
from whisperctl.transcribe.audio import Pcm
from whisperctl.transcribe.pieces import LONGEST, OVERLAP, Piece, pieces


def pcm(data: bytes, rate: int = tones.RATE, channels: int = 1, width: int = 2) -> Pcm:
    stream = io.BytesIO(data)
    frame = channels * width
    return Pcm(rate=rate, channels=channels, width=width, read=lambda frames: stream.read(frames * frame))


def cut(data: bytes, **more: int) -> list[Piece]:
    return list(pieces(pcm(data, **more)))


def test_short_recording_is_one_piece_with_the_same_sound() -> None:
    data = tones.speak([["ba", "be"]])
    (only,) = cut(data)
    assert (only.number, only.start, only.last, only.doubled, only.silent) == (0, 0.0, True, False, False)
    with wave.open(io.BytesIO(only.content)) as file:
        assert file.readframes(file.getnframes()) == data


def test_empty_recording_has_no_pieces() -> None:
    assert cut(b"") == []


def test_speech_with_pauses_is_cut_in_them() -> None:
    sentences = tones.sentences_of(60)
    found = cut(tones.speak(sentences))
    heard = [tones.listen(piece.content)[1] for piece in found]
    assert len(found) > 4
    assert " ".join(said for sentence in heard for _, _, said in sentence) == tones.text(sentences)
    assert not any(piece.doubled for piece in found)
    assert all(piece.end - piece.start <= LONGEST for piece in found)
    assert all(left.end >= right.start for left, right in itertools.pairwise(found))


def test_sound_without_a_pause_overlaps() -> None:
    found = cut(tones.speak([tones.VOCABULARY * 3], pause=0))
    assert [piece.doubled for piece in found] == [False, *[True] * (len(found) - 1)]
    assert all(left.end - right.start == pytest.approx(OVERLAP, abs=0.01) for left, right in itertools.pairwise(found))


def test_silence_is_known() -> None:
    data = tones.speak([["ba"]]) + tones.silence(70) + tones.speak([["be"]])
    found = cut(data)
    assert [piece.silent for piece in found] == [False, *[True] * (len(found) - 2), False]


def test_background_noise_is_no_speech() -> None:
    hum = array("h", (700 if i % 8 < 4 else -700 for i in range(40 * tones.RATE)))
    speech = array("h", tones.speak(tones.sentences_of(16)))
    mixed = array("h", (min(32767, a + b) for a, b in zip(hum, speech, strict=False)))
    assert not any(piece.doubled for piece in cut(mixed.tobytes()))


@pytest.mark.parametrize(("width", "channels"), [(1, 1), (2, 2), (3, 1), (4, 2), (2, 3)])
def test_every_width_and_layout(width: int, channels: int) -> None:
    quiet = [0x80 if width == 1 else 0] * width if width == 1 else [0] * width

    def frames(seconds: float, loud: bool) -> bytes:
        one = bytes([*quiet[: width - 1], 192 if width == 1 else 64]) if loud else bytes(quiet)
        return (one + bytes(quiet) * (channels - 1)) * round(seconds * 1000)

    data = (frames(14, True) + frames(1, False)) * 4
    found = cut(data, rate=1000, channels=channels, width=width)
    assert [piece.doubled for piece in found] == [False] * len(found)
    assert [round(piece.start) for piece in found] == [0, 14, 29, 44]


def test_heavy_formats_are_cut_shorter() -> None:
    found = list(pieces(pcm(bytes(60_000_000), rate=192_000, channels=8, width=4)))
    assert max(len(piece.content) for piece in found) < 25 * 1024 * 1024


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.floats(0.05, 20)), max_size=12))
def test_every_moment_is_in_a_piece(parts: list[tuple[bool, float]]) -> None:
    data = b"".join((b"\x00\x30\x00\xd0" if loud else bytes(4)) * round(500 * seconds) for loud, seconds in parts)
    found = cut(data, rate=1000)
    assert sum(len(p.content) for p in found) >= len(data)
    assert all(0 < p.end - p.start < LONGEST + 1e-6 for p in found)
    assert all(a.start < b.start <= a.end < b.end for a, b in itertools.pairwise(found))
    assert (found[-1].end if found else 0.0) == pytest.approx(len(data) / 2000)
    assert [piece.last for piece in found] == [*[False] * (len(found) - 1), *[True] * bool(found)]
