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
from contextlib import suppress
from pathlib import Path

from whisperctl.errors import Mark, Problem
from whisperctl.files import Unreadable, home_of, read_file, refusal, repository_of
from whisperctl.loading.document import MAX_BYTES, STANDARD_INPUT, Malformed, parse

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
_OF_TOOLS = frozenset({".git", ".venv", ".tox", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".terraform", ".cache"})
NAMED = 3
"""Stack files that a message names."""
_MOST_HIDDEN = 100
"""Files of one hidden folder that are looked at."""


def stack_files(paths: Sequence[Path], problems: list[Problem]) -> tuple[Path, ...]:
    """The stack files that `paths` mean, each once, in order; what cannot be found is added to `problems`."""
    files: dict[str, Path] = {}
    for path in paths:
        for file in _below(path, problems) if _is_folder(path) else _single(path, problems):
            files.setdefault(os.path.realpath(file), file)  # resolve() raises where a link leads to itself
    return tuple(files.values())


def _single(path: Path, problems: list[Problem]) -> Iterator[Path]:
    if os.fspath(path) == STANDARD_INPUT or os.path.lexists(path):  # what is there and no file, reading tells
        yield path
    else:
        hint = _instead(path)
        problems.append(Problem(where=_start(path), path="", message="there is no such file", hint=hint))


def _instead(path: Path) -> str:
    """What to name in place of a file that is not there."""
    there = [] if path.parent != Path() else list(_below(Path(), []))
    if not there:
        above = _above(path)
        return f"There is one above: {above}." if above else "Name the stack file, or make one with `whisperctl init`."
    more = f" (and {len(there) - NAMED} more)" if len(there) > NAMED else ""
    return f"Name one of the stack files below: {', '.join(map(os.fspath, there[:NAMED]))}{more}."


def _above(path: Path) -> str | None:
    """A file of that name in the folders above this one, as Git and Cargo look for theirs, within the repository."""
    if path.name != os.fspath(path):
        return None
    folder = Path.cwd()
    for number, parent in enumerate((folder, *folder.parents)):
        if number and os.path.isfile(parent / path.name):  # noqa: PTH113 - is_file() raises below a folder of others
            return os.path.join(*[os.pardir] * number, path.name)  # noqa: PTH118 - pathlib is dear
        if os.path.lexists(parent / ".git"):
            break
    return None


def _below(folder: Path, problems: list[Problem]) -> Iterator[Path]:
    home = _home(folder)
    texts = [(file, _text(file, home)) for file in _files(folder, ".yaml")]
    refused = [file for file, text in texts if text is None]
    problems += (_refused(file, home) for file in refused)
    files = [file for file, text in texts if text is not None and _is_stack(file, text)]
    if not files and not refused:
        hint = "A stack file says `apiVersion: whisperctl/v1` and `stack: NAME`, and its name ends in .yaml."
        problems.append(Problem(where=_start(folder), path="", message="holds no stack file", hint=hint))
    yield from files


def _refused(file: Path, home: Path) -> Problem:
    """Why a file of a directory is not read: it could be a stack."""
    why = refusal(file, inside=home)
    message = f"this file is not read: {why.reason}" if why else f"it has more than {MAX_BYTES // 1024} KiB"
    return Problem(where=_start(file), path="", message=message, hint=why.hint if why else "No stack file has as much.")


def passed_over(paths: Sequence[Path], used: AbstractSet[str]) -> Iterator[Problem]:
    """A warning for each file of the directories in `paths` that looks like a stack and is not `used` (real paths)."""
    for path in filter(_is_folder, paths):
        yield from _closed_folders(path)
        home = _home(path)
        for file in _files(path, ".yaml", ".yml", any_case=True):
            if os.path.realpath(file) not in used:
                yield from _overlooked(file, _text(file, home))
        for file in _hidden_files(path):
            # A Kubernetes ConfigMap is mounted as links to a hidden folder: what they lead to is read.
            text = _text(file, home) if os.path.realpath(file) not in used else None
            if text is not None and _is_stack(file, text):
                yield _warning(
                    file, "this looks like a stack, and hidden folders are passed over", "Move it, or name it."
                )


def _overlooked(file: Path, text: str | None) -> Iterator[Problem]:
    if text is None:
        yield from _unreadable(file)
        return
    if not _says_anything(text):
        yield from _empty(file)
        return
    keys = set(_KEY.findall(text))
    lacking = []
    if not _is_stack(file, text):
        lacking += [] if _OURS.search(text) else ["`apiVersion: whisperctl/v1`"]
        lacking += [] if "stack" in keys else ["`stack: NAME`"]
        if not _looks_like_stack(keys, bool(_CLAIM.search(text))):
            return
    if file.suffix == ".yaml" and not lacking:
        return  # it was read, and is broken
    misnamed = file.suffix != ".yaml"
    reasons = ["a directory means its *.yaml files"] if misnamed else []
    reasons += [f"it has no {' and no '.join(lacking)}"] if lacking else []
    steps = [f"Rename it to {file.stem}.yaml"] if misnamed else []
    steps += [f"{'w' if steps else 'W'}rite {' and '.join(lacking)}"] if lacking else []
    message = f"this looks like a stack and is passed over: {', and '.join(reasons)}"
    yield _warning(file, message, " and ".join(steps) + ".")


def _warning(file: Path, message: str, hint: str) -> Problem:
    return Problem(where=_start(file), path="", message=message, hint=hint, severity="warning", name="passed-over")


def _says_anything(text: str) -> bool:
    return any(line.strip() and not line.lstrip().startswith("#") for line in text.lstrip("\ufeff").splitlines())


def _empty(file: Path) -> Iterator[Problem]:
    """A stack file that somebody emptied would be missed by nobody else."""
    yield _warning(file, "this file is empty and is passed over", "Write the stack into it, or remove it.")


def _unreadable(file: Path) -> Iterator[Problem]:
    """Reading a `*.yaml` tells why by itself, as an error; the others are only passed over."""
    if file.suffix != ".yaml":
        yield _warning(file, "this file cannot be read and is passed over", "Give it another ending, or remove it.")


def _closed_folders(folder: Path) -> Iterator[Problem]:
    """The folders below that this user may not look into."""
    closed: list[OSError] = []
    for _ in os.walk(folder, onerror=closed.append):
        pass
    for error in closed:
        if not Path(error.filename).name.startswith("."):
            message = f"this folder cannot be read and is passed over: {error.strerror}"
            yield _warning(Path(error.filename), message, "Change its permissions, or name the stack files themselves.")


def _hidden_files(folder: Path) -> Iterator[Path]:
    """The *.yaml directly in hidden folders, but those of tools that keep thousands of files there."""
    for parent, folders, _ in os.walk(folder):
        hidden = [name for name in folders if name.startswith(".") and name not in _OF_TOOLS]
        for name in sorted(hidden):
            inside = Path(parent, name)
            with suppress(OSError):
                yield from sorted(file for file in inside.iterdir() if file.name.endswith(".yaml"))[:_MOST_HIDDEN]
        folders[:] = sorted(name for name in folders if not name.startswith("."))


def _looks_like_stack(keys: AbstractSet[str], claims: bool) -> bool:
    """Whether top-level `keys` are most of a stack's; `claims` when one of them, whatever its name, says whisperctl.

    Most of the words are common ones, so that a file of another tool needs one that nobody else uses.
    """
    if "extends" in keys:
        return claims or "stack" in keys
    return (claims or bool(keys & _NOBODY_ELSES)) and len(keys & _REQUIRED) + claims >= _ENOUGH_KEYS


def _files(folder: Path, *endings: str, any_case: bool = False) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if (name.lower() if any_case else name).endswith(endings):
                yield Path(parent, name)


def _is_folder(path: Path) -> bool:
    return os.fspath(path) != STANDARD_INPUT and path.is_dir()


def _home(folder: Path) -> Path:
    """What links in a directory may not lead out of."""
    return repository_of(folder) or folder


def _text(file: Path, home: Path) -> str | None:
    """What is written there; None when it cannot be read, or leads out of `home`."""
    try:
        return read_file(file, MAX_BYTES, inside=home).decode("utf-8", errors="replace")
    except Unreadable:
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
    text = _text(above, home_of(above, file.parent)) or ""
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
