"""The main job end to end on this machine: a stack file becomes an endpoint that transcribes, and goes away again.

Starts a local UbiOps (`whisperctl emulator`) on a free port with its data in a temporary folder, runs whisperctl's
commands against it as a person would, and holds each to what it promises. Exits 0 only if every step kept its
promise; stops what it started in any case, also when interrupted. Run by `make demo`, with .venv's Python.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from types import FrameType

from ubiops_emulator import testing

ROOT = Path(__file__).resolve().parent.parent
AUDIO = "tea-with-doctor.wav"
PATIENCE = 60.0  # seconds that a process gets to end when it is told to
LOG_LINE = re.compile(r"(\[[^\]]+\] )?\S+: \| ")
"""What whisperctl prints of a build's or a server's log: `version/demo/v1: | Loading weights`."""
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where `vllm` is


class BrokenPromiseError(Exception):
    """A step did not do what it says."""


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    began = time.monotonic()
    with emulator() as environment:
        walk_through(environment)
    print("it has stopped")
    print(f"\nThe demo did everything it says, in {time.monotonic() - began:.0f} s.")


def walk_through(environment: Mapping[str, str]) -> None:
    spec = "specs/demo.yaml" if version("vllm").endswith("+cpu") else "specs/demo-gpu.yaml"
    heading("Check the stack file, offline")
    whisperctl(environment, "validate", spec)

    heading("Show what the project lacks (exit code 2: changes are pending)")
    whisperctl(environment, "plan", "--detailed-exitcode", spec, promised=2)

    heading("Create it, start a real vLLM on it (about a minute), and see that it transcribes")
    whisperctl(environment, "apply", "--yes", spec)

    heading("Transcribe a file through the service")
    text = whisperctl(environment, "transcribe", "-f", spec, f"specs/samples/{AUDIO}").strip()
    spoken = json.loads((ROOT / "specs/samples/samples.json").read_text())[AUDIO]["text"]
    if text != spoken:
        raise BrokenPromiseError(f"the transcript should be {spoken!r}")
    print("(word for word what the file says)")

    heading("Plan again: nothing to do (exit code 0)")
    whisperctl(environment, "plan", "--detailed-exitcode", spec)

    heading("Delete everything, and see that nothing is left to delete (exit code 0)")
    whisperctl(environment, "destroy", "--yes", spec)
    whisperctl(environment, "plan", "--destroy", "--detailed-exitcode", spec)

    heading("Stop the local UbiOps")


def heading(text: str) -> None:
    print(f"\n=== {text}", flush=True)


def whisperctl(environment: Mapping[str, str], *arguments: str, promised: int = 0) -> str:
    """Run one command, show what it prints and return its stdout; it must end with the promised exit code."""
    print(f"$ whisperctl {shlex.join(arguments)}", flush=True)
    with running(arguments, environment) as process, told_briefly(process.stderr):
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
        exit_code = process.wait()
    if exit_code != promised:
        raise BrokenPromiseError(f"`whisperctl {arguments[0]}` ended with exit code {exit_code}, not {promised}")
    return "".join(lines)


@contextmanager
def told_briefly(stderr: Iterable[str] | None) -> Iterator[None]:
    """Print what a command says meanwhile, but of logs; a terminal shows it in whisperctl's own live view."""
    if stderr is None:
        yield
        return
    reading = threading.Thread(target=lambda: sys.stderr.writelines(without_logs(stderr)))
    reading.start()
    yield
    reading.join()


def without_logs(lines: Iterable[str]) -> Iterator[str]:
    """The lines; those of a log are only counted: vLLM writes hundreds while it starts, none for a newcomer."""
    withheld = 0
    for line in lines:
        if LOG_LINE.match(line):
            withheld += 1
            continue
        if withheld:
            noun, them = ("line", "it") if withheld == 1 else ("lines", "them")
            yield f"  ({withheld} {noun} of its log; `whisperctl logs` shows {them})\n"
            withheld = 0
        yield line


@contextmanager
def emulator() -> Iterator[Mapping[str, str]]:
    """A local UbiOps for as long as the block runs; gives the environment that points whisperctl to it."""
    heading("Start a local UbiOps in the background")
    print("$ whisperctl emulator --port 0 --speed 1000 &", flush=True)
    environment = {**os.environ, "PATH": PATH}
    with testing.running("--speed", "1000", environ=environment) as ubiops:
        print(f"it listens on {ubiops.host}", flush=True)
        try:
            yield {**environment, **ubiops.environ}
        except BrokenPromiseError:
            last_words = ubiops.log.read_text().splitlines()[-20:]
            print("\nThe local UbiOps' last words:", *last_words, sep="\n  ", file=sys.stderr)
            raise


@contextmanager
def running(arguments: Sequence[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """whisperctl in a process group of its own, of which nothing is left when the block ends, however it ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "whisperctl", *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=None if sys.stderr.isatty() else subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def interrupted(number: int, _frame: FrameType | None) -> None:
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)  # once is enough: what was started is being stopped
    print("\nInterrupted: stopping what was started", file=sys.stderr, flush=True)
    sys.exit(128 + number)


if __name__ == "__main__":
    try:
        main()
    except BrokenPromiseError as broken:
        sys.exit(f"\nThe demo failed: {broken}.")
