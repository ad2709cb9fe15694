"""Paths on the command line -> the stack files they mean.

A file is taken as it is. A directory means every `*.yaml` below it that says `apiVersion: whisperctl/…` and `stack:`;
hidden folders and foreign YAML are passed over, a broken file that claims to be ours is not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from whisperctl.errors import Mark, Problem
from whisperctl.loading.document import Malformed, parse

_OURS = re.compile(r"""^["']?apiVersion["']?\s*:\s*["']?whisperctl/""", re.MULTILINE)
_STACK = re.compile(r"""^["']?stack["']?\s*:""", re.MULTILINE)


def stack_files(paths: Sequence[Path], problems: list[Problem]) -> tuple[Path, ...]:
    """The stack files that `paths` mean, each once, in order; what cannot be found is added to `problems`."""
    found: dict[str, Path] = {}
    for path in paths:
        for file in _below(path, problems) if path.is_dir() else _single(path, problems):
            found.setdefault(os.path.realpath(file), file)  # resolve() raises where a link leads to itself
    return tuple(found.values())


def _single(path: Path, problems: list[Problem]) -> Iterator[Path]:
    if path.exists():
        yield path
    else:
        hint = "Name the stack file, or make one with `whisperctl init`."
        problems.append(Problem(where=_start(path), path="", message="there is no such file", hint=hint))


def _below(folder: Path, problems: list[Problem]) -> Iterator[Path]:
    files = [file for file in _yaml_files(folder) if _claims_to_be_stack(file)]
    if not files:
        hint = "A stack file says `apiVersion: whisperctl/v1` and `stack: NAME`, and its name ends in .yaml."
        problems.append(Problem(where=_start(folder), path="", message="holds no stack file", hint=hint))
    yield from files


def _yaml_files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.endswith(".yaml"):
                yield Path(parent, name)


def _claims_to_be_stack(file: Path) -> bool:
    try:
        text = file.read_bytes().decode("utf-8", errors="replace")
    except OSError:
        return True  # reading it properly says why it cannot be read
    if _OURS.search(text) and _STACK.search(text):
        return True
    return "whisperctl/" in text and "stack" in text and _says_so_in_another_style(text)


def _says_so_in_another_style(text: str) -> bool:
    """`{apiVersion: whisperctl/v1, stack: …}`, as JSON is written."""
    try:
        keys = parse(text, "", Path(), []).data
    except Malformed:
        return False
    if not isinstance(keys, dict) or not {"apiVersion", "stack"} <= keys.keys():
        return False
    return str(keys["apiVersion"].data).startswith("whisperctl/")


def _start(path: Path) -> Mark:
    return Mark(file=str(path), line=1, column=1)
