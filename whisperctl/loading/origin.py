"""Where a stack file comes from: `host/owner/repo//path/in/it.yaml`, or the file's name where there is no repository.

Two files of one `stack:` name in different places are two people's: one of them was copied. Reads `.git` itself, no
program is run. Nothing here knows how the origin is kept on UbiOps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from whisperctl.files import Unreadable, read_file
from whisperctl.spec import NO_FILE

CI_REPOSITORIES = (
    "CI_PROJECT_URL",
    "BITBUCKET_GIT_HTTP_ORIGIN",
    "BUILD_REPOSITORY_URI",
    "CIRCLE_REPOSITORY_URL",
    "GIT_URL",
)
"""Where CI systems tell the repository's address: GitLab, Bitbucket, Azure Pipelines, CircleCI, Jenkins."""
CI_FOLDERS = (
    "GITHUB_WORKSPACE",
    "CI_PROJECT_DIR",
    "BITBUCKET_CLONE_DIR",
    "BUILD_SOURCESDIRECTORY",
    "CIRCLE_WORKING_DIRECTORY",
    "WORKSPACE",
)
"""Where they tell the folder of its checkout."""
LARGEST = 1 << 20
"""Bytes that are read of a file of git's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where a stack file stands."""

    repository: str | None
    """`host/owner/repo`, in lower case; None where it is in no known repository."""
    path: str
    """From the repository's root; without a repository the file's name."""
    root: Path | None = None
    """The root of its checkout."""

    def __str__(self) -> str:
        return self.path if self.repository is None else f"{self.repository}//{self.path}"

    def contradicts(self, other: str) -> bool:
        """Whether the origin that was written down as `other` is another stack file than this, one that still counts.

        A file that was moved or renamed inside its repository is the same; one whose repository is not known may be.
        """
        repository, separator, path = other.rpartition("//")
        if separator and self.repository is not None:
            return repository != self.repository or (path != self.path and self._still_has(path))
        return not separator and self.repository is None and other != self.path

    def _still_has(self, path: str) -> bool:
        return self.root is not None and (self.root / path).is_file()


def origin_of(file: str, environ: Mapping[str, str]) -> Origin | None:
    """The origin of a stack file, named as the user did; None for standard input, and where there is no file."""
    if file in ("-", "<stdin>") or file.startswith(NO_FILE):
        return None
    path = Path(file).resolve()
    root = next((folder for folder in path.parents if (folder / ".git").exists()), None) or _ci_folder(path, environ)
    repository = None if root is None else _remote(root) or _ci_repository(environ)
    if root is None or repository is None:
        return Origin(repository=None, path=path.name)
    return Origin(repository=repository, path=path.relative_to(root).as_posix(), root=root)


def repository_of(address: str) -> str | None:
    """`host/owner/repo` of a remote's address, in any of git's spellings; None where it is none.

    User, password and port are part of how it is reached, not of what it is.
    """
    address = address.strip()
    if "://" in address:
        host, _, path = address.partition("://")[2].partition("/")
        host = re.sub(r":\d*$", "", host.rpartition("@")[2])
    elif scp := re.fullmatch(r"(?:[^/@:]+@)?([^/:]+):(.*)", address):
        host, path = scp[1], scp[2]
    else:
        host, path = "", address
    path = re.sub(r"\.git$", "", path.strip("/"), flags=re.IGNORECASE)
    return f"{host}/{path}".strip("/").lower() or None


def _remote(root: Path) -> str | None:
    """The repository that the remote `origin` names."""
    lines = _lines(_git_folder(root) / "config")
    section = ""
    for line in lines:
        if line.startswith("["):
            section = line
        elif section == '[remote "origin"]' and (match := re.fullmatch(r"url\s*=\s*(.+)", line)):
            return repository_of(match[1])
    return None


def _git_folder(root: Path) -> Path:
    """Where git keeps what belongs to the checkout; a worktree and a submodule name it in a file."""
    folder = root / ".git"
    if folder.is_file():
        named = next(iter(_lines(folder)), "").removeprefix("gitdir:").strip()
        folder = root / named
        common = next(iter(_lines(folder / "commondir")), "")
        folder = folder / common if common else folder
    return folder


def _lines(file: Path) -> Iterator[str]:
    with suppress(Unreadable):
        yield from (line.strip() for line in read_file(file, LARGEST).decode(errors="replace").splitlines())


def _ci_folder(path: Path, environ: Mapping[str, str]) -> Path | None:
    folders = (Path(environ[name]).resolve() for name in CI_FOLDERS if environ.get(name))
    return next((folder for folder in folders if folder in path.parents), None)


def _ci_repository(environ: Mapping[str, str]) -> str | None:
    if environ.get("GITHUB_REPOSITORY"):
        server = environ.get("GITHUB_SERVER_URL") or "https://github.com"
        return repository_of(f"{server}/{environ['GITHUB_REPOSITORY']}")
    return next((repository_of(environ[name]) for name in CI_REPOSITORIES if environ.get(name)), None)
