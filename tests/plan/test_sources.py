"""Where planned values come from: the variables are named, and nothing that looks like a secret is shown."""

from __future__ import annotations

import pytest

from whisperctl.plan.values import planned, step
from whisperctl.state.diff import FieldChange
from whisperctl.state.resources import Masked


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (FieldChange(path="a", before=1, after=2), "1 -> 2"),
        (FieldChange(path="a", before=None, after="x", names=("A",)), '(not set) -> "x" (from ${A})'),
        (FieldChange(path="a", before=1, after="x", names=("A", "B")), '1 -> "x" (from ${A}, ${B})'),
        (
            FieldChange(path="a", before=Masked.UNMARKED, after=Masked.UNMARKED, names=("MY_TOKEN",)),
            "(not shown: its name looks like a secret's) -> (from ${MY_TOKEN})",
        ),
        (
            FieldChange(path="a", before=None, after=Masked.UNMARKED),
            "(not set) -> (not shown: its name looks like a secret's)",
        ),
    ],
)
def test_a_value_names_its_variables(change: FieldChange, line: str) -> None:
    assert step(change) == line
    assert line.endswith(planned(change))
