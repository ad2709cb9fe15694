"""How a plan's values read in one line."""

from __future__ import annotations

import pytest

from whisperctl.plan.document import shown


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (None, "(not set)"),
        ("a\nb", '"a\\nb"'),
        ("ä", '"ä"'),
        (True, "true"),
        ("(secret, changed)", "(secret, changed)"),
    ],
)
def test_a_value_in_one_line(value, line):
    assert shown(value) == line


def test_a_long_value_is_cut():
    assert len(shown("x" * 200)) == 120
