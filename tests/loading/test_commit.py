"""The commit that a stack file is applied from."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from whisperctl.loading.commit import commit_of


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "-b", "main", ".")
    (tmp_path / "prod").mkdir()
    (tmp_path / "prod" / "stack.yaml").write_text("stack: a\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    return tmp_path


def test_it_is_what_head_leads_to_on_a_branch_packed_detached_or_in_a_worktree(checkout: Path) -> None:
    expected = git(checkout, "rev-parse", "HEAD")
    file = str(checkout / "prod" / "stack.yaml")
    assert commit_of(file, {"GITHUB_SHA": "f" * 40}) == expected
    git(checkout, "worktree", "add", "-q", "-b", "other", str(checkout / "beside"))
    assert commit_of(str(checkout / "beside" / "prod" / "stack.yaml"), {}) == expected
    git(checkout, "pack-refs", "--all")
    assert commit_of(file, {}) == expected
    assert commit_of(str(checkout / "beside" / "prod" / "stack.yaml"), {}) == expected
    git(checkout, "checkout", "-q", "--detach")
    assert commit_of(file, {}) == expected


@pytest.mark.parametrize(
    ("environ", "expected"),
    [({}, None), ({"CI_COMMIT_SHA": "e" * 40}, "e" * 40), ({"GIT_COMMIT": "main; rm -rf /"}, None)],
)
def test_without_a_checkout_the_ci_system_tells(tmp_path: Path, environ: dict[str, str], expected: str | None) -> None:
    assert commit_of(str(tmp_path / "stack.yaml"), environ) == expected
    assert commit_of("-", environ) == expected
