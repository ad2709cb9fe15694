"""A shell, an emulator without instances, and the stack files, for the tests that run pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.terminal import ROOT, Terminal, terminal
from tests.emulator_process import EmulatorProcess, start_emulator


@pytest.fixture
def books(tmp_path: Path) -> Iterator[EmulatorProcess]:
    """An emulator that runs no instances."""
    started = start_emulator(tmp_path / "books", "--speed", "1000", "--runtime", "none")
    yield started
    assert started.stop() == 0


@pytest.fixture
def shell(books: EmulatorProcess, tmp_path: Path) -> Iterator[Terminal]:
    """A shell in an empty folder whose UbiOps is `books`."""
    exported = {"UBIOPS_API_HOST": books.host, "UBIOPS_PROJECT": "demo", "UBIOPS_API_TOKEN": books.token}
    with terminal(tmp_path, exported) as opened:
        yield opened


def with_specs(opened: Terminal) -> None:
    """The stack files where a reader has them: `specs/` in the folder that the commands run in."""
    shutil.copytree(ROOT / "specs", opened.folder / "specs")
