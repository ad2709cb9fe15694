"""Stitching: words that two pieces heard are there once, times count from the recording's start."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from whisperctl.endpoint.transcription import Segment, Transcript
from whisperctl.transcribe.levels import SECONDS, Levels, measured
from whisperctl.transcribe.pieces import Piece
from whisperctl.transcribe.stitch import begun, stitch

NOTHING = np.zeros(0, np.int16)


def piece(number: int, start: float, end: float, shared: bool = False) -> Piece:
    return Piece(
        number=number, start=start, end=end, samples=NOTHING, levels=measured(NOTHING), shared=shared, last=False
    )


def said(*segments: tuple[float, float, str], language: str | None = None) -> Transcript:
    made = tuple(Segment(start=start, end=end, text=text) for start, end, text in segments)
    return Transcript(text=" ".join(one.text for one in made), language=language, segments=made)


def joined(*parts: tuple[Piece, Transcript]) -> list[tuple[float, float, str]]:
    return [(round(one.start, 2), round(one.end, 2), one.text) for one in stitch(parts).segments or ()]


def test_silent_cut_puts_side_by_side() -> None:
    whole = stitch(
        [
            (piece(0, 0, 20), said((0, 5, "one two"), (6, 19, "three"), language="en")),
            (piece(1, 19.5, 30), said((0.5, 4, "four"))),
        ]
    )
    assert whole.text == "one two three four"
    assert whole.segments is not None
    assert [(one.start, one.end) for one in whole.segments] == [(0, 5), (6, 19), (20, 23.5)]
    assert (whole.language, whole.duration) == ("en", 30)


def test_end_that_reaches_into_the_next_is_cut_back() -> None:
    assert joined((piece(0, 0, 20), said((0, 20, "a"))), (piece(1, 19, 30), said((0, 3, "b")))) == [
        (0, 19, "a"),
        (19, 22, "b"),
    ]


def test_shared_words_are_there_once_and_halves_are_gone() -> None:
    left = said((0, 18, "the quick brown fox"), (20, 28, "jumps over the lazy do"))
    right = said((0, 6, "umps over the lazy dog"), (7, 9, "again"))
    whole = joined((piece(0, 0, 28), left), (piece(1, 22, 40, shared=True), right))
    assert " ".join(text for _, _, text in whole) == "the quick brown fox jumps over the lazy dog again"
    assert all(a[1] <= b[0] + 0.01 for a, b in itertools.pairwise(whole))


def test_shared_without_agreement_is_split_by_time() -> None:
    whole = joined(
        (piece(0, 0, 28), said((0, 20, "a"), (25, 26.5, "left"), (27, 28, "gone"))),
        (piece(1, 24, 50, shared=True), said((0, 1.5, "lost"), (3, 5, "right"))),
    )
    assert [text for _, _, text in whole] == ["a", "left", "right"]


def test_case_and_punctuation_do_not_matter() -> None:
    whole = joined(
        (piece(0, 0, 28), said((20, 28, "and so, my Friends, we"))),
        (piece(1, 24, 40, shared=True), said((0, 4, "My friends; we go"))),
    )
    assert " ".join(text for _, _, text in whole) in (
        "and so, my friends; we go",
        "and so, my Friends, we go",
    )


def test_a_silent_side_takes_nothing_away() -> None:
    assert joined((piece(0, 0, 28), said()), (piece(1, 24, 40, shared=True), said((0, 4, "hello")))) == [
        (24, 28, "hello")
    ]
    assert joined((piece(0, 0, 28), said((24, 27, "hello"))), (piece(1, 24, 40, shared=True), said())) == [
        (24, 27, "hello")
    ]


def test_without_segments_a_piece_is_one() -> None:
    assert joined((piece(0, 0, 20), Transcript(text="one")), (piece(1, 19, 30), Transcript(text="two"))) == [
        (0, 19, "one"),
        (19, 30, "two"),
    ]


@pytest.mark.parametrize("language", ["zh", "ja"])
def test_languages_without_spaces(language: str) -> None:
    whole = stitch(
        [
            (piece(0, 0, 28), said((20, 28, "今天天气很好我们"), language=language)),
            (piece(1, 24, 40, shared=True), said((0, 4, "很好我们出去玩"))),
        ]
    )
    assert whole.text == "今天天气很好我们出去玩"


def levels(*parts: tuple[float, int]) -> Levels:
    """Seconds, and how loud they are, one after the other, give or take an eighth."""
    flat = np.concatenate([np.full(round(seconds / SECONDS), level) for seconds, level in parts])
    noise = np.random.default_rng(1).uniform(0.875, 1.125, len(flat))
    varied: Levels = (flat * noise).astype(np.uint16)
    return varied


@pytest.mark.parametrize(
    ("parts", "start"),
    [
        (((5.5, 0), (2, 8000)), 5.44),  # digital silence
        (((1.6, 20), (2, 8000)), 1.54),  # a background
        (((1.6, 20), (1, 150), (9, 8000)), 1.54),  # a soft voice before a loud one
        (((3, 8000), (1, 0)), 0.0),  # sound from the start
        (((0.04, 20), (3, 8000)), 0.0),
        (((3.5, 20), (1, 8000)), 0.0),  # the model heard something before: it may be right
    ],
)
def test_a_first_segment_begins_with_the_sound(parts: tuple[tuple[float, int], ...], start: float) -> None:
    end = 3.0 if parts[0][0] < 5 else 7.0
    at_cut = Piece(
        number=1, start=100, end=110, samples=NOTHING, levels=levels(*parts), shared=False, last=False
    )  # fmt: skip
    ((first, second),) = [begun(at_cut, said((0.0, end, "one"), (8, 9, "two"))).segments or ()]
    assert (round(first.start, 2), first.end, second.start) == (start, end, 8)
    assert joined((at_cut, said((0.0, end, "one"))))[0][0] == 100 + start


def test_a_first_segment_with_a_time_of_its_own_keeps_it() -> None:
    at_cut = Piece(number=0, start=0, end=9, samples=NOTHING, levels=levels((2, 0), (7, 900)), shared=False, last=True)
    assert begun(at_cut, said((1.2, 5, "one"))) == said((1.2, 5, "one"))
