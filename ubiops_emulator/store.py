"""State on disk: JSON documents and log lines in SQLite (WAL), one transaction a request.

Contract: documents are found by id, or by kind, parent and name; `due` is the moment the platform looks at one again.
One process uses a data folder at a time (a lock says so). Nothing about HTTP or about what documents mean belongs here.
"""

from __future__ import annotations

import fcntl
import json
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS object (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, parent TEXT NOT NULL,
  name TEXT, due REAL, body TEXT NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS object_name ON object (kind, parent, name);
CREATE INDEX IF NOT EXISTS object_order ON object (kind, parent, seq);
CREATE INDEX IF NOT EXISTS object_due ON object (due) WHERE due IS NOT NULL;
CREATE TABLE IF NOT EXISTS log (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT NOT NULL, ts INTEGER NOT NULL, line TEXT NOT NULL,
  labels TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS log_ts ON log (project, ts);
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
# The `due` of a document that has just entered a state: the lifecycle sets its next moment.
ENTERED = 0.0
COLUMNS = "seq, id, kind, parent, name, due, body"


class FolderInUse(Exception):
    """Another emulator works on this data folder."""


class Duplicate(Exception):
    """A document of this kind, parent and name exists."""


@dataclass(slots=True)
class Doc:
    """One object of the project. `body` holds UbiOps' fields, and ours with a leading underscore."""

    kind: str
    id: str
    parent: str
    name: str | None
    body: dict[str, Any]
    due: float | None = None
    seq: int = 0


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of build or instance output; `ts` in nanoseconds since the epoch."""

    ts: int
    line: str
    labels: dict[str, Any]


class Store:
    """The documents and logs of one data folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder
        self._lock = _lock(folder)
        path = folder / "state.sqlite"
        path.touch(mode=0o600)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        # A killed process loses nothing with NORMAL: the log is in the kernel's hands. Only a power cut could.
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        """Close the database, and let another emulator use the folder."""
        self._db.close()
        self._lock.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing for everything written inside."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def add(self, kind: str, parent: str, name: str | None, body: dict[str, Any], *, due: float | None = None) -> Doc:
        """Insert a document; its id goes into the body.

        Raises:
            Duplicate: kind, parent and name are taken.
        """
        body.setdefault("id", str(uuid.uuid4()))
        doc = Doc(kind, body["id"], parent, name, body, due)
        try:
            cursor = self._db.execute(
                "INSERT INTO object (id, kind, parent, name, due, body) VALUES (?, ?, ?, ?, ?, ?)",
                (doc.id, kind, parent, name, due, json.dumps(body)),
            )
        except sqlite3.IntegrityError as error:
            raise Duplicate(name) from error
        doc.seq = cursor.lastrowid or 0
        return doc

    def save(self, doc: Doc) -> None:
        """Write a changed document back.

        Raises:
            Duplicate: its new name is taken.
        """
        try:
            self._db.execute(
                "UPDATE object SET name = ?, due = ?, body = ? WHERE id = ?",
                (doc.name, doc.due, json.dumps(doc.body), doc.id),
            )
        except sqlite3.IntegrityError as error:
            raise Duplicate(doc.name) from error

    def delete(self, doc: Doc) -> None:
        """Delete a document; not its children."""
        self._db.execute("DELETE FROM object WHERE id = ?", (doc.id,))

    def delete_children(self, kind: str, parent: str) -> None:
        """Delete the documents of a kind below a parent."""
        self._db.execute("DELETE FROM object WHERE kind = ? AND parent = ?", (kind, parent))

    def by_id(self, kind: str, ident: str) -> Doc | None:
        """A document by kind and id."""
        return self._one("id = ? AND kind = ?", (ident, kind))

    def find(self, kind: str, parent: str, name: str) -> Doc | None:
        """A document by kind, parent and name."""
        return self._one("kind = ? AND parent = ? AND name = ?", (kind, parent, name))

    def named(self, kind: str, name: str) -> Doc | None:
        """A document by kind and name, whatever its parent; for names that are unique by themselves."""
        return self._one("kind = ? AND name = ?", (kind, name))

    def children(self, kind: str, parent: str) -> list[Doc]:
        """Documents of one parent, oldest first."""
        return self._many("kind = ? AND parent = ? ORDER BY seq", (kind, parent))

    def newest(self, kind: str, parent: str, limit: int, offset: int = 0) -> list[Doc]:
        """Documents of one parent, newest first."""
        return self._many("kind = ? AND parent = ? ORDER BY seq DESC LIMIT ? OFFSET ?", (kind, parent, limit, offset))

    def page(self, kind: str, parent: str, after: int, limit: int) -> list[Doc]:
        """Documents of one parent that came after a sequence number, oldest first."""
        return self._many("kind = ? AND parent = ? AND seq > ? ORDER BY seq LIMIT ?", (kind, parent, after, limit))

    def every(self, kind: str) -> list[Doc]:
        """All documents of a kind, whatever their parent, oldest first."""
        return self._many("kind = ? ORDER BY seq", (kind,))

    def due(self, now: float) -> list[Doc]:
        """Documents whose moment has come."""
        return self._many("due IS NOT NULL AND due <= ? ORDER BY due, seq", (now,))

    def next_due(self) -> float | None:
        """The earliest moment at which a document is due; None if none is."""
        row = self._db.execute("SELECT MIN(due) FROM object WHERE due IS NOT NULL").fetchone()
        return float(row[0]) if row[0] is not None else None

    def count(self, kind: str, parent: str) -> int:
        """How many documents of a kind a parent has."""
        row = self._db.execute("SELECT COUNT(*) FROM object WHERE kind = ? AND parent = ?", (kind, parent))
        return int(row.fetchone()[0])

    def log(self, project: str, lines: Sequence[LogLine]) -> None:
        """Append lines to the log of a project."""
        self._db.executemany(
            "INSERT INTO log (project, ts, line, labels) VALUES (?, ?, ?, ?)",
            [(project, line.ts, line.line, json.dumps(line.labels)) for line in lines],
        )

    def lines(self, project: str, start: int, end: int, *, backward: bool) -> Iterator[LogLine]:
        """Log lines with start <= ts < end, in the order of time, or against it."""
        order = "ts DESC, seq DESC" if backward else "ts, seq"
        rows = self._db.execute(
            f"SELECT ts, line, labels FROM log WHERE project = ? AND ts >= ? AND ts < ? ORDER BY {order}",  # noqa: S608
            (project, start, end),
        )
        for ts, line, labels in rows:
            yield LogLine(ts, line, json.loads(labels))

    def setting(self, name: str) -> str | None:
        """A setting of the emulator itself; None if it was never set."""
        row = self._db.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else None

    def set(self, name: str, value: str) -> None:
        """Keep a setting of the emulator itself."""
        self._db.execute("INSERT OR REPLACE INTO setting (name, value) VALUES (?, ?)", (name, value))

    def clear(self) -> None:
        """Forget every document and log line; settings stay."""
        self._db.execute("DELETE FROM object")
        self._db.execute("DELETE FROM log")

    def copy_to(self, path: Path) -> None:
        """A consistent copy of the whole state, also while in use."""
        target = sqlite3.connect(path)
        with target:
            self._db.backup(target)
        target.close()

    def copy_from(self, path: Path) -> None:
        """Replace the whole state by such a copy."""
        source = sqlite3.connect(path)
        source.backup(self._db)
        source.close()

    def _one(self, where: str, values: tuple[Any, ...]) -> Doc | None:
        row = self._db.execute(f"SELECT {COLUMNS} FROM object WHERE {where}", values).fetchone()  # noqa: S608
        return _doc(row) if row else None

    def _many(self, where: str, values: tuple[Any, ...]) -> list[Doc]:
        rows = self._db.execute(f"SELECT {COLUMNS} FROM object WHERE {where}", values)  # noqa: S608
        return [_doc(row) for row in rows]


def _doc(row: tuple[Any, ...]) -> Doc:
    seq, ident, kind, parent, name, due, body = row
    return Doc(kind, ident, parent, name, json.loads(body), due, seq)


def _lock(folder: Path) -> Any:
    handle = (folder / "lock").open("w")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        handle.close()
        raise FolderInUse(str(folder)) from error
    return handle
