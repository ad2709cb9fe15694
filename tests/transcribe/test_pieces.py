"""Cutting at silence: what is lost, what is shared, what is left out."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.endpoint import tones
from whisperctl.transcribe import levels, wav
from whisperctl.transcribe.pieces import LONGEST, OVERLAP, Piece, pieces
from whisperctl.transcribe.sound import RATE, Samples


def spoken(sentences: list[list[str]], pause: float = tones.PAUSE) -> Samples:
    return np.frombuffer(tones.speak(sentences, pause, RATE), np.int16)


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE), np.int16)


def cut(samples: npt.NDArray[np.int16], block: int = 8000) -> list[Piece]:
    return list(pieces(samples[at : at + block] for at in range(0, len(samples), block)))


def said(pieces: list[Piece]) -> str:
    per_piece = (tones.listen(wav.header(piece.samples) + piece.samples.tobytes())[1] for piece in pieces)
    return " ".join(sentence for sentences in per_piece for _, _, sentence in sentences)


def test_short_recording_is_one_piece_with_the_same_sound() -> None:
    samples = spoken([["ba", "be"]])
    (only,) = cut(samples)
    assert (only.number, only.start, only.last, only.shared) == (0, 0.0, True, False)
    assert np.array_equal(only.samples, samples)
    assert np.array_equal(only.levels, levels.measured(samples))


def test_empty_recording_has_no_pieces() -> None:
    assert cut(silence(0)) == []


def test_speech_with_pauses_is_cut_in_them() -> None:
    sentences = tones.sentences_of(60)
    pieces = cut(spoken(sentences))
    assert len(pieces) > 4
    assert said(pieces) == tones.text(sentences)
    assert not any(piece.shared for piece in pieces)
    assert all(piece.end - piece.start <= LONGEST for piece in pieces)
    assert all(left.end >= right.start for left, right in itertools.pairwise(pieces))


def test_sound_without_a_pause_overlaps() -> None:
    pieces = cut(spoken([tones.VOCABULARY * 3], pause=0))
    assert [piece.shared for piece in pieces] == [False, *[True] * (len(pieces) - 1)]
    assert all(left.end - right.start == pytest.approx(OVERLAP, abs=0.01) for left, right in itertools.pairwise(pieces))


def test_digital_silence_is_known() -> None:
    samples = np.concatenate([spoken([["ba"]]), silence(70), spoken([["be"]])])
    silent = [levels.is_digital_silence(piece.levels) for piece in cut(samples)]
    assert silent == [False, *[True] * (len(silent) - 2), False]


@pytest.mark.parametrize("offset", [0, 99, -20000])
def test_a_constant_offset_is_no_sound(offset: int) -> None:
    dither = np.arange(RATE * 40, dtype=np.int16) % 3
    assert all(levels.is_digital_silence(piece.levels) for piece in cut(dither + np.int16(offset)))
    assert not levels.is_digital_silence(levels.measured((dither * 3 + np.int16(offset)).astype(np.int16)))


def test_background_noise_is_no_speech() -> None:
    hum = np.where(np.arange(40 * RATE) % 16 < 8, 700, -700).astype(np.int16)
    speech = spoken(tones.sentences_of(16))
    mixed = np.clip(hum[: len(speech)].astype(np.int32) + speech[: len(hum)], -32768, 32767).astype(np.int16)
    assert not any(piece.shared for piece in cut(mixed))


def test_speech_however_quiet_is_cut_in_its_pauses() -> None:
    sentences = tones.sentences_of(20)
    quiet = (spoken(sentences).astype(np.float32) / 100).astype(np.int16)
    pieces = cut(quiet)
    assert not any(piece.shared for piece in pieces)
    assert said(pieces) == tones.text(sentences)


def test_a_soft_speaker_beside_a_loud_one_is_cut_in_the_soft_ones_pauses() -> None:
    loud, soft = spoken(tones.sentences_of(5)), spoken(tones.sentences_of(20)) // 60
    pieces = cut(np.concatenate([loud, soft.astype(np.int16), loud]))
    assert not any(piece.shared for piece in pieces)
    for one, other in itertools.pairwise(pieces):
        assert one.levels[-10:].max() < 50 or one.end == other.start, (one, other)
        assert levels.is_digital_silence(other.levels[:5])


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.floats(0.05, 20)), max_size=7), st.integers(1, 40_000))
def test_every_moment_is_in_a_piece(parts: list[tuple[bool, float]], block: int) -> None:
    sound = [np.resize(np.array([12288, -12288] if loud else [0], np.int16), round(RATE * s)) for loud, s in parts]
    samples = np.concatenate([*sound, silence(0)])
    pieces = cut(samples, block)
    assert all(0 < p.end - p.start < LONGEST + 1e-6 for p in pieces)
    assert all(a.start < b.start <= a.end < b.end for a, b in itertools.pairwise(pieces))
    assert (pieces[-1].end if pieces else 0.0) == pytest.approx(len(samples) / RATE)
    assert [piece.last for piece in pieces] == [*[False] * (len(pieces) - 1), *[True] * bool(pieces)]
    for piece in pieces:
        first = round(piece.start * RATE)
        assert np.array_equal(piece.samples, samples[first : first + len(piece.samples)])
        assert np.array_equal(piece.levels, levels.measured(piece.samples))
