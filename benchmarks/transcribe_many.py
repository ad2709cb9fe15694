"""How soon `transcribe` shows and sends something for 5,000 files, and what memory 10,000 recordings take.

    .venv/bin/python -m benchmarks.transcribe_many [--files 5000] [--recordings 1000,10000]

The whole command as a user starts it, against the emulator and a stand-in server that answers at once. Seconds are
from the start of the process: to its first byte on a terminal, and to the first answer to a request (`-vv` prints
those). Memory is the process' own peak (`ru_maxrss`).
"""

from __future__ import annotations

import argparse
import os
import pty
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks import stub_server
from tests.endpoint import project as projects
from tests.endpoint import stacks
from whisperctl.transcribe import wav

DEPLOYMENT = """
import json, os, subprocess, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Deployment:
    def __init__(self, base_directory, context):
        server = os.path.join(os.path.dirname(os.path.abspath(__file__)), "stub_server.py")
        port = os.environ["WHISPERCTL_PORT"]
        subprocess.Popen([sys.executable, server, "--port", port, "--capacity", "1000", "--seconds", "0"])

    def request(self, data):
        return json.dumps({"status": "healthy"})
"""


def recordings(folder: Path, count: int) -> None:
    """Half a second of noise each, under `count` names."""
    noise = (np.random.default_rng(1).standard_normal(8000) * 3000).astype(np.int16)
    content = wav.header(noise) + noise.tobytes()
    for number in range(count):
        (folder / f"{number:05}.wav").write_bytes(content)


def command(folder: str, out: str, *more: str) -> list[str]:
    return [sys.executable, "-m", "whisperctl", *more, "transcribe", folder, "-o", out, "--language", "en"]


def first_output(where: Path, environment: Mapping[str, str], folder: str) -> float:
    """Seconds to the first byte on a terminal."""
    began = time.monotonic()
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(where)
        os.execvpe(sys.executable, command(folder, "out-terminal"), {**environment, "TERM": "xterm-256color"})
    select.select([terminal], [], [], 120)
    took = time.monotonic() - began
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    os.close(terminal)
    return took


def first_answer(where: Path, environment: Mapping[str, str], folder: str) -> float:
    """Seconds to the first answer to a request."""
    began = time.monotonic()
    asked = command(folder, "out-first", "-vv")
    with subprocess.Popen(asked, cwd=where, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("POST"):
                break
        took = time.monotonic() - began
        process.kill()
    return took


def peak(where: Path, environment: Mapping[str, str], folder: str) -> tuple[float, float]:
    """Peak memory in MiB and seconds of a whole run."""
    began = time.monotonic()
    process = subprocess.Popen(command(folder, f"out-{folder}"), cwd=where, env=environment, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"the run ended with {process.returncode}")
    return used.ru_maxrss / 1024, time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--recordings", default="1000,10000")
    options = parser.parse_args()
    package = projects.package_of(DEPLOYMENT, Path(stub_server.__file__))
    with tempfile.TemporaryDirectory() as name, projects.deployed(Path(name) / "emulator", package) as project:
        where = Path(name)
        stacks.write(where)
        environment = {**project.environment(), "PYTHONPATH": str(Path.cwd())}
        (where / "many").mkdir()
        recordings(where / "many", options.files)
        print("| | |\n|---|---|")
        print(f"| first byte on a terminal, {options.files} files | {first_output(where, environment, 'many'):.2f} s |")
        print(f"| first answer, {options.files} files | {first_answer(where, environment, 'many'):.2f} s |", flush=True)
        for count in map(int, options.recordings.split(",")):
            folder = where / f"of-{count}"
            folder.mkdir()
            recordings(folder, count)
            memory, seconds = peak(where, environment, folder.name)
            print(f"| {count} recordings | {memory:.0f} MiB, {seconds:.0f} s |", flush=True)


if __name__ == "__main__":
    main()
