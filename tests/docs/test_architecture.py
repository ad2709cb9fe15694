"""docs/architecture.md tells where everything lives: each folder and each module beside them is named there."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from tests.docs.shell import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("package", ["whisperctl", "ubiops_emulator"])
def test_every_room_is_named(package: str) -> None:
    inside = [path for path in (ROOT / package).iterdir() if not path.name.startswith(("__init__", "__pycache__", "."))]
    folders = {f"{path.name}/" for path in inside if path.is_dir()}
    modules = {path.name for path in inside if path.suffix == ".py"}

    assert len(folders | modules) > 10
    assert sorted(name for name in folders | modules if f"`{name}" not in PAGE) == []


def test_the_page_has_todays_figures() -> None:
    printed = subprocess.run(
        [sys.executable, "scripts/figures.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    counted, written = _rows(printed), _rows(PAGE)

    for package in ("whisperctl", "ubiops_emulator"):
        ours, todays = written[f"{package} now"], counted[package]
        assert len(todays) == len(ours) == 8
        assert ours[5:] == todays[5:], "layers, modules that name a label, modules that match kinds"
        for figure, counted_figure in zip(_numbers(ours[:5]), _numbers(todays[:5]), strict=True):
            assert figure == pytest.approx(counted_figure, rel=0.03), f"take the row of scripts/figures.py: {todays}"
    assert [counted["whisperctl"][6], counted["ubiops_emulator"][6]] == ["1", "0"]


def _rows(markdown: str) -> dict[str, list[str]]:
    """The rows of every table, by their first cell."""
    lines = (line for line in markdown.splitlines() if line.startswith("|"))
    rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)
    return {name: cells for name, *cells in rows}


def _numbers(cells: list[str]) -> list[float]:
    """All numbers of cells such as `38,540` and `3.96 / 20 / 112`."""
    return [float(number.replace(",", "")) for cell in cells for number in cell.split(" / ")]


def test_a_new_kind_of_object_is_a_type_error_wherever_kinds_are_matched() -> None:
    texts = {file: file.read_text(encoding="utf-8") for file in sorted((ROOT / "whisperctl").rglob("*.py"))}
    matches = {
        f"{file.relative_to(ROOT)}:{node.lineno}": node
        for file, text in texts.items()
        if " match " in text and "Kind." in text
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Match) and any("Kind." in ast.unparse(case.pattern) for case in node.cases)
    }

    assert len(matches) > 10
    assert [place for place, node in matches.items() if not _is_exhaustive(node)] == []


def _is_exhaustive(match: ast.Match) -> bool:
    """Whether the last arm of a match takes what is left, and nothing may be."""
    last = match.cases[-1]
    takes_all = isinstance(last.pattern, ast.MatchAs) and last.guard is None
    return takes_all and ast.unparse(last.body[0]).startswith("assert_never(")
