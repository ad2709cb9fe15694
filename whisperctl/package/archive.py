"""The reproducible zip of a package and its SHA-256, streamed so that weights never lie in memory."""

from __future__ import annotations

import errno
import hashlib
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from whisperctl.files import open_file

_DATE = (1980, 1, 1, 0, 0, 0)


class _Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...


def digest(files: Mapping[str, bytes | Path], folder: str) -> str:
    """The SHA-256 of the zip that `write_archive` writes, in hex; nothing of it is held in memory.

    Raises:
        OSError: a file cannot be read.
    """
    seal = _Hash()
    write_archive(files, folder, seal)
    return seal.hash.hexdigest()


class _Hash:
    """A stream that only counts and hashes."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()

    def write(self, data: bytes, /) -> int:
        self.hash.update(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""


class _Forward:
    """A stream without a position: zipfile writes the same bytes whatever lies behind it."""

    def __init__(self, sink: _Sink) -> None:
        self.sink = sink

    def write(self, data: bytes, /) -> int:
        self.sink.write(data)
        return len(data)

    def flush(self) -> None:
        """The owner of the stream flushes it."""


def write_archive(files: Mapping[str, bytes | Path], folder: str, sink: _Sink) -> None:
    """Write a zip of these files below `folder`: stored, by name, with one date and mode, so the same bytes each time.

    Args:
        files: name in the package -> its content, or the file that holds it.
        folder: the one folder of the zip.
        sink: takes the bytes in their order; it needs no position.

    Raises:
        OSError: a file cannot be read.
    """
    archive = zipfile.ZipFile(_Forward(sink), "w", zipfile.ZIP_STORED)  # type: ignore[call-overload]
    try:
        for name, content in sorted(files.items()):
            _write_entry(archive, f"{folder}/{name}", content)
        archive.close()
    except BaseException:
        # Not `with`: that writes the table of contents behind what was broken off, or raises a ValueError of its own in
        # place of an interrupt that came between two of its lines.
        archive.fp = None
        raise


def _write_entry(archive: zipfile.ZipFile, name: str, content: bytes | Path) -> None:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.create_system = 3
    entry.external_attr = 0o100644 << 16
    entry.file_size = len(content) if isinstance(content, bytes) else content.stat().st_size
    with archive.open(entry, "w") as target:
        for chunk in _chunks(content):
            target.write(chunk)


def _chunks(content: bytes | Path) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with open_file(content) as file:
        while chunk := file.read(1 << 20):
            yield chunk


def write_files(files: Mapping[str, bytes | Path], folder: Path) -> None:
    """Write the files themselves into `folder`, as they lie in the archive; nothing is written through a link.

    Raises:
        OSError: a file is there already, or a folder on the way is a link.
    """
    for name, content in sorted(files.items()):
        target = folder / name
        _make_folders(folder, target.parent)
        if isinstance(content, bytes):
            with target.open("xb") as file:
                file.write(content)
        else:
            with target.open("xb") as copy, open_file(content) as file:
                shutil.copyfileobj(file, copy, 1 << 20)


def _make_folders(top: Path, folder: Path) -> None:
    """Make `folder`, which lies below `top`; none of the folders in between may be a link."""
    for step in reversed([folder, *folder.parents]):
        if step == top or top in step.parents:
            if step != top and step.is_symlink():
                raise OSError(errno.ELOOP, "it is a link, and nothing is written through one", str(step))
            step.mkdir(parents=True, exist_ok=True)
