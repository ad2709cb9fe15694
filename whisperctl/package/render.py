"""Packages -> files in a folder, for people to look at: `whisperctl render`.

Writes into an empty folder or over an earlier render, never over anything else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from whisperctl.errors import WhisperctlError
from whisperctl.files import Unreadable, is_below, read_text
from whisperctl.package.archive import write_files
from whisperctl.package.build import ENVIRONMENT_FOLDER, PACKAGE_FOLDER, build_environment, build_package
from whisperctl.spec import Stack

LARGEST_MANIFEST = 16 << 20
"""Bytes."""
MANIFEST = ".whisperctl-render.json"
"""Names the files of the last render, so that the next one replaces those and no others."""


def write_render(stacks: Sequence[Stack], folder: Path) -> list[str]:
    """Write what each stack would upload into `folder` (several stacks: a folder each) and say what was written.

    Raises:
        WhisperctlError: the folder holds something else, or cannot be written.
    """
    files: dict[str, bytes | Path] = {}
    report: list[str] = []
    for stack in stacks:
        prefix = f"{stack.name}/" if len(stacks) > 1 else ""
        rendered, lines = _of_stack(stack, prefix)
        files |= rendered
        report += lines
    try:
        _clear(folder, files)
        write_files({**files, MANIFEST: json.dumps(sorted(files), indent=1).encode() + b"\n"}, folder)
    except OSError as error:
        for name in (*files, MANIFEST):  # half a render would be in the way of the next one
            with suppress(OSError):
                (folder / name).unlink(missing_ok=True)
        raise WhisperctlError(f"{error.filename or folder} cannot be written: {error.strerror}.") from error
    return [*report, *(f"  {folder / name}" for name in sorted(files))]


def _of_stack(stack: Stack, prefix: str) -> tuple[dict[str, bytes | Path], list[str]]:
    package, environment = build_package(stack), build_environment(stack)
    files = {f"{prefix}{PACKAGE_FOLDER}/{name}": content for name, content in package.files.items()}
    lines = [f"{stack.name}: package {package.digest}"]
    if environment is not None:
        files |= {f"{prefix}{ENVIRONMENT_FOLDER}/{name}": content for name, content in environment.files.items()}
        base = f"{environment.base_name}:{environment.base_tag or '(newest tag)'}"
        lines.append(f"{stack.name}: environment {environment.name}:{environment.tag} on {base}")
    return files, lines


def _clear(folder: Path, files: Mapping[str, bytes | Path]) -> None:
    """Remove an earlier render; refuse when anything else is in the way.

    Raises:
        WhisperctlError: a file stands there that no render wrote, or `folder` is not a folder.
    """
    if folder.exists() and not folder.is_dir():
        raise WhisperctlError(f"{folder} is not a folder.")
    earlier = _earlier(folder)
    if earlier is None and not all(path.is_dir() for path in folder.rglob("*")):
        raise WhisperctlError(f"{folder} holds files that whisperctl did not write.\n  Name an empty or a new folder.")
    ours = [*(earlier or ()), MANIFEST]
    for name in (*files, *ours):
        path = folder / name
        if path.is_symlink() or not is_below(path.parent, folder):
            raise WhisperctlError(f"{path} is a link, or behind one: nothing is written or removed there.")
    for name in files:
        if name not in ours and (folder / name).exists():
            raise WhisperctlError(f"{folder / name} was not written by whisperctl, and would be overwritten.")
    for name in ours:
        (folder / name).unlink(missing_ok=True)


def _earlier(folder: Path) -> list[str] | None:
    """The files of the render that lies in `folder`; None when none does."""
    try:
        names = json.loads(read_text(folder / MANIFEST, LARGEST_MANIFEST))
    except (Unreadable, ValueError, RecursionError):
        return None
    if not isinstance(names, list):
        return None
    inside = [name for name in names if isinstance(name, str) and ".." not in Path(name).parts]
    return [name for name in inside if not Path(name).is_absolute()]
