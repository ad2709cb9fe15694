"""Start and stop one variant's server: the tutorial's command, or the rendered package through its Deployment class."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from machine import descendants
from variants import TUTORIAL, Variant

if TYPE_CHECKING:
    import psutil

PORT = 8123
NAME = "whisper"
"""The served name that the tutorial's command gets; the package has its own."""


class Server:
    """A running variant."""

    def __init__(self, variant: Variant, packages: Path, log: Path, port: int = PORT) -> None:
        self.url, self.log = f"http://127.0.0.1:{port}", log
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))  # a server of an earlier run would be measured instead
        address = {"WHISPERCTL_HOST": "127.0.0.1", "WHISPERCTL_PORT": str(port)}
        environment = {**os.environ, **variant.env, **address, "VLLM_EXTRA_ARGS": shlex.join(variant.extra)}
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                _command(variant, packages, port),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self, seconds: float) -> bool:
        """Whether /health answers 200 in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if urllib.request.urlopen(self.url + "/health", timeout=2).status == 200:
                    return True
            except OSError:
                time.sleep(0.2)
        return False

    def pids(self) -> list[int]:
        """The process that was started here."""
        return [self.process.pid]

    def stop(self) -> None:
        """SIGTERM, as UbiOps stops an instance; after 15 s SIGKILL to what is left."""
        everything = descendants(self.pids())
        self.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline and any(alive(process) for process in everything):
            self.process.poll()
            time.sleep(0.1)
        for process in everything:
            if alive(process):
                process.kill()
        self.process.wait()

    def problem(self) -> str:
        """The lines of the log that tell of an error, and its end."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        telling = [line[:240] for line in lines if "Error" in line or "error:" in line]
        return "\n".join([*telling[:12], "...", *(line[:200] for line in lines[-12:])])


def _command(variant: Variant, packages: Path, port: int) -> list[str]:
    if variant.rendered:
        return [sys.executable, str(Path(__file__).with_name("instance.py")), str(packages / variant.package)]
    model = str(next(packages.glob("*/model")))
    return [
        "vllm",
        "serve",
        model,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--served-model-name",
        NAME,
        *TUTORIAL,
        *variant.extra,
    ]


def alive(process: psutil.Process) -> bool:
    """Whether a process still runs (a zombie does not)."""
    import psutil

    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
