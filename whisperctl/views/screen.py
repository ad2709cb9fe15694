"""A line for each operation in progress, redrawn at the end of the terminal; what has ended stays above as plain lines.

Under each line stand the last lines of its log and its messages. They go when it ends: what a build said is counted,
and a failure is told with its last lines in the report. With `verbose` everything stays, and nothing stands below.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import assert_never

from rich.console import Console, ConsoleOptions
from rich.live import Live
from rich.text import Text

from whisperctl.apply.events import Event, Message, OperationEnded, OperationFailed, OperationStarted, OperationStopped
from whisperctl.clock import Clock
from whisperctl.output import drawing
from whisperctl.state.resources import Address
from whisperctl.untrusted import printable_lines
from whisperctl.views.progress import VERBS, EventLines, about, elapsed

TAIL = 5
"""Lines shown below an operation, where there is room."""


@dataclass(slots=True)
class Row:
    """One operation in progress."""

    what: str
    since: float
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL))
    logged: int = 0


class Screen(EventLines):
    """Draws the operations in progress. Its lock is never held while rich draws, which has its own."""

    def __init__(self, clock: Clock, *, several: bool, color: bool, verbose: bool) -> None:
        super().__init__(several=several, color=color, verbose=verbose)
        self.clock = clock
        self._rows: dict[tuple[str, Address], Row] = {}
        self._console = Console(
            file=drawing(sys.stderr),
            force_terminal=True,
            color_system="standard" if color else None,
            no_color=not color,
        )
        self._live = Live(self, console=self._console, transient=True, redirect_stdout=False)

    def __enter__(self) -> None:
        self._live.start()
        # rich hides the cursor: a process that is killed could not bring it back.
        self._console.show_cursor(True)

    def close(self) -> None:
        """Wipe away what is in progress."""
        with self._lock:
            self._rows.clear()
        with suppress(OSError):  # a terminal that hung up has nothing left to wipe
            self._live.stop()

    def __call__(self, event: Event) -> None:
        """Take in what happened; print what stays."""
        with self._lock:
            text = self._take_in(event)
        if text is not None:
            self.show(text)

    def show(self, text: str) -> None:
        """Print above what is in progress."""
        self._console.print(Text.from_ansi(text), soft_wrap=True)

    def _take_in(self, event: Event) -> str | None:
        """Keep the rows; the lines to print above them."""
        key = (event.stack, about(event))
        match event:
            case OperationStarted(operation=operation):
                what = f"{self.prefix(event)}{operation.address}: {VERBS[operation.kind][0]}..."
                self._rows[key] = Row(what=what, since=self.clock.monotonic())
                return self.line(event) if self.verbose else None
            case Message():
                return self._message(event, self._rows.get(key))
            case OperationEnded():
                row = self._rows.pop(key, None)
                return self.line(event, row.logged if row else 0)
            case OperationFailed():
                return self._failed(event, self._rows.pop(key, None))
            case OperationStopped():
                self._rows.pop(key, None)
                return None
            case _:
                assert_never(event)

    def _message(self, event: Message, row: Row | None) -> str | None:
        lines = printable_lines(event.text)
        if self.verbose or row is None or event.level == "warn":
            return "\n".join(str(self.line(replace(event, text=line))) for line in lines)
        row.tail.extend(f"| {line}" if event.level == "log" else line for line in lines)
        row.logged += event.level == "log"
        return None

    def _failed(self, event: OperationFailed, row: Row | None) -> str | None:
        """The line; with the last ones of the log while others go on: the report, which has them too, comes later."""
        tail = row.tail if row and self._rows else ()
        return "\n".join([str(self.line(event)), *(f"    {line}" for line in tail)])

    def __rich_console__(self, console: Console, _options: ConsoleOptions) -> Iterator[Text]:
        with self._lock:
            rows = [replace(row, tail=row.tail.copy()) for row in self._rows.values()]
        # Not rich's own idea of the size, which believes COLUMNS: a line that is too long leaves its traces.
        width, height = os.get_terminal_size(console.file.fileno())
        yield from frame(rows, self.clock.monotonic(), width or 80, height or 24)


def frame(rows: Sequence[Row], now: float, width: int, height: int) -> list[Text]:
    """What is drawn: at most `height` lines of at most `width` columns; the last is empty, for keys that are typed."""
    room = max(height - 2, 1)
    shown = rows if len(rows) <= room else rows[: room - 1]
    talking = sum(1 for row in shown if row.tail)
    below = min((room - len(shown)) // talking, TAIL) if talking else 0
    lines = []
    for row in shown:
        lines.append(_head(row, now, width))
        lines += [_cut(f"    {line}", width, "dim") for line in list(row.tail)[max(len(row.tail) - below, 0) :]]
    if len(shown) < len(rows):
        lines.append(_cut(f"and {len(rows) - len(shown)} more", width))
    return [*lines, Text()]


def _head(row: Row, now: float, width: int) -> Text:
    seconds = now - row.since
    took = f" {elapsed(seconds)}" if seconds >= 10 else f" {seconds:.0f} s"
    return _cut(row.what, max(width - len(took), 1)).append(took)


def _cut(text: str, width: int, style: str = "") -> Text:
    line = Text(text.expandtabs(4), style=style, no_wrap=True)
    line.truncate(width, overflow="ellipsis")
    return line
