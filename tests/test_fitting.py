"""Lines that are wider than a terminal: folded between words, and every word still there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisperctl.views.fitting import fitted

HEALTH_CHECK = """\
      health_check             = {"port": 8080, "path": "/health", "interval": 30}
      maximum_idle_time        = 900"""


def test_a_value_goes_on_further_in_and_its_neighbours_stay() -> None:
    assert fitted(HEALTH_CHECK, 60).splitlines() == [
        '      health_check             = {"port": 8080, "path":',
        '          "/health", "interval": 30}',
        "      maximum_idle_time        = 900",
    ]


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("  deployment/one" + " " * 20 + "there", ["  deployment/one  there"]),  # a row of a table
        ("  digest = " + "0" * 30, ["  digest =", "      " + "0" * 24, "      " + "0" * 6]),  # a word wider than a line
        ("  whisperctl rollback a/b/stack.yaml --to", ["  whisperctl rollback a/b/stack.yaml --to"]),  # to be copied
        ("  one  /tmp/a/long/path/of/a/file/s.yaml", ["  one", "      /tmp/a/long/path/of/a/file/s.yaml"]),
        ("  one  http://127.0.0.1:28968/a/long/path", ["  one", "      http://127.0.0.1:28968/a/long/path"]),
        ("\x1b[1m\x1b[33m  ~ a/" + "b" * 20 + "\x1b[0m", ["\x1b[1m\x1b[33m  ~ a/" + "b" * 20 + "\x1b[0m"]),
        (
            '  text   = "a    b" -> "a   b" in full',
            ['  text   = "a    b" -> "a   b"', "      in full"],
        ),  # what has changed
        ("", [""]),
    ],
)
def test_what_a_line_is_made_of(line: str, lines: list[str]) -> None:
    assert fitted(line, 30).split("\n") == lines


def test_a_word_of_any_length_is_cut() -> None:
    assert len(fitted("y" * 100_000, 40).split("\n")) == 2778


def test_without_a_terminal_nothing_is_folded() -> None:
    assert fitted(HEALTH_CHECK, None) == fitted(HEALTH_CHECK, 0) == HEALTH_CHECK


@given(st.text("ab =:/\n", max_size=200), st.integers(20, 100))
def test_no_line_is_too_wide_and_nothing_is_lost(text: str, columns: int) -> None:
    folded = fitted(text, columns)
    for line in folded.split("\n"):
        assert len(line) <= columns or ("/" in line and len(line.split()) == 1)
    assert "".join(folded.split()) == "".join(text.split())
