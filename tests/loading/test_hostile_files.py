"""Whatever a file holds, loading ends with a stack or with problems that have a place; never with a traceback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from whisperctl.errors import Problem, SpecError
from whisperctl.loading import load_stacks
from whisperctl.package.build import build_environment, build_package

SPECS = Path(__file__).parents[1] / "specs"
ENVIRON = {"WHISPERCTL_TEST_TOKEN": "hf_never_shown", "WHISPERCTL_TEST_PORT": "8080"}
TEXTS = [file.read_text() for file in sorted((SPECS / "valid").glob("*.yaml"))]
PIECES = [
    *(
        "&a ",
        "*a",
        "!!str ",
        "!x ",
        "? ",
        "- ",
        ": ",
        "{",
        "}",
        "[",
        "]",
        "|\n",
        ">",
        "'",
        '"',
        "#",
        "%",
        "@",
        "`",
        "\t",
    ),
    *("\n", "---\n", "null", "~", "no", "010", "1e9", "${", "${A}", "$$", "<<: ", "\x00", "\u2028", "🎙", "\ufeff"),
]
FUZZ = settings(max_examples=150, deadline=None)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


def load(file: Path) -> None:
    """Load and render, or fail as we promise to."""
    problems: tuple[Problem, ...] = ()
    try:
        for stack in load_stacks([file], ENVIRON).stacks:
            assert build_package(stack).digest
            build_environment(stack)
    except SpecError as refused:
        problems = refused.problems
        assert problems
    for problem in problems:
        assert problem.where.line >= 1
        assert problem.where.column >= 1
        assert problem.message
        assert "hf_never_shown" not in str(problem)


@FUZZ
@given(data=st.data())
def test_text_with_pieces_put_in(tmp_path: Path, data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(TEXTS))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 12))
        text = text[:place] + data.draw(st.sampled_from(PIECES)) + text[place + cut :]
    (tmp_path / "stack.yaml").write_text(text, encoding="utf-8")
    load(tmp_path / "stack.yaml")


@FUZZ
@given(raw=st.binary(max_size=200))
def test_any_bytes(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "stack.yaml").write_bytes(raw)
    load(tmp_path / "stack.yaml")


def places(data: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    entries = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(place for key, value in entries for place in places(value, (*path, key)))]


@FUZZ
@given(data=st.data())
def test_any_value_anywhere(tmp_path: Path, data: st.DataObject) -> None:
    document = yaml.safe_load(data.draw(st.sampled_from(TEXTS)))
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(places(document)[1:]))
        holder = document
        for step in path[:-1]:
            holder = holder[step]
        holder[path[-1]] = data.draw(VALUES)
    (tmp_path / "stack.yaml").write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
    load(tmp_path / "stack.yaml")


@pytest.mark.parametrize(
    "text", ["[" * 5000, "{a: " * 5000, "- " * 5000, "a: " + "x" * (1 << 20), "&a [*a, *a]", "\x00"]
)
def test_bombs(tmp_path: Path, text: str) -> None:
    (tmp_path / "stack.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SpecError):
        load_stacks([tmp_path / "stack.yaml"], {})


def test_a_directory_and_a_device_are_no_stack_files(tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").mkdir()
    with pytest.raises(SpecError, match="holds no stack file"):
        load_stacks([tmp_path / "stack.yaml"], {})
    (tmp_path / "one.yaml").write_text("apiVersion: whisperctl/v1\nextends: stack.yaml\nstack: one\n")
    with pytest.raises(SpecError, match="is not read: it is a folder, not a file"):
        load_stacks([tmp_path / "one.yaml"], {})
