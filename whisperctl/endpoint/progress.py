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

from whisperctl.endpoint.audio import seconds
from whisperctl.endpoint.batch import Done, Failed, Result, Skipped
from whisperctl.endpoint.crew import Crew
from whisperctl.endpoint.recordings import Missing, Recording

if TYPE_CHECKING:
    from rich.progress import Progress


class Lines:
    """A line for each recording, for logs and pipes."""

    def heard(self, seconds: float) -> None:
        """Say nothing: a line per piece would be noise."""

    def say(self, line: str) -> None:
        """Print `line`."""
        click.echo(line, err=True)

    def result(self, result: Result) -> None:
        """Print how one recording went."""
        click.echo(told(result), err=True)


class Bar(Lines):
    """A bar that counts minutes of audio, with the speed as a multiple of real time and the time left."""

    def __init__(self, progress: Progress, lengths: dict[Path, float | None], files: int) -> None:
        self._progress, self._files, self._finished = progress, files, 0
        self._heard, self._started, self._lock = 0.0, time.monotonic(), threading.Lock()
        self._lengths = lengths
        self._total = None if None in lengths.values() else sum(length or 0.0 for length in lengths.values())
        minutes = _minutes(0, self._total)
        self._task = progress.add_task(self._title(), total=self._total, minutes=minutes, speed="")

    def heard(self, seconds: float) -> None:
        """Move on by so many seconds of audio."""
        with self._lock:
            self._heard += seconds
            speed = self._heard / max(time.monotonic() - self._started, 1e-3)
            self._progress.update(
                self._task,
                completed=min(self._heard, self._total or self._heard),
                minutes=_minutes(self._heard, self._total),
                speed=f"{speed:.1f}x real time",
            )

    def say(self, line: str) -> None:
        """Print `line` above the bar."""
        self._progress.console.print(line, markup=False, highlight=False)

    def result(self, result: Result) -> None:
        """Count one recording; only a failure gets a line."""
        with self._lock:
            self._finished += 1
            if isinstance(result, Skipped) and self._total:
                self._total -= self._lengths.get(result.recording.path) or 0.0
            minutes = _minutes(self._heard, self._total)
            self._progress.update(self._task, description=self._title(), total=self._total, minutes=minutes)
        if isinstance(result, Failed):
            self.say(told(result))

    def _title(self) -> str:
        return f"{self._finished}/{self._files} recordings" if self._files > 1 else "transcribing"


@contextmanager
def watched(found: Sequence[Recording | Missing], parallelism: int) -> Iterator[Lines]:
    """The bar if stderr is a terminal, else lines."""
    if not sys.stderr.isatty():
        yield Lines()
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
    console = Console(stderr=True)
    lengths = _lengths([one for one in found if isinstance(one, Recording)], parallelism)
    with Progress(*columns, console=console, redirect_stdout=sys.stdout.isatty()) as progress:
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
    return f"{heard / 60:.1f}" + (f"/{total / 60:.1f} min" if total else " min")
