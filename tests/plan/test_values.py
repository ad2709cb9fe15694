"""How a plan's values read in one line."""

from __future__ import annotations

import pytest

from whisperctl.plan.values import shown
from whisperctl.state.resources import Masked


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (None, "(not set)"),
        ("a\nb", '"a\\nb"'),
        ("ä", '"ä"'),
        (True, "true"),
        (Masked.SECRET_CHANGED, "(secret, changed)"),
        (Masked.FROM_VARIABLE, "(not shown: from an environment variable)"),
        ("(secret, changed)", '"(secret, changed)"'),
        ("(secret plan B)", '"(secret plan B)"'),
    ],
)
def test_a_value_in_one_line(value: object, line: str) -> None:
    assert shown(value) == line


def test_a_long_value_is_cut() -> None:
    assert len(shown("x" * 200)) == 120
