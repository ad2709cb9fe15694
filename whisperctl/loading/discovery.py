"""Paths on the command line -> the stack files they mean.

A file is taken as it is. A directory means every `*.yaml` below it that says `apiVersion: whisperctl/…`, itself or by
what it extends, and `stack:`;
hidden folders and foreign YAML are passed over, a broken file that claims to be ours is not. What is passed over and
looks like a stack all the same is worth a warning: its endpoint would never exist, and nothing else would tell.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from whisperctl.errors import Mark, Problem
from whisperctl.loading.document import Malformed, parse

_OURS = re.compile(r"""^["']?apiVersion["']?\s*:\s*["']?whisperctl/""", re.MULTILINE)
_STACK = re.compile(r"""^["']?stack["']?\s*:""", re.MULTILINE)
_CLAIM = re.compile(r"""^["']?\w+["']?\s*:\s*["']?whisperctl/""", re.MULTILINE)
_KEY = re.compile(r"""^["']?(\w+)["']?\s*:""", re.MULTILINE)
_REQUIRED = frozenset({"stack", "model", "vllm", "deployment", "instance_type_group", "version"})
"""Top-level keys without which nothing is a stack, unless it extends a file that has them; beside `apiVersion`."""
_NOBODY_ELSES = frozenset({"vllm", "instance_type_group"})
"""Of these, what no other tool's file has."""
_ENOUGH_KEYS = 4
"""With fewer, it is a part that others extend, or something else."""


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
    texts = ((file, _text(file)) for file in _files(folder, ".yaml"))
    # What cannot be read stays: reading it properly says why.
    files = [file for file, text in texts if text is None or _is_stack(file, text)]
    if not files:
        hint = "A stack file says `apiVersion: whisperctl/v1` and `stack: NAME`, and its name ends in .yaml."
        problems.append(Problem(where=_start(folder), path="", message="holds no stack file", hint=hint))
    yield from files


def passed_over(paths: Sequence[Path], used: AbstractSet[str]) -> Iterator[Problem]:
    """A warning for each file of the directories in `paths` that looks like a stack and is not `used` (real paths)."""
    for file in (file for path in paths if path.is_dir() for file in _files(path, ".yaml", ".yml")):
        if os.path.realpath(file) not in used:
            yield from _overlooked(file)


def _overlooked(file: Path) -> Iterator[Problem]:
    text = _text(file) or ""
    keys = set(_KEY.findall(text))
    lacking = []
    if not _is_stack(file, text):
        lacking += [] if _OURS.search(text) else ["`apiVersion: whisperctl/v1`"]
        lacking += [] if "stack" in keys else ["`stack: NAME`"]
        if not _looks_like_stack(keys, bool(_CLAIM.search(text))):
            return
    if file.suffix == ".yaml" and not lacking:
        return  # it was read, and is broken
    reasons = ["a directory means its *.yaml files"] if file.suffix == ".yml" else []
    reasons += [f"it has no {' and no '.join(lacking)}"] if lacking else []
    steps = [f"Rename it to {file.stem}.yaml"] if file.suffix == ".yml" else []
    steps += [f"{'w' if steps else 'W'}rite {' and '.join(lacking)}"] if lacking else []
    yield Problem(
        where=_start(file),
        path="",
        message=f"this looks like a stack and is passed over: {', and '.join(reasons)}",
        hint=" and ".join(steps) + ".",
        severity="warning",
        name="passed-over",
    )


def _looks_like_stack(keys: AbstractSet[str], claims: bool) -> bool:
    """Whether top-level `keys` are most of a stack's; `claims` when one of them, whatever its name, says whisperctl.

    Most of the words are common ones, so that a file of another tool needs one that nobody else uses.
    """
    if "extends" in keys:
        return claims or "stack" in keys
    return (claims or bool(keys & _NOBODY_ELSES)) and len(keys & _REQUIRED) + claims >= _ENOUGH_KEYS


def _files(folder: Path, *endings: str) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.endswith(endings):
                yield Path(parent, name)


def _text(file: Path) -> str | None:
    """What is written there; None when it cannot be read."""
    try:
        return file.read_bytes().decode("utf-8", errors="replace")
    except OSError:
        return None


def _is_stack(file: Path, text: str) -> bool:
    return _claims_to_be_stack(text) or (bool(_STACK.search(text)) and _extends_ours(file, text))


def _extends_ours(file: Path, text: str, seen: AbstractSet[str] = frozenset()) -> bool:
    """Whether what `file` extends says `apiVersion: whisperctl/…`, itself or by what it extends."""
    real = os.path.realpath(file)
    parent = _parent(text) if real not in seen else None
    if parent is None:
        return False
    above = file.parent / parent
    text = _text(above) or ""
    return bool(_OURS.search(text)) or _extends_ours(above, text, seen | {real})


def _parent(text: str) -> str | None:
    """What is extended; None where that is nothing, or told by an environment variable."""
    if "extends" not in text:
        return None
    try:
        keys = parse(text, "", Path(), []).data
    except Malformed:
        return None
    name = keys["extends"].data if isinstance(keys, dict) and "extends" in keys else None
    return name if isinstance(name, str) and "$" not in name and "\0" not in name else None


def _claims_to_be_stack(text: str) -> bool:
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
