"""One emulator a worker for all of these tests; each test starts with a fresh project."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.project import Project
from ubiops_emulator import testing
from ubiops_emulator.testing import Emulator


@pytest.fixture(scope="session")
def books_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator that keeps the books, and builds in milliseconds."""
    yield from _running(tmp_path_factory.mktemp("ubiops"))


@pytest.fixture(scope="session")
def another(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """A second one: an emulator holds one project."""
    yield from _running(tmp_path_factory.mktemp("another"))


def _running(folder: Path) -> Iterator[Emulator]:
    with testing.running("--speed", "100000", "--runtime", "none", data=folder) as started:
        yield started


@pytest.fixture
def project(books_only: Emulator, tmp_path: Path) -> Project:
    """A fresh project."""
    return Project.fresh(books_only, tmp_path)


@pytest.fixture
def second_project(another: Emulator, tmp_path: Path) -> Project:
    """A fresh project of its own emulator, with the same folder for stack files."""
    return Project.fresh(another, tmp_path)
