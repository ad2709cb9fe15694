"""Where a stack file comes from, and when two of one name are two people's."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from whisperctl.loading.origin import Origin, origin_of, repository_of

HERE = "github.com/acme/speech"


@pytest.mark.parametrize(
    ("address", "repository"),
    [
        ("https://github.com/Acme/Speech.git", HERE),
        ("https://user:password@GitHub.com/acme/speech", HERE),
        ("ssh://git@github.com:2222/acme/speech.git", HERE),
        ("git@github.com:acme/speech.git", HERE),
        ("github.com:acme/speech/", HERE),
        ("https://gitlab.example.com/group/sub/speech.git", "gitlab.example.com/group/sub/speech"),
        ("/srv/git/speech.git", "srv/git/speech"),
        ("file:///srv/git/speech.git", "srv/git/speech"),
        ("", None),
    ],
)
def test_a_remote_is_told_without_scheme_user_port_and_ending(address: str, repository: str | None) -> None:
    assert repository_of(address) == repository


@pytest.mark.parametrize(
    ("known", "contradicts"),
    [
        (f"{HERE}//stacks/prod.yaml", False),
        (f"{HERE}//stacks/gone.yaml", False),
        (f"{HERE}//stacks/other.yaml", True),
        ("github.com/fork/speech//stacks/prod.yaml", True),
        ("prod.yaml", False),
        ("other.yaml", False),
    ],
)
def test_a_file_of_a_repository(tmp_path: Path, known: str, contradicts: bool) -> None:
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks/other.yaml").touch()
    here = Origin(repository=HERE, path="stacks/prod.yaml", root=tmp_path)
    assert here.contradicts(known) is contradicts


@pytest.mark.parametrize(
    ("known", "contradicts"), [("prod.yaml", False), ("other.yaml", True), (f"{HERE}//stacks/other.yaml", False)]
)
def test_a_file_of_no_repository(known: str, contradicts: bool) -> None:
    assert Origin(repository=None, path="prod.yaml").contradicts(known) is contradicts


def git(folder: Path, *command: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run(["git", *identity, "-C", str(folder), *command], check=True, capture_output=True)


def test_checkouts_worktrees_and_links_tell_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "stacks").mkdir(parents=True)
    (checkout / "stacks/prod.yaml").touch()
    git(checkout, "init", "-q")
    git(checkout, "remote", "add", "origin", "https://github.com/acme/speech.git")
    git(checkout, "add", ".")
    git(checkout, "commit", "-qm", "x")
    git(checkout, "worktree", "add", "-q", str(tmp_path / "tree"))
    (tmp_path / "link.yaml").symlink_to(checkout / "stacks/prod.yaml")
    monkeypatch.chdir(checkout / "stacks")
    for file in (
        "prod.yaml",
        "../stacks/prod.yaml",
        str(tmp_path / "tree/stacks/prod.yaml"),
        str(tmp_path / "link.yaml"),
    ):
        assert str(origin_of(file, {})) == f"{HERE}//stacks/prod.yaml"


@pytest.mark.parametrize(
    "environ",
    [
        {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "Acme/Speech", "GITHUB_WORKSPACE": "ROOT"},
        {"CI_PROJECT_URL": "https://github.com/acme/speech", "CI_PROJECT_DIR": "ROOT"},
        {"GIT_URL": "git@github.com:acme/speech.git", "WORKSPACE": "ROOT"},
    ],
)
def test_a_ci_job_tells_it_where_git_does_not(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "stacks").mkdir()
    in_job = {name: text.replace("ROOT", str(tmp_path)) for name, text in environ.items()}
    assert str(origin_of(str(tmp_path / "stacks/prod.yaml"), in_job)) == f"{HERE}//stacks/prod.yaml"
    (tmp_path / ".git").mkdir()  # without a remote
    assert str(origin_of(str(tmp_path / "stacks/prod.yaml"), in_job)) == f"{HERE}//stacks/prod.yaml"


def test_without_a_repository_it_is_the_name_and_of_standard_input_nothing(tmp_path: Path) -> None:
    assert str(origin_of(str(tmp_path / "a/prod.yaml"), {})) == "prod.yaml"
    assert origin_of("-", {}) is None
