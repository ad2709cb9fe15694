"""The program on a pseudo-terminal, and what a person sees there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

import pyte

from tests.reconcile.project import Project

LINES_KEPT = 1000
PATIENCE = 60.0


class Terminal:
    """A command whose streams are a terminal of this size."""

    def __init__(self, project: Project, *args: str, columns: int = 100, rows: int = 24, **environ: str) -> None:
        self.screen = pyte.HistoryScreen(columns, rows, history=LINES_KEPT)
        self.screen.set_mode(pyte.modes.LNM)
        self._stream = pyte.ByteStream(self.screen)
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.raw = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "whisperctl", *args],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=project.environ(**({"TERM": "xterm-256color", "NO_COLOR": ""} | environ)),
        )
        os.close(theirs)

    @property
    def lines(self) -> list[str]:
        """Everything that can be seen by scrolling up, without the empty lines at the end."""
        columns = range(self.screen.columns)
        above = ["".join(line[column].data for column in columns) for line in self.screen.history.top]
        return "\n".join(line.rstrip() for line in [*above, *self.screen.display]).rstrip().split("\n")

    @property
    def shown(self) -> str:
        return "\n".join(self.lines)

    def until(self, pattern: str) -> None:
        """Read until a line like this is seen."""
        deadline = time.monotonic() + PATIENCE
        while not re.search(pattern, self.shown, re.MULTILINE):
            assert time.monotonic() < deadline, self.shown
            assert self._read(), self.shown

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

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
