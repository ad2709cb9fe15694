"""An emulator as its own process, for any test that wants a UbiOps to talk to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

START_TIMEOUT = 30.0
STOP_TIMEOUT = 30.0
EXPORT = "export UBIOPS_API_HOST="


@dataclass(slots=True)
class EmulatorProcess:
    """A running `whisperctl emulator`; `stderr` is the file that its log goes to."""

    process: subprocess.Popen[str]
    host: str
    token_file: Path
    stderr: Path
    output: list[str]

    @property
    def token(self) -> str:
        return self.token_file.read_text().strip()

    @property
    def root(self) -> str:
        """The address without the API's version: where `/_emulator/` is."""
        return self.host.removesuffix("/v2")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal it and wait; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            if self.process.stdout is not None:
                self.process.stdout.close()
        return code


def start_emulator(data_dir: Path, *args: str) -> EmulatorProcess:
    """Start one on a free port and wait until it listens.

    Args:
        data_dir: its state; may hold that of an earlier run.
        args: further command-line arguments.

    Raises:
        RuntimeError: it ended or did not listen in time; with its log.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    token_file, stderr = data_dir / "token", data_dir / "stderr.log"
    command = [sys.executable, "-m", "whisperctl", "emulator", "--port", "0", "--data", str(data_dir), *args]
    with stderr.open("a") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=_environment())
    lines: Queue[str] = Queue()
    Thread(target=_read, args=(process, lines), daemon=True).start()
    output: list[str] = []
    try:
        while not output or "UBIOPS_API_TOKEN" not in output[-1]:
            line = lines.get(timeout=START_TIMEOUT)
            if not line:
                raise Empty
            output.append(line.strip())
    except Empty:
        process.kill()
        process.wait()
        raise RuntimeError(f"the emulator did not start:\n{stderr.read_text()}") from None
    host = next(line.removeprefix(EXPORT) for line in output if line.startswith(EXPORT))
    return EmulatorProcess(process, host, token_file, stderr, output)


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("UBIOPS_")}


def _read(process: subprocess.Popen[str], lines: Queue[str]) -> None:
    assert process.stdout is not None
    with suppress(ValueError):  # closed by stop()
        for line in process.stdout:
            lines.put(line)
    lines.put("")
