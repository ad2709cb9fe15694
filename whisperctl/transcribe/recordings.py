"""What the user named, as a list of recordings: files, folders, patterns, standard input. Nothing is opened here."""

from __future__ import annotations

import glob
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count, takewhile
from pathlib import Path

from whisperctl.errors import WhisperctlError
from whisperctl.transcribe.audio import SUFFIXES

STDIN = "-"


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """One recording to transcribe."""

    name: str
    """As the user knows it: the path as given, or `stdin`."""
    path: Path
    place: Path
    """Where its transcript goes inside an output folder, without the format's suffix."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Missing:
    """Something named that is no recording."""

    name: str
    reason: str


def find(named: Sequence[str], spool: Path) -> list[Recording | Missing]:
    """The recordings that `named` stands for, in order, each file once.

    Args:
        named: files, folders (searched recursively for known suffixes), glob patterns (`**` too), or `-`.
        spool: a folder for what comes over standard input.

    Raises:
        WhisperctlError: standard input cannot be kept.
    """
    found: list[Recording | Missing] = []
    for name in dict.fromkeys(named):
        found += [_from_stdin(spool)] if name == STDIN else _expanded(name)
    once: dict[object, Recording | Missing] = {}
    for one in found:
        once.setdefault(one.path.resolve() if isinstance(one, Recording) else one, one)
    return _unambiguous(list(once.values()))


def _expanded(name: str) -> list[Recording | Missing]:
    try:
        return _matching(name)
    except OSError as error:
        return [Missing(name=printable(name), reason=error.strerror or "not a file name")]


def _matching(name: str) -> list[Recording | Missing]:
    path = Path(name)
    if path.is_dir():
        return _in_folder(name, path)
    if path.exists():
        return [_recording(name, Path(path.name))]
    if not glob.has_magic(name):
        return [Missing(name=printable(name), reason="no such file")]
    matches = sorted(match for match in glob.glob(name, recursive=True) if Path(match).is_file())  # noqa: PTH207
    fixed = Path(*takewhile(lambda part: not glob.has_magic(part), path.parts))
    if not matches:
        return [Missing(name=printable(name), reason="nothing matches this pattern")]
    return [_recording(match, Path(match).relative_to(fixed)) for match in matches]


def _in_folder(name: str, folder: Path) -> list[Recording | Missing]:
    inside = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not inside:
        return [Missing(name=printable(name), reason="no recordings in this folder")]
    return [_recording(str(path), path.relative_to(folder)) for path in inside]


def _recording(name: str, place: Path) -> Recording:
    return Recording(name=printable(name), path=Path(name), place=place.with_suffix("") if place.suffix else place)


def _from_stdin(spool: Path) -> Recording:
    path = spool / "stdin"
    try:
        with path.open("wb") as out, open(0, "rb", closefd=False) as stdin:
            shutil.copyfileobj(stdin, out)
    except OSError as error:
        raise WhisperctlError(f"Standard input cannot be kept in {spool}: {error.strerror}.") from error
    return Recording(name="stdin", path=path, place=Path("stdin"))


def printable(name: str) -> str:
    """`name` with `?` for what no terminal should get: control characters, and bytes that are no text."""
    return "".join(character if character.isprintable() else "?" for character in name)


def _unambiguous(found: list[Recording | Missing]) -> list[Recording | Missing]:
    """The same, where recordings that would share an output file keep their suffix, then as many folders as it takes.

    Never a number: the next run may name them in another order, and skips what seems to be there.
    """
    for kept in count(1):
        places = Counter(one.place for one in found if isinstance(one, Recording))
        if max(places.values(), default=1) == 1:
            break
        found = [_longer(one, kept) if isinstance(one, Recording) and places[one.place] > 1 else one for one in found]
    return found


def _longer(one: Recording, kept: int) -> Recording:
    """With its file's whole name, and the folders right above it up to `kept` parts."""
    return replace(one, place=Path(*one.path.resolve().parts[1:][-kept:]))


def temporary() -> tempfile.TemporaryDirectory[str]:
    """A folder for standard input, gone after use."""
    return tempfile.TemporaryDirectory(prefix="whisperctl-")
