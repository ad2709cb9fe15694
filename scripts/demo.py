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
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
SPEC = "specs/demo.yaml" if version("vllm").endswith("+cpu") else "specs/demo-gpu.yaml"
AUDIO = "tea-with-doctor.wav"
PATIENCE = 60.0  # seconds that the emulator gets to start listening, and any process to end when it is told to


class BrokenPromiseError(Exception):
    """A step did not do what it says."""


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="whisperctl-demo-") as scratch:
        with emulator(Path(scratch)) as environment:
            walk_through(environment)
        print("it has stopped")
    print(f"\nThe demo did everything it says, in {time.monotonic() - began:.0f} s.")


def walk_through(environment: Mapping[str, str]) -> None:
    heading("Check the stack file, offline")
    whisperctl(environment, "validate", SPEC)

    heading("Show what the project lacks (exit code 2: changes are pending)")
    whisperctl(environment, "plan", "--detailed-exitcode", SPEC, promised=2)

    heading("Create it, start a real vLLM on it (about a minute), and see that it transcribes")
    whisperctl(environment, "apply", "--yes", SPEC)

    heading("Transcribe a file through the service")
    text = whisperctl(environment, "transcribe", "-f", SPEC, f"specs/samples/{AUDIO}").strip()
    spoken = json.loads((ROOT / "specs/samples/samples.json").read_text())[AUDIO]["text"]
    if text != spoken:
        raise BrokenPromiseError(f"the transcript should be {spoken!r}")
    print("(word for word what the file says)")

    heading("Plan again: nothing to do (exit code 0)")
    whisperctl(environment, "plan", "--detailed-exitcode", SPEC)

    heading("Delete everything, and see that nothing is left to delete (exit code 0)")
    whisperctl(environment, "destroy", "--yes", SPEC)
    whisperctl(environment, "plan", "--destroy", "--detailed-exitcode", SPEC)

    heading("Stop the local UbiOps")


def heading(text: str) -> None:
    print(f"\n=== {text}", flush=True)


def whisperctl(environment: Mapping[str, str], *arguments: str, promised: int = 0) -> str:
    """Run one command, show what it prints and return its stdout; it must end with the promised exit code."""
    print(f"$ whisperctl {shlex.join(arguments)}", flush=True)
    with running(arguments, environment, subprocess.PIPE) as process:
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
def emulator(scratch: Path) -> Iterator[Mapping[str, str]]:
    """A local UbiOps for as long as the block runs; gives the environment that points whisperctl to it."""
    heading("Start a local UbiOps in the background")
    token, log = scratch / "token", scratch / "emulator.log"
    arguments = ["emulator", "--port", "0", "--data", str(scratch / "data"), "--write-token", str(token)]
    arguments += ["--speed", "1000"]
    print(f"$ whisperctl {shlex.join(arguments)} &", flush=True)
    with log.open("w") as output, running(arguments, os.environ, output) as process:
        try:
            host = announced_host(process, log)
            print(f"it listens on {host}", flush=True)
            secret = token.read_text().strip()
            yield {**os.environ, "UBIOPS_API_HOST": host, "UBIOPS_PROJECT": "demo", "UBIOPS_API_TOKEN": secret}
        except BrokenPromiseError:
            print("\nThe local UbiOps' last words:", *log.read_text().splitlines()[-20:], sep="\n  ", file=sys.stderr)
            raise


def announced_host(process: subprocess.Popen[str], log: Path) -> str:
    """The address that the emulator prints once it listens."""
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        if found := re.search(r"^export UBIOPS_API_HOST=(\S+)$", log.read_text(), re.MULTILINE):
            return found[1].strip("'\"")
        time.sleep(0.1)
    raise BrokenPromiseError("the emulator did not start listening")


@contextmanager
def running(
    arguments: tuple[str, ...] | list[str], environment: Mapping[str, str], stdout: int | IO[str]
) -> Iterator[subprocess.Popen[str]]:
    """whisperctl in a process group of its own, of which nothing is left when the block ends, however it ends."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"  # where `vllm` is
    process = subprocess.Popen(
        [sys.executable, "-m", "whisperctl", *arguments],
        cwd=ROOT,
        env={**environment, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=None if stdout == subprocess.PIPE else subprocess.STDOUT,
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
