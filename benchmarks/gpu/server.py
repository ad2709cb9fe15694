"""Start and stop one variant's server: the tutorial's command, or the rendered package through its Deployment class."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from machine import descendants
from variants import TUTORIAL, Variant

PORT = 8123
NAME = "whisper"
"""The served name that the tutorial's command gets; the package has its own."""


class Server:
    """A running variant: one process for the front ends and the first engine, one for each further engine."""

    def __init__(self, variant: Variant, package: Path, log: Path, port: int = PORT) -> None:
        self.url, self.log, self.port = f"http://127.0.0.1:{port}", log, port
        environment = {**os.environ, "PYTHONPATH": python_path(), **variant.env}
        model = str(package / "model")
        self.processes: list[subprocess.Popen[bytes]] = []
        with log.open("wb") as output:
            for command, more in self._commands(variant, package, model):
                self.processes.append(
                    subprocess.Popen(
                        command,
                        env={**environment, **more},
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                )

    def _commands(self, variant: Variant, package: Path, model: str) -> list[tuple[list[str], dict[str, str]]]:
        if not variant.rendered:
            address = ["--host", "127.0.0.1", "--port", str(self.port), "--served-model-name", NAME]
            return [(["vllm", "serve", model, *address, *TUTORIAL, *variant.extra], {})]
        main = [sys.executable, str(Path(__file__).with_name("instance.py")), str(package)]
        settings = {"WHISPERCTL_HOST": "127.0.0.1", "WHISPERCTL_PORT": str(self.port)}
        meeting = ["--data-parallel-rpc-port", str(self.port + 5000)] if variant.engines > 1 else []
        settings["VLLM_EXTRA_ARGS"] = shlex.join([*variant.extra, *meeting])
        commands = [(main, settings)]
        for rank in range(1, variant.engines):
            headless = ["--headless", "--data-parallel-start-rank", str(rank), "--max-model-len", "448"]
            options = [*without(variant.extra, "--api-server-count"), *meeting]
            commands.append((["vllm", "serve", model, *headless, *options], {"OMP_NUM_THREADS": "1"}))
        return commands

    def wait(self, seconds: float) -> bool:
        """Whether /health answers 200 in time, with every process alive."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and all(process.poll() is None for process in self.processes):
            try:
                if urllib.request.urlopen(self.url + "/health", timeout=2).status == 200:
                    return True
            except OSError:
                time.sleep(0.2)
        return False

    def pids(self) -> list[int]:
        """The processes that were started here."""
        return [process.pid for process in self.processes]

    def stop(self) -> None:
        """SIGTERM, as UbiOps stops an instance; after 15 s SIGKILL to what is left."""
        everything = descendants(self.pids())
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline and any(alive(process) for process in everything):
            for process in self.processes:
                process.poll()
            time.sleep(0.1)
        for process in everything:
            if alive(process):
                process.kill()
        for started in self.processes:
            started.wait()

    def problem(self) -> str:
        """The lines of the log that tell of an error, and its end."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        telling = [line[:240] for line in lines if "Error" in line or "error:" in line]
        return "\n".join([*telling[:12], "...", *(line[:200] for line in lines[-12:])])


def alive(process: Any) -> bool:
    """Whether a process still runs (a zombie does not)."""
    import psutil

    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def python_path() -> str:
    """Where the server finds modules: as it was, and here, for `paced`."""
    return os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), str(Path(__file__).resolve().parent)])


def without(options: list[str], name: str) -> list[str]:
    """The options less one that takes a value."""
    if name not in options:
        return options
    at = options.index(name)
    return options[:at] + options[at + 2 :]
