"""A program with descendants that do not want to go: each ignores SIGTERM. `brood.py PIDS END`.

One is a plain child, one a child in a session of its own, one a daemon whose parent has ended. Their numbers are the
lines of the file PIDS, the program's own the first. END is an exit code, `stay`, `ignore` (SIGTERM, too) or `crash`.
"""

import os
import signal
import sys
import time
from pathlib import Path

file, end = Path(sys.argv[1]), sys.argv[2]


def stay() -> None:
    """Sleep through SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with file.open("a") as lines:
        lines.write(f"{os.getpid()}\n")
    while True:
        time.sleep(60)


def start(daemon: bool = False, session: bool = False) -> None:
    """One descendant."""
    child = os.fork()
    if child == 0:
        if session or daemon:
            os.setsid()
        if daemon and os.fork():
            os._exit(0)
        stay()
    if daemon:
        os.waitpid(child, 0)


file.write_text(f"{os.getpid()}\n")
start()
start(session=True)
start(daemon=True)
while len(file.read_text().split()) < 4:
    time.sleep(0.01)
print("begun", flush=True)
match end:
    case "stay":
        time.sleep(600)
    case "ignore":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("deaf", flush=True)
        while True:
            time.sleep(60)
    case "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    case code:
        sys.exit(int(code))
