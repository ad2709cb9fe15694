"""The program on a pseudo-terminal, and what a person sees there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Mapping
from pathlib import Path

import pyte

from tests.harness import program

LINES_KEPT = 1000
PATIENCE = 60.0


class Terminal:
    """A command whose streams are a terminal of this size; `raw` is all that it wrote, escape sequences included.

    Args:
        args: as on a command line.
        environ: all of its environment variables; this terminal is an `xterm-256color`.
        folder: where it runs; the current one without it.
        columns: width in characters.
        rows: height in lines.
    """

    def __init__(
        self,
        *args: str,
        environ: Mapping[str, str],
        folder: Path | None = None,
        columns: int = 100,
        rows: int = 24,
    ) -> None:
        self.screen = pyte.HistoryScreen(columns, rows, history=LINES_KEPT)
        self.screen.set_mode(pyte.modes.LNM)
        self._stream = pyte.ByteStream(self.screen)
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.raw = ""
        self.process = program.start(*args, environ=environ, folder=folder, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)

    @property
    def lines(self) -> list[str]:
        """Everything that can be seen by scrolling up, without the empty lines at the end."""
        columns = range(self.screen.columns)
        above = ["".join(line[column].data for column in columns) for line in self.screen.history.top]
        return "\n".join(line.rstrip() for line in [*above, *self.screen.display]).rstrip().split("\n")

    @property
    def shown(self) -> str:
        """`lines` as one text."""
        return "\n".join(self.lines)

    def until(self, pattern: str) -> None:
        """Read until a line like this is seen."""
        deadline = time.monotonic() + PATIENCE
        while not re.search(pattern, self.shown, re.MULTILINE):
            assert time.monotonic() < deadline, self.shown
            assert self._read(), self.shown

    def rests(self) -> None:
        """Return once it waits for what is typed: a signal just before that would be seen with the next key only."""
        used, since = "", time.monotonic()
        while time.monotonic() - since < 0.3:
            now = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
            if (spent := f"{now[0]} {now[11:13]}") != used or now[0] != "S":
                used, since = spent, time.monotonic()
            time.sleep(0.05)

    def type(self, text: str) -> None:
        """As somebody at the keyboard would."""
        os.write(self._ours, text.encode())

    def hang_up(self) -> None:
        """As an ssh connection does that breaks."""
        os.close(self._ours)
        self.process.send_signal(signal.SIGHUP)

    def end(self) -> int:
        """The exit code, once everything is read."""
        while self._read():
            pass
        os.close(self._ours)
        return self.process.wait(PATIENCE)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._ours], [], [], PATIENCE)
        try:
            data = os.read(self._ours, 65536) if ready else b""
        except OSError:  # how Linux says that nobody holds the other end any more
            data = b""
        self._stream.feed(data)
        self.raw += data.decode(errors="replace")
        return bool(data)
