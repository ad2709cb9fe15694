"""How a transcription run is going: a bar on a terminal, plain lines elsewhere. Writes to stderr only."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from whisperctl.output import drawing
from whisperctl.transcribe.audio import seconds
from whisperctl.transcribe.batch import Done, Failed, Result, Skipped
from whisperctl.transcribe.recordings import Missing, Recording
from whisperctl.transcribe.threads import Crew

if TYPE_CHECKING:
    from rich.progress import Progress


class Lines:
    """A line for each recording, for logs and pipes."""

    holds = False
    """Whether results must wait for the end: a bar would wipe away what is printed beside it."""

    def __init__(self, files: int) -> None:
        self._files, self._lock = files, threading.Lock()

    def heard(self, seconds: float) -> None:
        """Say nothing: a line per piece would be noise."""

    def say(self, line: str) -> None:
        """Print `line`."""
        with self._lock:
            click.echo(line, err=True)

    def finished(self, result: Result) -> None:
        """Print how one recording went; the failure of the only one is the error message itself."""
        if self._files > 1 or not isinstance(result, Failed):
            self.say(told(result))


class Bar(Lines):
    """A bar that counts minutes of audio, with the speed as a multiple of real time and the time left."""

    def __init__(self, progress: Progress, lengths: dict[Path, float | None], files: int) -> None:
        super().__init__(files)
        self.holds = sys.stdout.isatty()
        self._progress, self._lengths, self._done = progress, lengths, 0
        self._heard, self._started = 0.0, time.monotonic()
        self._total = None if None in lengths.values() else sum(length or 0.0 for length in lengths.values())
        self._task = progress.add_task("", total=self._total, minutes="", speed="")
        self._show()

    def heard(self, seconds: float) -> None:
        """Move on by so many seconds of audio."""
        with self._lock:
            self._heard += seconds
            self._show()

    def say(self, line: str) -> None:
        """Print `line` above the bar."""
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def finished(self, result: Result) -> None:
        """Count one recording, and print how it went above the bar."""
        with self._lock:
            self._done += 1
            if isinstance(result, Skipped) and self._total:
                self._total -= self._lengths.get(result.recording.path) or 0.0
            self._show()
        super().finished(result)

    def _show(self) -> None:
        speed = self._heard / max(time.monotonic() - self._started, 1e-3)
        self._progress.update(
            self._task,
            description=f"{self._done}/{self._files} recordings" if self._files > 1 else "transcribing",
            total=self._total,
            completed=self._heard if self._total is None else min(self._heard, self._total),
            minutes=_minutes(self._heard, self._total),
            speed=f"{speed:.1f}x real time" if self._heard else "",
        )


@contextmanager
def watched(found: Sequence[Recording | Missing], parallelism: int) -> Iterator[Lines]:
    """The bar if stderr is a terminal, else lines."""
    if not sys.stderr.isatty():
        yield Lines(len(found))
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[minutes]}"),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    console = Console(file=drawing(sys.stderr))
    lengths = _lengths([one for one in found if isinstance(one, Recording)], parallelism)
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as progress:
        yield Bar(progress, lengths, len(found))


def told(result: Result) -> str:
    """One line about one recording."""
    match result:
        case Done(recording=recording, transcript=transcript, took=took):
            length = transcript.duration
            if not length:
                return f"{recording.name}: done in {took:.1f} s"
            return f"{recording.name}: {length:.1f} s of audio in {took:.1f} s ({length / max(took, 1e-3):.1f}x)"
        case Skipped(recording=recording, target=target):
            return f"{recording.name}: skipped, {target} is there and newer"
        case Failed(name=name, reason=reason):
            return f"{name}: failed: {reason.splitlines()[0]}"


def _lengths(recordings: list[Recording], parallelism: int) -> dict[Path, float | None]:
    """Seconds of audio in each, None where one cannot tell."""
    crew = Crew(parallelism, "length")
    futures = [crew.submit(lambda one=one: seconds(one.path)) for one in recordings]  # type: ignore[misc]
    lengths = {one.path: future.result() for one, future in zip(recordings, futures, strict=True)}
    crew.dismiss()
    return lengths


def _minutes(heard: float, total: float | None) -> str:
    digits = 1 if (total or heard) >= 600 else 2
    return f"{heard / 60:.{digits}f}" + (f"/{total / 60:.{digits}f} min" if total else " min")
