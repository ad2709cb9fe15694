"""The commit that a stack file's checkout stands at, for the history of what was made from it.

Reads `.git` itself, no program is run; without a checkout a CI system's own variable tells. Whether the file was
changed since that commit is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

CI_COMMITS = (
    "GITHUB_SHA",
    "CI_COMMIT_SHA",
    "BITBUCKET_COMMIT",
    "BUILD_SOURCEVERSION",
    "CIRCLE_SHA1",
    "GIT_COMMIT",
)
"""Where CI systems tell the commit: GitHub, GitLab, Bitbucket, Azure Pipelines, CircleCI, Jenkins."""
LARGEST = 16 << 20
"""Bytes that are read of a file of git's: `packed-refs` has a line for every ref."""
HASH = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
"""SHA-1, or SHA-256."""


def commit_of(file: str, environ: Mapping[str, str]) -> str | None:
    """The full hash; None for standard input, and where neither git nor a CI system tells."""
    root = None
    if file not in ("-", "<stdin>"):
        root = next((folder for folder in Path(file).resolve().parents if (folder / ".git").exists()), None)
    commit = (_head(root) if root else None) or next(filter(None, map(environ.get, CI_COMMITS)), "")
    return commit if HASH.fullmatch(commit) else None


def _head(root: Path) -> str | None:
    """What HEAD of a checkout leads to."""
    folder = root / ".git"
    if folder.is_file():  # of a worktree or a submodule: a file that names the folder
        folder = root / _text(folder).removeprefix("gitdir:").strip()
    head = _text(folder / "HEAD").strip()
    if not head.startswith("ref:"):
        return head or None
    name = head.removeprefix("ref:").strip()
    shared = folder / (_text(folder / "commondir").strip() or ".")
    for place in (folder / name, shared / name):
        if text := _text(place).strip():
            return text
    packed = re.search(rf"^([0-9a-f]+) {re.escape(name)}$", _text(shared / "packed-refs"), re.MULTILINE)
    return packed[1] if packed else None


def _text(file: Path) -> str:
    """What a file of git's holds; nothing where it is none or cannot be read."""
    with suppress(OSError):
        if file.is_file():
            with file.open(encoding="utf-8", errors="replace") as stream:
                return stream.read(LARGEST)
    return ""
