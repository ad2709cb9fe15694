"""Cues: short enough to read, in order, never two at once, never past the end, and nothing of the text missing."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whisperctl.endpoint.transcription import Segment, Transcript, Word, timed
from whisperctl.transcribe.cues import Cue, Limits, cues
from whisperctl.transcribe.formats import rendered

LIMITS = Limits()
SENTENCE = "the quick brown fox jumps over the lazy dog and then it goes home to sleep for a while"


def segment(start: float, end: float, text: str) -> Segment:
    return Segment(start=start, end=end, text=text)


def shown(cues_made: list[Cue]) -> list[tuple[float, float, tuple[str, ...]]]:
    return [(round(one.start, 2), round(one.end, 2), one.lines) for one in cues_made]


def test_what_fits_is_one_cue() -> None:
    assert shown(cues([segment(1, 3, "Hello world")], LIMITS)) == [(1, 3, ("Hello world",))]


def test_two_lines_of_42_characters() -> None:
    (only,) = cues([segment(0, 5, SENTENCE[:80])], LIMITS)
    assert len(only.lines) == 2
    assert max(map(len, only.lines)) <= 42


def test_long_text_and_long_times_are_several() -> None:
    shown = cues([segment(0, 28, " ".join([SENTENCE] * 4))], LIMITS)
    assert len(shown) >= 5
    assert all(len(one.lines) <= 2 and one.end - one.start <= 7 for one in shown)
    assert shown[0].start == 0
    assert shown[-1].end == pytest.approx(28)
    few = cues([segment(0, 28, "yes indeed it is so")], LIMITS)
    assert [word for one in few for line in one.lines for word in line.split()] == "yes indeed it is so".split()
    assert len(few) > 3


def test_a_word_for_half_a_minute_goes_after_seven_seconds() -> None:
    assert shown(cues([segment(2, 28, "yes")], LIMITS)) == [(2, 9, ("yes",))]


def test_overlaps_and_what_is_past_the_end_are_cut() -> None:
    whole = timed(Transcript(text="x", segments=(segment(0, 1.7, "a"), segment(0.5, 1, "b"), segment(5, 9, "c"))), 2.0)
    assert [(one.start, one.end) for one in whole.segments or ()] == [(0, 0.5), (0.5, 1), (2, 2)]
    apart = cues(whole.segments or (), LIMITS, whole.duration)
    assert shown(apart)[-1][:2] == (1.99, 2)
    assert all(one.end <= other.start + 1e-9 for one, other in pairwise(apart))


def test_a_language_without_spaces_is_cut_at_characters() -> None:
    shown = cues([segment(0, 10, "今天天气很好我们出去玩吧" * 12)], LIMITS, language="zh")
    assert all(len(one.lines) <= 2 and max(map(len, one.lines)) <= 42 for one in shown)
    assert "".join("".join(one.lines) for one in shown) == "今天天气很好我们出去玩吧" * 12


def test_known_words_say_where_a_cue_ends() -> None:
    texts = SENTENCE.split()
    words = tuple(Word(start=at, end=at + 0.5, text=text) for at, text in enumerate(texts))
    shown = cues([Segment(start=0, end=18, text=SENTENCE, words=words)], LIMITS)
    assert all(one.start == one.words[0].start and one.end == one.words[-1].end for one in shown)


def test_a_label_takes_its_room() -> None:
    labelled = Segment(start=0, end=5, text="x" * 42, channel="Customer")
    text = rendered(Transcript(text="", segments=(labelled,)), "srt")
    assert all(len(line) <= 42 for line in text.splitlines()[2:])


def test_limits_are_options() -> None:
    shown = cues([segment(0, 6, SENTENCE)], Limits(width=20, lines=1, seconds=2))
    assert all(len(one.lines) == 1 and len(one.lines[0]) <= 20 and one.end - one.start <= 2 for one in shown)


WORDS = st.text("abcdefgh é", min_size=1, max_size=60).filter(lambda text: text.strip())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-1, 40), st.floats(-1, 40), WORDS), max_size=8),
    st.floats(0.5, 40),
    st.integers(10, 42),
    st.integers(1, 3),
)
def test_whatever_the_server_says(
    said: list[tuple[float, float, str]], duration: float, width: int, lines: int
) -> None:
    segments = tuple(segment(*one) for one in said)
    whole = timed(Transcript(text=" ".join(one.text for one in segments), segments=segments), duration)
    shown = cues(whole.segments or (), Limits(width=width, lines=lines), duration)
    assert all(0 <= one.start < one.end <= max(duration, 0.01 * len(shown)) + 1e-6 for one in shown)
    assert all(one.end <= other.start + 1e-9 for one, other in pairwise(shown))
    assert all(len(one.lines) <= lines and max(map(len, one.lines)) <= width for one in shown)
    assert "".join("".join(one.lines) for one in shown).replace(" ", "") == "".join(
        text for _, _, text in said
    ).replace(" ", "")
