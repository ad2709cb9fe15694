"""Where transcripts go: a folder of this machine, or a bucket; each knows what its files were made from, and as what.

A folder's ledger is one SQLite file (`ledger.py`), a bucket's is one object for each recording, below `.whisperctl/`: a
bucket cannot change a part of an object. Both are written by the client alone, after the transcript, so that a killed
run does something twice rather than not at all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

from whisperctl.errors import WhisperctlError
from whisperctl.transcribe import ledger, output, remote
from whisperctl.transcribe.ledger import Ledger, Source

LEDGER = ".whisperctl"
"""The folder of a bucket's ledger."""


class Output(Protocol):
    """A place for transcripts; safe to share between threads."""

    def missing(self, options_of: Mapping[Path, str], source: Source) -> list[Path]:
        """Those files that are not there, or were not made from `source` and their options, as is noted beside them."""

    def write(self, texts: Mapping[Path, str], options_of: Mapping[Path, str], source: Source) -> None:
        """Write the files of one recording, then note what they were made from."""

    def noting_at_once(self) -> AbstractContextManager[None]:
        """Note what is written meanwhile in one step, at the end, where that is quicker. For one thread.

        Raises:
            WhisperctlError: nothing of it is noted.
        """

    def shown(self, file: Path) -> str:
        """How a file of it is called."""


class Folder:
    """A folder of this machine."""

    def __init__(self, path: Path, ledger: Ledger) -> None:
        self._path, self._ledger = path, ledger

    def missing(self, options_of: Mapping[Path, str], source: Source) -> list[Path]:
        """As `Output` says."""
        return [
            file
            for file, options in options_of.items()
            if not (self._path / file).is_file() or not self._ledger.is_done(file, source, options)
        ]

    def write(self, texts: Mapping[Path, str], options_of: Mapping[Path, str], source: Source) -> None:
        """As `Output` says."""
        for file, text in texts.items():
            output.write(self._path, self._path / file, text)
            self._ledger.done(file, source, options_of[file])

    def noting_at_once(self) -> AbstractContextManager[None]:
        """As `Output` says."""
        return self._ledger.at_once()

    def shown(self, file: Path) -> str:
        """Its path."""
        return str(self._path / file)


class Bucket:
    """What lies below a URL such as `s3://bucket/calls`; an object appears in one step."""

    def __init__(self, url: str) -> None:
        """List what is there.

        Raises:
            WhisperctlError: it cannot be reached.
        """
        self._url, self._objects = url.rstrip("/"), remote.ObjectStore(url)
        self._there = self._objects.names()
        notes = [name for name in self._there if name.startswith(f"{LEDGER}/")]
        self._notes: dict[str, Any] = {name: _parsed(text) for name, text in self._objects.read(notes).items()}

    def missing(self, options_of: Mapping[Path, str], source: Source) -> list[Path]:
        """As `Output` says."""
        noted = {key: value for name in {*map(_note, options_of)} for key, value in self._notes.get(name, {}).items()}
        return [
            file
            for file, options in options_of.items()
            if file.as_posix() not in self._there or noted.get(file.name) != [source.size, source.modified, options]
        ]

    def write(self, texts: Mapping[Path, str], options_of: Mapping[Path, str], source: Source) -> None:
        """As `Output` says."""
        for file, text in texts.items():
            self._objects.write(file.as_posix(), text.encode(errors="backslashreplace"))
            self._there.add(file.as_posix())
        for note in {*map(_note, texts)}:
            made = {file.name: [source.size, source.modified, options_of[file]] for file in texts}
            self._notes[note] = {**self._notes.get(note, {}), **made}
            self._objects.write(note, json.dumps(self._notes[note]).encode())

    def noting_at_once(self) -> AbstractContextManager[None]:
        """Each note is an object of its own."""
        return nullcontext()

    def shown(self, file: Path) -> str:
        """Its URL."""
        return f"{self._url}/{file.as_posix()}"


def _note(file: Path) -> str:
    """The ledger's object of the recording that `file` is a transcript of."""
    return f"{LEDGER}/{file.with_suffix('.json').as_posix()}"


def _parsed(text: bytes) -> Any:
    """What a note says; nothing if it is none of ours: then all is done again."""
    try:
        noted = json.loads(text)
    except ValueError:
        return {}
    return noted if isinstance(noted, dict) else {}


@contextmanager
def opened(where: str | Path) -> Iterator[Output]:
    """The folder at a path, made if it is not there, or what is below a URL.

    Raises:
        WhisperctlError: it cannot be made, written to or reached, or its ledger is of a later version of this tool.
    """
    if remote.is_url(where):
        yield Bucket(str(where))
        return
    folder = Path(where)
    _make(folder)
    output.clear(folder)
    with ledger.opened(folder) as book:
        yield Folder(folder, book)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WhisperctlError(f"{folder} cannot be made: {error.strerror}.") from error
    if not os.access(folder, os.W_OK):
        raise WhisperctlError(f"{folder} cannot be written to.")
