"""Word error rate: normalisation and counting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisperctl.endpoint.wer import word_error_rate, words


@pytest.mark.parametrize(
    ("expected", "transcribed", "rate"),
    [
        ("hello world", "hello world", 0.0),
        ("Hello, World!", "hello world", 0.0),
        ("don't stop", "dont stop", 0.0),
        ("well-known fact", "well known fact", 0.0),
        ("one two three four", "one two four", 0.25),
        ("one two three four", "one two two three four", 0.25),
        ("one two", "three four", 1.0),
        ("one", "one two three", 2.0),
        ("one two", "", 1.0),
        ("", "", 0.0),
        ("", "noise", 1.0),
        ("你好世界", "你好世间", 0.25),
    ],
)
def test_rate(expected: str, transcribed: str, rate: float) -> None:
    assert word_error_rate(expected, transcribed) == pytest.approx(rate)


def test_words_fold_case_and_compatibility_forms() -> None:
    assert words("ﬁne STRASSE straße €5") == ["fine", "strasse", "strasse", "5"]


@given(st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1), st.lists(st.sampled_from("abcd")))
def test_distance_is_bounded_and_zero_only_for_equals(left: list[str], right: list[str]) -> None:
    rate = word_error_rate(" ".join(left), " ".join(right))
    assert abs(len(left) - len(right)) / len(left) <= rate <= max(len(left), len(right)) / len(left)
    assert (rate == 0) == (left == right)


@given(st.text(st.characters(max_codepoint=127)))
def test_words_of_ascii_are_those_of_the_general_way(text: str) -> None:
    assert words(text) == words(f"{text} ß")[:-1]
