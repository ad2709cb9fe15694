"""A shell that a page's commands are typed into, one after the other, as a reader would."""

from __future__ import annotations

import os
import pty
import select
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.blocks import QUESTION, Command, differs

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 600.0
DOCUMENTED_PORTS = ("8787", "8000")
"""The emulator's and the proxy's port on the pages; free ones stand for them, so that tests can run side by side."""


@dataclass(slots=True)
class Shell:
    """A running bash in a folder of its own; exports and `cd` last from one command to the next."""

    shell: subprocess.Popen[str]
    folder: Path
    ports: dict[str, str]
    behind: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, command: Command) -> str:
        """Type it, wait, and hold it to what the page says; what it printed, errors included."""
        if command.runs_on:
            return self._run_on(command)
        printed, code = self._answer(command) if command.answers else self.type(command.text)
        story = f"{command.where}: $ {command.text}\n{printed}"
        assert code == command.exit_code, f"exit code {code}, not {command.exit_code}\n{story}"
        difference = differs(command.shown, printed) if command.shown else None
        assert difference is None, f"{command.where}: $ {command.text}\n{difference}"
        return printed

    def type(self, text: str) -> tuple[str, int]:
        """What a command prints on both streams, and its exit code.

        Raises:
            TimeoutError: it did not end in time.
        """
        assert self.shell.stdin is not None
        assert self.shell.stdout is not None
        output = self.folder.parent / "printed"
        output.write_text("")
        self.shell.stdin.write(f"{{ {self._here(text)}\n}} >> {output} 2>> {output} < /dev/null; echo $?\n")
        self.shell.stdin.flush()
        ready, _, _ = select.select([self.shell.stdout], [], [], PATIENCE)
        if not ready:
            raise TimeoutError(f"still running after {PATIENCE:.0f} s: {text}\n{output.read_text()}")
        answer = self.shell.stdout.readline().strip()
        assert answer, f"the shell ended: {text}\n{output.read_text()}"
        return output.read_text(), int(answer)

    def _run_on(self, command: Command) -> str:
        """Start it in the background, in this shell's folder, and wait until it printed what the page shows."""
        log = self.folder.parent / f"behind-{len(self.behind)}"
        environment = self.shell_environment()
        with log.open("wb") as output, log.with_suffix(".errors").open("wb") as errors:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {self._here(command.text)}"],
                cwd=environment["PWD"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )
        self.behind.append(process)
        deadline = time.monotonic() + 60
        while difference := differs(command.shown, log.read_text()):
            assert process.poll() is None, f"{command.where}: it ended\n{log.with_suffix('.errors').read_text()}"
            assert time.monotonic() < deadline, f"{command.where}: {difference}"
            time.sleep(0.1)
        return log.read_text()

    def _answer(self, command: Command) -> tuple[str, int]:
        """Run it on a terminal, in this shell's folder; type the page's answers to its questions."""
        environment, answers = self.shell_environment(), command.answers
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            ["bash", "-c", self._here(command.text)],
            cwd=environment["PWD"],
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        self.behind.append(process)
        os.close(theirs)
        printed = ""
        while shown := _read(ours):
            printed += shown
            if answers and printed.endswith(QUESTION):
                os.write(ours, f"{answers.pop(0)}\n".encode())
        os.close(ours)
        return printed, process.wait(PATIENCE)

    def shell_environment(self) -> dict[str, str]:
        printed, _ = self.type("env --null")
        return dict(entry.split("=", 1) for entry in printed.split("\0") if "=" in entry)

    def _here(self, text: str) -> str:
        for documented, free in self.ports.items():
            text = text.replace(documented, free)
        return text

    def close(self) -> None:
        """End the shell and everything that was started from it."""
        for process in self.behind:
            process.send_signal(signal.SIGTERM)
        for process in self.behind:
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
        with suppress(ProcessLookupError):
            os.killpg(self.shell.pid, signal.SIGTERM)
        self.shell.wait(60)
        for stream in (self.shell.stdin, self.shell.stdout):
            if stream is not None:
                stream.close()


def _read(ours: int) -> str:
    """What a terminal shows next; nothing when its program has ended.

    Raises:
        TimeoutError: it showed nothing in time.
    """
    if not select.select([ours], [], [], PATIENCE)[0]:
        raise TimeoutError(f"nothing was shown for {PATIENCE:.0f} s")
    try:
        return os.read(ours, 65536).decode()
    except OSError:  # how Linux says that nobody holds the other end any more
        return ""


@contextmanager
def opened_shell(scratch: Path, more: Mapping[str, str] | None = None) -> Iterator[Shell]:
    """A shell with `whisperctl` on its PATH, no UbiOps in its environment but `more`, and nothing of the user's."""
    folder, programs = scratch / "here", scratch / "programs"
    folder.mkdir()
    programs.mkdir()
    program = programs / "whisperctl"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m whisperctl "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    # `make test ARGS=...` would hand its own ARGS to every `make` below it.
    foreign = ("UBIOPS_", "PYTEST_", "MAKE", "MFLAGS", "ARGS")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), inherited["PATH"]])
    shell = subprocess.Popen(
        ["bash", "--norc", "--noprofile"],
        cwd=folder,
        env={
            **inherited,
            "PATH": path,
            "PYTHONPATH": str(ROOT),
            "HOME": str(scratch),
            "COLUMNS": "120",
            **(more or {}),
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    opened = Shell(shell=shell, folder=folder, ports={port: free_port() for port in DOCUMENTED_PORTS})
    try:
        yield opened
    finally:
        opened.close()


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])
