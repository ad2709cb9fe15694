"""Transcripts on stdout: one as it is, several under their names or as one JSON list, escaped where it must be."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from whisperctl.output import verbatim
from whisperctl.transcribe.formats import document, rendered
from whisperctl.transcribe.results import Done, Failed

if TYPE_CHECKING:
    from whisperctl.transcribe.options import TranscriptOptions
    from whisperctl.transcribe.results import Result

_DOCUMENTS = ("json", "verbose_json")


class Printed:
    """Prints results in the order they come; JSON of several when all are there."""

    def __init__(self, options: TranscriptOptions, *, silent: bool, several: bool, holds: bool) -> None:
        """Print nothing yet.

        Args:
            options: with the format.
            silent: whether nothing is printed at all: it is written elsewhere.
            several: whether each needs its name.
            holds: whether everything must wait for the end: a progress bar would wipe it away.
        """
        self._shape, self._limits, self._silent = options.formats[0], options.limits, silent
        self._several, self._holds = several, holds
        self._waiting: list[Result] = []

    def take(self, result: Result) -> None:
        """Print the text of one more result, or hold it until the end."""
        if self._silent:
            return
        if self._holds or (self._several and self._shape in _DOCUMENTS):
            self._waiting.append(result)
        else:
            self._print(result)

    def end(self) -> None:
        """Print the results that had to wait for the end."""
        if self._silent:
            return
        if self._several and self._shape in _DOCUMENTS:
            _write(_json([one for one in map(self._listed, self._waiting) if one is not None]) + "\n")
            return
        for result in self._waiting:
            self._print(result)

    def _print(self, result: Result) -> None:
        if not isinstance(result, Done):
            return
        if self._shape in _DOCUMENTS:
            _write(_json(document(result.transcript, self._shape)) + "\n")
            return
        heading = f"==> {result.recording.name} <==\n" if self._several else ""
        _write(heading + rendered(result.transcript, self._shape, self._limits) + "\n" * self._several)

    def _listed(self, result: Result) -> dict[str, Any] | None:
        """One item of the list; `file` is the name with every byte, as Python's `os.fsencode` takes it back."""
        match result:
            case Done(recording=recording, transcript=transcript):
                return {"file": recording.given, **document(transcript, self._shape)}
            case Failed(given=given, reason=reason):
                return {"file": given, "error": reason}
        return None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=not _speaks_unicode(), indent=2)


def _speaks_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")


def _write(text: str) -> None:
    r"""Print `text`; a character that stdout's encoding lacks as `\u4e2d`: no transcript is lost to it."""
    encoding = sys.stdout.encoding or "utf-8"
    click.echo(text.encode(encoding, "backslashreplace").decode(encoding), nl=False, file=verbatim(sys.stdout))
