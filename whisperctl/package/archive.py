"""The reproducible zip of a package and its SHA-256, streamed so that weights never lie in memory."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

_DATE = (1980, 1, 1, 0, 0, 0)


class _Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...


def digest(files: Mapping[str, bytes | Path], folder: str) -> str:
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
    with zipfile.ZipFile(_Forward(sink), "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(f"{folder}/{name}", _DATE)
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
    with content.open("rb") as file:
        while chunk := file.read(1 << 20):
            yield chunk


def write_files(files: Mapping[str, bytes | Path], folder: Path) -> None:
    """Write the files themselves into `folder`, as they lie in the archive."""
    for name, content in sorted(files.items()):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            target.write_bytes(content)
        else:
            shutil.copyfile(content, target)
