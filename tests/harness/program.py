"""whisperctl as a program: run inside this process to be quick, or as a process where that matters.

Contract: what runs sees the variables, the folder and the streams that it is given, and nothing else of the caller's.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ubiops_emulator.testing import Emulator
from whisperctl.cli.main import main


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def all(self) -> str:
        return self.out + self.err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def environment(emulator: Emulator, **more: str) -> dict[str, str]:
    """This process' variables, those that point to an emulator, and `more`; an empty one is taken away.

    No command asks the model hub, unless a test lets it.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("UBIOPS_")}
    inherited["HF_HUB_OFFLINE"] = "1"
    return {name: value for name, value in {**inherited, **emulator.environ, **more}.items() if value}


def run(*args: str, environ: Mapping[str, str], folder: Path | None = None, stdin: str = "") -> Ran:
    """`whisperctl ARGS` inside this process, with pipes for a terminal.

    Args:
        args: as on a command line.
        environ: all of its environment variables.
        folder: where it runs; the current one without it.
        stdin: what it reads there.
    """
    out, err = _stream(), _stream()
    here = chdir(folder) if folder else nullcontext()
    with here, _environ(environ), _stdin(_stream(stdin)), redirect_stdout(out), redirect_stderr(err):
        try:
            main(args)
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Ran(code, _text(out), _text(err))


def start(
    *args: str,
    environ: Mapping[str, str],
    folder: Path | None = None,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
) -> subprocess.Popen[str]:
    """`whisperctl ARGS` as a process of its own, running."""
    command = [sys.executable, "-m", "whisperctl", *args]
    return subprocess.Popen(command, cwd=folder, env=environ, stdin=stdin, stdout=stdout, stderr=stderr, text=True)


def _stream(text: str = "") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8", newline="", write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()


@contextmanager
def _environ(values: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _stdin(stream: io.TextIOWrapper) -> Iterator[None]:
    before = sys.stdin
    sys.stdin = stream
    try:
        yield
    finally:
        sys.stdin = before
