"""The one way to open a file that a user or a repository names.

It is opened without waiting for anybody (a pipe has no writer, a device no end), must be a regular file, is read up to
a bound, and lies below the folder that it may come from, whatever links lead to it: of what is open the real path is
asked, so that nothing can be exchanged in between. This module must not know what is in a file.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from whisperctl.errors import WhisperctlError

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class Unreadable(WhisperctlError):
    """A file that is not read: why, in words that follow its name."""

    def __init__(self, reason: str, hint: str = "") -> None:
        self.reason, self.hint = reason, hint
        super().__init__(reason + (f"\n  {hint}" if hint else ""))


class FileMissing(Unreadable):
    """There is no such file."""


class NotText(Unreadable):
    """The file is not UTF-8 text."""


class TooLarge(Unreadable):
    """The file is larger than anything of its kind."""


def open_file(path: str | os.PathLike[str], *, inside: Path | None = None) -> BinaryIO:
    """The regular file at `path`, open for reading; with `inside`, its real path lies below that folder.

    Raises:
        Unreadable: it is missing, no regular file, not ours to read, or lies elsewhere.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _refusal(path, error) from None
    except ValueError:
        raise Unreadable("its name holds a NUL character") from None
    try:
        _check(descriptor, path, inside)
        os.set_blocking(descriptor, True)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_file(path: str | os.PathLike[str], most: int, *, inside: Path | None = None) -> bytes:
    """All bytes of the regular file at `path`; see `open_file`.

    Raises:
        Unreadable: it cannot be read, or has more than `most` bytes (`TooLarge`).
    """
    with open_file(path, inside=inside) as file:
        try:
            content = file.read(most + 1)
        except OSError as error:
            raise _refusal(path, error) from None
    if len(content) > most:
        raise TooLarge(f"it is larger than {_size(most)}")
    return content


def read_text(path: str | os.PathLike[str], most: int, *, inside: Path | None = None) -> str:
    """The UTF-8 text of the regular file at `path`, without a byte order mark; see `read_file`.

    Raises:
        Unreadable: it cannot be read, or is no text.
    """
    try:
        return read_file(path, most, inside=inside).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise NotText("it is not UTF-8 text", "Save the file in UTF-8.") from None


def refusal(path: str | os.PathLike[str], *, inside: Path | None = None) -> Unreadable | None:
    """Why the file at `path` would not be opened; None where it would."""
    try:
        open_file(path, inside=inside).close()
    except Unreadable as error:
        return error
    return None


def is_below(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> bool:
    """Whether the real path of `path` is that of `folder`, or lies below it."""
    real, top = os.path.realpath(path), os.path.realpath(folder)
    return real == top or real.startswith(top.rstrip("/") + "/")


def repository_of(folder: Path) -> Path | None:
    """The nearest folder above (or at) the real path of `folder` that is a Git repository's root; None without one."""
    real = Path(os.path.realpath(folder))
    return next((each for each in (real, *real.parents) if (each / ".git").exists()), None)


def home_of(file: str | os.PathLike[str], beside: Path) -> Path:
    """The folder that `file`, named in a file of the folder `beside`, must lie below.

    That is the repository's root. Without a repository a file may be named anywhere, and only a link may not lead out
    of the folder that it stands in.
    """
    repository = repository_of(beside)
    if repository is not None:
        return repository
    return Path(os.path.realpath(beside)) if is_below(file, beside) else Path(os.path.realpath(Path(file).parent))


def _check(descriptor: int, path: str | os.PathLike[str], inside: Path | None) -> None:
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        kind = next((word for is_one, word in _KINDS if is_one(mode)), "something else")
        raise Unreadable(f"it is {kind}, not a file")
    if inside is not None and not is_below(_real_path(descriptor, path), inside):
        raise Unreadable(f"it leads out of {inside}", "A link may not lead there: put the file itself in its place.")


def _real_path(descriptor: int, path: str | os.PathLike[str]) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - no Path: what was deleted has no path
    except OSError:
        return os.path.realpath(path)


def _refusal(path: str | os.PathLike[str], error: OSError) -> Unreadable:
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR if os.path.islink(path):  # noqa: PTH114 - of a name, too
            return FileMissing("it is a link that leads nowhere")
        case errno.ENOENT | errno.ENOTDIR:
            return FileMissing("there is no such file")
        case errno.ELOOP:
            return FileMissing("it is a link that leads to itself")
        case errno.ENXIO:
            return Unreadable("it is a socket, not a file")
    return Unreadable(f"it cannot be read: {error.strerror or 'unknown reason'}")


def _size(most: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if most >= size:
            return f"{most // size} {unit}"
    return f"{most} bytes"
