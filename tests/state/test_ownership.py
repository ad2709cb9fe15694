"""Whose an object is: what its labels say, unless they were copied from another object."""

from __future__ import annotations

import pytest

from whisperctl.state.labels import new
from whisperctl.state.ownership import is_copy, is_made_by_us, owner


@pytest.mark.parametrize(
    ("labels", "whose", "copied", "made"),
    [
        (None, None, False, False),
        ({"team": "speech"}, None, False, False),
        (new(owner="alpha"), "alpha", False, False),  # a user may write that, too
        (new(owner="alpha", id="i1"), "alpha", False, True),
        (new(owner="alpha", id="i2"), None, True, False),
        (new(owner="alpha", id="i2", digest="d", tool="1.0"), None, True, False),
        (new(owner="alpha", digest="d"), "alpha", False, True),  # half-made, or of an earlier version of this tool
        (new(owner="alpha", tool="1.0"), "alpha", False, True),
    ],
)
def test_whose_an_object_is(labels: dict[str, str] | None, whose: str | None, copied: bool, made: bool) -> None:
    raw = {"id": "i1", "labels": labels}
    assert (owner(raw), is_copy(raw), is_made_by_us(raw)) == (whose, copied, made)


def test_an_object_that_is_not_there_is_nobody_s() -> None:
    assert (owner(None), is_copy(None)) == (None, False)
