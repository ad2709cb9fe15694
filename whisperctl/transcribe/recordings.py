"""What the user named, as a list of recordings: files, folders, patterns, standard input.

Nothing is opened here but two files of one name in one folder (`a.wav`, `a.txt`), to tell which is the recording: the
rest is looked at when its turn comes, so that the first of a million is sent at once.
"""

from __future__ import annotations

import glob
import os
import shutil
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, takewhile
from pathlib import Path

from whisperctl.errors import WhisperctlError
from whisperctl.transcribe import output
from whisperctl.transcribe.channels import Channels
from whisperctl.transcribe.containers import HEAD, SUFFIXES, is_recording

STDIN = "-"
_SPOOL = "whisperctl"
"""What the name of a temporary folder begins with; this machine and the process follow."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """One recording to transcribe."""

    name: str
    """As the user knows it and a terminal may show it: the path as given, or `stdin`."""
    given: str
    """The same with every byte, as file names are in Python: what JSON has."""
    path: Path
    place: Path
    """Where its transcript goes inside an output folder, without the format's suffix."""
    folder: str | None = None
    """The folder that was named, if it is only there because of that: it may be no recording at all."""
    url: str | None = field(default=None, repr=False)
    """Where it is, if not here; `path` then only names it."""
    listed: bool = False
    """Whether a manifest names it: then it is a regular file or a URL, and no pipe."""
    language: str | None = None
    """Code of the language that is spoken, where a manifest says so."""
    channels: Channels | None = None
    """What to make of the channels, where a manifest says so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MissingRecording:
    """Something named that is no recording."""

    name: str
    given: str
    reason: str


Named = Recording | MissingRecording


def find(named: Sequence[str], spool: Path, listed: Sequence[Recording] = ()) -> list[Named]:
    """The recordings that `named` stands for, in order, each file once; then those that a manifest lists.

    Args:
        named: files, folders (searched recursively), glob patterns (`**` too), or `-`.
        spool: a folder for what comes over standard input.
        listed: what a manifest lists.

    Raises:
        WhisperctlError: standard input cannot be kept.
    """
    recordings: list[Named] = []
    for name in dict.fromkeys(named):
        recordings += [_from_stdin(spool)] if name == STDIN else _expanded(name)
    recordings += listed
    if len(named) > 1 or listed or any(isinstance(one, Recording) and one.folder is None for one in recordings):
        recordings = _once(recordings)
    return _unambiguous(recordings)


def looks_recorded(recording: Recording) -> bool:
    """Whether a file that a folder holds is a recording, by its first bytes or its name.

    Raises:
        WhisperctlError: it cannot be read.
    """
    if recording.path.suffix.lower() in SUFFIXES:
        return True
    try:
        with recording.path.open("rb") as file:
            return is_recording(file.read(HEAD))
    except OSError as error:
        raise WhisperctlError(f"cannot be read: {error.strerror}.") from error


def is_pipe(path: Path) -> bool:
    """Whether `path` can be read only once: a named pipe, a socket, `<(...)` of a shell."""
    mode = path.stat().st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)


def spooled(path: Path, spool: Path) -> Path:
    """What comes through the pipe `path`, as a file in `spool`.

    Raises:
        WhisperctlError: it cannot be read, or not kept.
    """
    try:
        if path.is_char_device() and not path.samefile("/dev/stdin"):
            raise WhisperctlError("is a device, which may have no end.")
        if path.is_socket():
            raise WhisperctlError("is a socket, not a file.")
        with path.open("rb") as source, tempfile.NamedTemporaryFile(dir=spool, delete=False) as copy:
            shutil.copyfileobj(source, copy)
    except OSError as error:
        raise WhisperctlError(f"cannot be kept in {spool}: {error.strerror}.") from error
    return Path(copy.name)


def _once(named: list[Named]) -> list[Named]:
    once: dict[object, Named] = {}
    for one in named:
        once.setdefault((one.url or os.path.realpath(one.path)) if isinstance(one, Recording) else one, one)
    return list(once.values())


def _expanded(name: str) -> list[Named]:
    try:
        return _matching(name)
    except OSError as error:
        return [_missing(name, error.strerror or "not a file name")]


def _matching(name: str) -> list[Named]:
    path = Path(name)
    if path.is_dir():
        return _in_folder(name, path) or [_missing(name, "no recordings in this folder")]
    if path.exists():
        return [_recording(name, Path(path.name))]
    if not glob.has_magic(name):
        return [_missing(name, "is a URL, not a file: download it first" if "://" in name else "no such file")]
    matches = sorted(match for match in glob.glob(name, recursive=True) if Path(match).is_file())  # noqa: PTH207
    fixed = Path(*takewhile(lambda part: not glob.has_magic(part), path.parts))
    if not matches:
        return [_missing(name, "nothing matches this pattern")]
    return [_recording(match, Path(match).relative_to(fixed)) for match in matches if not _is_fork(Path(match).name)]


def _in_folder(name: str, folder: Path) -> list[Named]:
    """Every file below `folder` in order of its path, and the folders that cannot be read."""
    unread: list[OSError] = []
    files = sorted(_files(str(folder), set(), unread))
    named: list[Named] = [_missing(str(error.filename), f"cannot be read: {error.strerror}") for error in unread]
    inside = len(os.path.join(folder, ""))  # noqa: PTH118 - names as they come, without an object for each
    for path in files:
        given = path if folder.parts else path[inside:]
        named.append(_recording(given, Path(path[inside:]), folder=name))
    return named


def _files(folder: str, above: set[tuple[int, int]], unread: list[OSError]) -> Iterator[str]:
    """Links to folders are followed, but not back into a folder that one is in."""
    try:
        status = os.stat(folder)  # noqa: PTH116 - as bytes and strings come, without an object for each
        with os.scandir(folder) as entries:
            listed = list(entries)
    except OSError as error:
        unread.append(error)
        return
    inode = (status.st_dev, status.st_ino)
    if inode in above:
        return
    for entry in listed:
        if _is_fork(entry.name):
            continue
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError as error:  # a link in circles
            unread.append(error)
            continue
        if is_folder:
            yield from _files(entry.path, above | {inode}, unread)
        elif is_file:
            yield entry.path


def _is_fork(name: str) -> bool:
    """What macOS leaves beside a file on foreign disks and in archives, and this tool in its output folders."""
    return name.startswith(("._", ".whisperctl")) or name in (".DS_Store", "__MACOSX")


def _recording(name: str, place: Path, folder: str | None = None) -> Recording:
    place = place.with_suffix("") if place.suffix else place
    return Recording(name=printable(name), given=name, path=Path(name), place=place, folder=folder)


def _missing(name: str, reason: str) -> MissingRecording:
    return MissingRecording(name=printable(name), given=name, reason=reason)


def _from_stdin(spool: Path) -> Recording:
    path = spool / "stdin"
    try:
        with path.open("wb") as out, open(0, "rb", closefd=False) as stdin:
            shutil.copyfileobj(stdin, out)
    except OSError as error:
        raise WhisperctlError(f"Standard input cannot be kept in {spool}: {error.strerror}.") from error
    return Recording(name="stdin", given="-", path=path, place=Path("stdin"))


def printable(name: str) -> str:
    """`name` with `?` for what no terminal should get: control characters, and bytes that are no text."""
    if name.isprintable():
        return name
    return "".join(character if character.isprintable() else "?" for character in name)


def _unambiguous(named: list[Named]) -> list[Named]:
    """The same, where recordings that would share an output file keep their suffix, then as many folders as it takes.

    Never a number: the next run may name them in another order, and skips what seems to be there.
    """
    named = _without_sidecars(named)
    for depth in count(1):
        places = Counter(one.place for one in named if isinstance(one, Recording))
        if max(places.values(), default=1) == 1:
            break
        named = [_longer(one, depth) if isinstance(one, Recording) and places[one.place] > 1 else one for one in named]
    return named


def _without_sidecars(named: list[Named]) -> list[Named]:
    """The same, where a file that only shares a recording's name (`a.txt` of `a.wav`) has its own place."""
    places = Counter(one.place for one in named if isinstance(one, Recording))
    return [_aside(one) if isinstance(one, Recording) and places[one.place] > 1 else one for one in named]


def _aside(one: Recording) -> Recording:
    if one.folder is None:
        return one
    try:
        return one if looks_recorded(one) else replace(one, place=Path(*one.path.resolve().parts[1:], "passed over"))
    except WhisperctlError:  # it is told when its turn comes
        return one


def _longer(one: Recording, depth: int) -> Recording:
    """With its file's whole name, and the folders right above it, up to `depth` parts."""
    return replace(one, place=Path(*one.path.resolve().parts[1:][-depth:]))


def temporary() -> tempfile.TemporaryDirectory[str]:
    """A folder for what must be kept meanwhile, gone after use; those that killed processes have left are deleted."""
    for old in Path(tempfile.gettempdir()).glob(f"{_SPOOL}-{output.host()}-*"):
        if not output.runs(old.name.split("-")[2]):
            shutil.rmtree(old, ignore_errors=True)  # somebody else's is left to them
    return tempfile.TemporaryDirectory(prefix=f"{_SPOOL}-{output.host()}-{os.getpid()}-")
