"""docs/architecture.md tells where everything lives: each folder and each module beside them is named there."""

from __future__ import annotations

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


def test_the_figures_can_be_counted_and_labels_have_one_room() -> None:
    printed = subprocess.run(
        [sys.executable, "scripts/figures.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines() if line.startswith("|")]
    by_name = {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows[2:]}

    assert by_name["whisperctl"]["name a label"] == "1"
    assert by_name["ubiops_emulator"]["name a label"] == "0"
