"""A stand-in for `nvidia-cuda-mps-control`: the daemon with -f, else a question on stdin; STAND_IN_MPS says how.

As NVIDIA's does on an H100 (driver 580): the daemon puts `control` into the pipe folder, and its server comes with the
first client. Who is its client is written down by the stand-in for libcuda, in `servers`.
"""

import json
import os
import sys
import time
from pathlib import Path

FOLDER = Path(os.environ["CUDA_MPS_PIPE_DIRECTORY"])
REPORT = Path(os.environ["STAND_IN_MPS_REPORT"])
HOW = os.environ.get("STAND_IN_MPS", "")


def be_the_daemon() -> None:
    """Stay until told to quit."""
    REPORT.write_text(json.dumps({"pid": os.getpid(), "env": dict(os.environ)}))
    if HOW == "refuses":
        sys.stderr.buffer.write("Cannot access CUDA_MPS_PIPE_DIRECTORY, not even in a café".encode())
        sys.exit(1)
    if HOW != "never ready":
        (FOLDER / "control").touch()
    while not (FOLDER / "quit").exists():
        time.sleep(0.01)
    REPORT.with_suffix(".quit").touch()


def answer(question: str) -> None:
    """Do what was asked for."""
    if HOW == "never answers":
        REPORT.with_suffix(".question").write_text(str(os.getpid()))
        time.sleep(600)
    if HOW == "mumbles":
        sys.stdout.buffer.write(b"\xb5\n")
    if question == "get_server_list" and (FOLDER / "servers").exists():
        print((FOLDER / "servers").read_text())
    if question == "quit":
        (FOLDER / "quit").touch()


if sys.argv[1:] == ["-f"]:
    be_the_daemon()
else:
    answer(sys.stdin.read().strip())
