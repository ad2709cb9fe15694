"""What scripts/check says and answers when a check fails, or when spelling cannot be checked."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("python", "ruff", "mypy", "lint-imports", "codespell")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the script, and tools that are content with anything."""
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in TOOLS:
        (programs / name).symlink_to(shutil.which("true") or "/bin/true")
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "check", tmp_path / "scripts")
    return tmp_path


def check(checkout: Path, ci: str = "") -> tuple[int, str, str]:
    """The exit code, the last line of stdout, and stderr."""
    done = subprocess.run(
        [checkout / "scripts" / "check"],
        env={"CI": ci, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()[-1], done.stderr


def test_all_that_passes_is_said_in_one_line(checkout: Path) -> None:
    assert check(checkout, ci="true") == (0, "check: all passed", "")


def test_spelling_that_is_not_checked_is_said_last_and_fails_in_ci(checkout: Path) -> None:
    (checkout / ".venv" / "bin" / "codespell").unlink()
    code, last, errors = check(checkout)
    assert (code, last) == (0, "check: all others passed")
    assert errors == "check: LEFT OUT: spelling: codespell is not installed: make setup\n"

    code, _, errors = check(checkout, ci="true")
    assert (code, errors) == (1, "check: FAILED: spelling: codespell is not installed: make setup\n")


def test_every_check_that_fails_is_named(checkout: Path) -> None:
    for name in ("mypy", "codespell"):
        (checkout / ".venv" / "bin" / name).unlink()
        (checkout / ".venv" / "bin" / name).symlink_to(shutil.which("false") or "/bin/false")
    code, _, errors = check(checkout)
    assert (code, errors) == (1, "check: FAILED: mypy \ncheck: FAILED: codespell \n")
