"""A shell, an emulator without instances, and a reader's folder, for the tests that run pages."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import set_up
from tests.docs.shell import ROOT, Shell, opened_shell
from ubiops_emulator import testing
from ubiops_emulator.testing import Emulator

NOT_COPIED = shutil.ignore_patterns(
    ".venv", ".git", "__pycache__", ".*_cache", ".coverage*", ".hypothesis", "build", "site", "scripts"
)


def made_by_make() -> bool:
    """Whether the tests run in the checkout's own .venv, and `make setup` would find nothing to do there."""
    if Path(sys.prefix).resolve() != set_up.VENV.resolve() or not set_up.FINISHED.exists():
        return False
    return set_up.FINISHED.read_text() == set_up.digest(set_up.supported_gpu())


MADE_BY_MAKE = pytest.mark.skipif(not made_by_make(), reason="not in a .venv that is up to date: run `make test`")


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Emulator]:
    """An emulator that runs no instances."""
    with testing.running("--speed", "1000", "--runtime", "none", data=tmp_path / "books") as started:
        yield started


@pytest.fixture
def shell(books: Emulator, tmp_path: Path) -> Iterator[Shell]:
    """A shell in an empty folder whose UbiOps is `books`."""
    exported = {"UBIOPS_API_HOST": books.host, "UBIOPS_PROJECT": "demo", "UBIOPS_API_TOKEN": books.token}
    with opened_shell(tmp_path, exported) as opened:
        yield opened


def with_specs(opened: Shell) -> None:
    """The stack files where a reader has them: `specs/` in the folder that the commands run in."""
    shutil.copytree(ROOT / "specs", opened.folder / "specs")


def with_checkout(opened: Shell) -> None:
    """What a reader has in a checkout: the sources as they are now, copied, and `make` working on this one's .venv."""
    shutil.copytree(ROOT, opened.folder, ignore=NOT_COPIED, dirs_exist_ok=True)
    for name in ("scripts", ".venv"):
        (opened.folder / name).symlink_to(ROOT / name)
