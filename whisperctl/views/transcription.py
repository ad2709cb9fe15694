"""How a transcription run is going: a bar on a terminal, plain lines elsewhere. Writes to stderr only."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from whisperctl.output import drawing
from whisperctl.transcribe.recordings import Recording
from whisperctl.transcribe.results import Done, Failed, PassedOver, Result, Skipped

if TYPE_CHECKING:
    from rich.progress import Progress


class RecordingLines:
    """A line for each recording, for logs and pipes."""

    holds = False
    """Whether results must wait for the end: a bar would wipe away what is printed beside it."""

    def __init__(self, files: int) -> None:
        self._files, self._lock = files, threading.Lock()

    def opened(self, recording: Recording, seconds: float | None) -> None:
        """Say nothing: the line comes when it is done."""

    def advanced(self, seconds: float) -> None:
        """Say nothing: a line per piece would be noise."""

    def paced(self, level: int) -> None:
        """Say nothing: it changes often."""

    def say(self, line: str) -> None:
        """Print `line`."""
        with self._lock:
            click.echo(line, err=True)

    def finished(self, result: Result) -> None:
        """Print how one recording went; the failure of the only one is the error message itself."""
        if isinstance(result, PassedOver) or (self._files == 1 and isinstance(result, Failed)):
            return
        self.say(result_line(result))


class Bar(RecordingLines):
    """A bar with the speed as a multiple of real time: of minutes for one recording, of recordings for several."""

    def __init__(self, progress: Progress, files: int) -> None:
        super().__init__(files)
        self.holds = sys.stdout.isatty()
        self._progress, self._done, self._total = progress, 0, files
        self._length: float | None = None
        self._level: int | None = None
        self._transcribed, self._started = 0.0, time.monotonic()
        self._task = progress.add_task("", total=None, minutes="", speed="")
        self._show()

    def opened(self, recording: Recording, seconds: float | None) -> None:
        """Know how long the only recording is."""
        super().opened(recording, seconds)
        if self._files == 1:
            with self._lock:
                self._length = seconds
                self._show()

    def advanced(self, seconds: float) -> None:
        """Move on by so many seconds of audio."""
        with self._lock:
            self._transcribed += seconds
            self._show()

    def paced(self, level: int) -> None:
        """Show how many requests are in flight at most."""
        with self._lock:
            self._level = level
            self._show()

    def say(self, line: str) -> None:
        """Print `line` above the bar."""
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def finished(self, result: Result) -> None:
        """Count one recording, and print how it went above the bar."""
        with self._lock:
            if isinstance(result, PassedOver):
                self._total -= 1
            else:
                self._done += 1
            self._show()
        super().finished(result)

    def _show(self) -> None:
        speed = self._transcribed / max(time.monotonic() - self._started, 1e-3)
        alone = self._files == 1
        self._progress.update(
            self._task,
            description="transcribing" if alone else f"{self._done}/{self._total} recordings",
            total=self._length if alone else self._total,
            completed=min(self._transcribed, self._length or self._transcribed) if alone else self._done,
            minutes=_minutes(self._transcribed, self._length),
            speed=_speed(speed, self._level) if self._transcribed else "",
        )


@contextmanager
def watched(files: int) -> Iterator[RecordingLines]:
    """The bar if stderr is a terminal, else lines, for so many recordings."""
    if not sys.stderr.isatty():
        yield RecordingLines(files)
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
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as progress:
        yield Bar(progress, files)


def result_line(result: Result) -> str:
    """A line about one recording, and one for each thing its user should know."""
    match result:
        case Done(recording=recording, transcript=transcript, took=took, notes=notes):
            length = transcript.duration
            how = f"{length:.1f} s of audio in {took:.1f} s ({length / max(took, 1e-3):.1f}x)" if length else ""
            head = f"{recording.name}: {how or f'done in {took:.1f} s'}"
            return "\n".join([head, *(f"  {recording.name}: {note}" for note in notes)])
        case Skipped(recording=recording, target=target):
            return f"{recording.name}: skipped, {target} is there, made from it in the same way"
        case Failed(name=name, reason=reason):
            return f"{name}: failed: {reason.splitlines()[0] if reason else 'no reason given'}"
        case PassedOver(recording=recording):
            return f"{recording.name}: passed over, no recording"


def passed_over(suffixes: Sequence[str]) -> str:
    """One line about the files of folders that are no recordings: `5 files passed over: 3 .txt, 2 .jpg`."""
    counted = Counter(suffix or "without a suffix" for suffix in suffixes).most_common(8)
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in counted)
    files = "1 file" if len(suffixes) == 1 else f"{len(suffixes)} files"
    return f"{files} passed over, no recordings by their first bytes: {kinds}"


def _speed(speed: float, level: int | None) -> str:
    """`64 at a time, 2,310× real time`."""
    at_a_time = f"{level} at a time, " if level else ""
    return f"{at_a_time}{speed:,.{0 if speed >= 100 else 1}f}× real time"


def _minutes(seconds: float, total: float | None) -> str:
    digits = 1 if (total or seconds) >= 600 else 2
    return f"{seconds / 60:.{digits}f}" + (f"/{total / 60:.{digits}f} min" if total else " min")
