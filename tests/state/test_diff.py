"""What UbiOps keeps in another form is no change, and what differs is."""

from __future__ import annotations

from typing import Any

import pytest

from whisperctl.state.diff import differing_fields, is_trimmed

SET = "request_logging_excluded_extensions"


@pytest.mark.parametrize(
    ("live", "desired"),
    [
        ({"labels": {"team": "a", "other": "b"}}, {"labels": {"team": "a"}}),
        ({SET: ["wav", "mp3"]}, {SET: ["mp3", "wav"]}),
        ({"health_check": {"interval": 30.0}}, {"health_check": {"interval": 30}}),
        ({"set_elsewhere": 1}, {}),
    ],
)
def test_the_same_in_another_form_is_no_change(live: dict[str, Any], desired: dict[str, Any]) -> None:
    assert differing_fields(live, desired) == ()


@pytest.mark.parametrize(
    ("live", "desired"),
    [
        ({"description": "two\nlines"}, {"description": "two\nlines\n"}),
        ({"value": "-----END"}, {"value": "  -----END\n\n"}),
        ({"labels": {"team": "a", "other": "b"}}, {"labels": {"team": "a "}}),
    ],
)
def test_white_space_around_a_text_counts_unless_ubiops_takes_it_off(
    live: dict[str, Any], desired: dict[str, Any]
) -> None:
    assert differing_fields(live, desired, trims=desired.keys()) == ()
    assert len(differing_fields(live, desired)) == len(differing_fields(live, desired, trims=["name"])) == 1
    assert is_trimmed(live, desired) is True
    assert is_trimmed({**live, **desired}, desired) is False
    assert is_trimmed(live, live) is None


@pytest.mark.parametrize(
    ("live", "desired", "path"),
    [
        ({"description": "kept \n"}, {"description": "kept"}, "description"),  # no server added that
        ({"description": "a b"}, {"description": "a  b"}, "description"),
        ({SET: ["wav"]}, {SET: ["wav", "wav"]}, SET),
        ({SET: ["wav"]}, {SET: ["mp3"]}, SET),
        ({"args": ["--b", "--a"]}, {"args": ["--a", "--b"]}, "args"),  # a command line has an order
        ({"labels": {"team": "a"}}, {"labels": {"team": "b"}}, "labels.team"),
        ({}, {"labels": {"team": "b"}}, "labels"),
    ],
)
def test_what_differs_is_a_change_of_its_field(live: dict[str, Any], desired: dict[str, Any], path: str) -> None:
    assert [change.path for change in differing_fields(live, desired)] == [path]
