"""Where the engine's and the model's threads spend their time under full load, sampled with py-spy."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path

from load import Load
from machine import descendants, kind
from server import Server

SECONDS, RATE, CONCURRENCY = 6, 250, 256


def sample(server: Server, load: Load, out: Path) -> None:
    """Write one file of collapsed stacks for each engine and worker process into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    watches = []
    for process in descendants(server.pids()):
        with suppress(Exception):
            part = kind(" ".join(process.cmdline()))
            if part in ("engine", "worker"):
                options = ["-d", str(SECONDS), "-r", str(RATE), "-t", "-f", "raw"]
                target = str(out / f"{part}-{process.pid}.stacks")
                command = ["py-spy", "record", "-p", str(process.pid), *options, "-o", target]
                watches.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT))
    load.run([server.url], CONCURRENCY, seconds=SECONDS + 0.5)
    for watch in watches:
        watch.wait()
