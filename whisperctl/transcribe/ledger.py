"""What an output folder's transcripts were made from, and as what: a second run does only what is not done.

One SQLite file, `.whisperctl.sqlite`, in the output folder; it is written by the client alone, after a transcript, so
that a killed run does something twice rather than not at all. A transcript counts as done if it is there and its
recording (size and time) and the options are those that it was made from.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from whisperctl.errors import WhisperctlError

NAME = ".whisperctl.sqlite"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Source:
    """Which state of a recording."""

    size: int
    modified: int
    """Nanoseconds since 1970."""

    @classmethod
    def of(cls, path: Path) -> Source:
        """The state of the file at `path` now."""
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns)


class Ledger:
    """The ledger of one output folder; safe to share between threads. Its file comes with the first transcript."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._connection: sqlite3.Connection | None = None
        self._lock, self._later = threading.Lock(), False

    def is_done(self, file: Path, source: Source, options: str) -> bool:
        """Whether `file`, relative to the folder, was made from `source` as `options` say."""
        with self._lock, _own_errors(self._path):
            if self._connection is None:
                return False
            row = self._connection.execute(
                "SELECT size, modified, wishes FROM transcripts WHERE file = ?", (os.fsencode(file),)
            ).fetchone()
        return bool(row == (source.size, source.modified, options))

    def done(self, file: Path, source: Source, options: str) -> None:
        """Note that `file` is there."""
        with self._lock, _own_errors(self._path):
            self.connect()
            assert self._connection is not None
            with nullcontext() if self._later else self._connection:
                self._connection.execute(
                    "INSERT OR REPLACE INTO transcripts VALUES (?, ?, ?, ?)",
                    (os.fsencode(file), source.size, source.modified, options),
                )

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Keep what is noted meanwhile in one step, at the end: each by itself waits for the disk. For one thread.

        Raises:
            WhisperctlError: nothing of it is kept.
        """
        self._later = True
        try:
            yield
        finally:
            self._later = False
            with self._lock, _own_errors(self._path):
                if self._connection is not None:
                    self._connection.commit()

    def connect(self) -> None:
        """Open the file, or make it."""
        if self._connection is not None:
            return
        connection = sqlite3.connect(self._path, check_same_thread=False, timeout=60)
        try:
            with connection:
                _prepare(connection, self._path)
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def close(self) -> None:
        """Close the database."""
        if self._connection is not None:
            self._connection.close()


@contextmanager
def opened(folder: Path) -> Iterator[Ledger]:
    """The ledger of the output folder `folder`.

    Raises:
        WhisperctlError: it cannot be read, or is of a later version of this tool.
    """
    ledger = Ledger(folder)
    with _own_errors(folder / NAME):
        if (folder / NAME).exists():
            ledger.connect()
    try:
        yield ledger
    finally:
        ledger.close()


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, _VERSION):
        raise WhisperctlError(f"{path} was written by a later whisperctl: use that, or another folder.")
    connection.execute(
        "CREATE TABLE IF NOT EXISTS transcripts"
        " (file BLOB PRIMARY KEY, size INTEGER NOT NULL, modified INTEGER NOT NULL, wishes TEXT NOT NULL)"
    )
    connection.execute(f"PRAGMA user_version = {_VERSION}")


@contextmanager
def _own_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise WhisperctlError(
            f"{path}, which tells what is done, cannot be used: {error}.\n"
            "  Without it everything is done again: delete it, or name another folder."
        ) from error
