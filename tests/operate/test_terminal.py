"""On a terminal: colours, and a question before anything is changed; without one: plain lines."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from tests.operate.conftest import SECOND, Operator, writes


class Screen:
    """A command on a pseudo-terminal: what it shows, and what is typed."""

    def __init__(self, operator: Operator, *args: str, **env: str) -> None:
        self.terminal, theirs = pty.openpty()
        self.shown = ""
        self.process = subprocess.Popen(
            operator.command(*args),
            cwd=operator.folder,
            env=operator.env(TERM="xterm-256color", **env),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            close_fds=True,
        )
        os.close(theirs)

    def until(self, text: str) -> None:
        """Read until `text` is shown."""
        deadline = time.monotonic() + 30
        while text not in self.shown:
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
        os.write(self.terminal, text.encode())

    def _read(self) -> bool:
        ready, _, _ = select.select([self.terminal], [], [], 30)
        try:
            data = os.read(self.terminal, 65536) if ready else b""
        except OSError:  # how Linux says that nobody holds the other end any more
            data = b""
        self.shown += data.decode()
        return bool(data)

    def end(self) -> int:
        """The exit code, once everything is read."""
        while self._read():
            pass
        os.close(self.terminal)
        return self.process.wait(30)


@pytest.mark.parametrize("args", [("status",), ("history",), ("doctor",), ("logs", "--since", "1h")])
def test_colours_are_for_terminals(operator: Operator, args: tuple[str, ...]) -> None:
    screen = Screen(operator, *args)
    assert screen.end() == 0
    assert "\x1b[" in screen.shown
    plain = operator.good(*args)
    assert "\x1b" not in plain.all
    quiet = Screen(operator, *args, NO_COLOR="1")
    quiet.end()
    assert "\x1b[" not in quiet.shown
    assert "\x1b[" in operator.good(*args, "--color", "always").out
    assert operator.good("--color", "never", *args).out.splitlines()[0] == plain.out.splitlines()[0]


def test_rollback_takes_no_for_an_answer(operator: Operator, control: httpx.Client) -> None:
    screen = Screen(operator, "rollback")
    screen.until("Roll back? [y/N]: ")
    assert "goes back to an earlier revision" in screen.shown
    screen.type("n\n")
    assert screen.end() == 1
    assert "Nothing was changed." in screen.shown
    assert writes(control) == []


def test_rollback_goes_ahead_when_told_to(operator: Operator) -> None:
    screen = Screen(operator, "rollback")
    screen.until("Roll back? [y/N]: ")
    screen.type("y\n")
    assert screen.end() == 0
    assert "Rolled back speech" in screen.shown


def test_adopt_asks_and_ctrl_c_is_a_no(operator: Operator, control: httpx.Client) -> None:
    operator.write(SECOND.replace(" speech", " fresh"))
    from whisperctl.control.api import Api

    api = Api(operator.emulator.host, "demo", operator.emulator.token)
    api.create_deployment({"name": "fresh", "input_type": "plain", "output_type": "plain"})
    api.rest.session.close()
    control.delete("/journal")
    screen = Screen(operator, "adopt", "stack.yaml")
    screen.until("Take them over? [y/N]: ")
    screen.rests()
    screen.process.send_signal(signal.SIGINT)
    assert screen.end() == 130
    assert writes(control) == []
