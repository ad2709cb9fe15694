"""Files written in one step: whoever looks sees all of a transcript or nothing, and a killed run leaves no litter.

Parts are called `.whisperctl-HOST-PID-N.part`, short so that no name becomes too long by it, in the output folder;
the next run deletes those of processes that are gone.
"""

from __future__ import annotations

import os
import socket
import time
import zlib
from itertools import count
from pathlib import Path

_OLD = 3600.0
"""Seconds after which another host's part is litter: one is written in milliseconds."""
_numbers = count()


def write(folder: Path, target: Path, text: str) -> None:
    """Write `text` to `target` below `folder`; what cannot be encoded is kept as `\\udcXX`.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = folder / f".whisperctl-{host()}-{os.getpid()}-{next(_numbers)}.part"
    try:
        part.write_bytes(text.encode(errors="backslashreplace"))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def clear(folder: Path) -> None:
    """Delete the parts in `folder` whose writers are gone; to be called before this process writes any."""
    for part in folder.glob(".whisperctl-*.part"):
        where, pid, _ = (*part.name.removeprefix(".whisperctl-").split("-"), "", "")[:3]
        try:
            is_litter = not runs(pid) if where == host() else time.time() - part.stat().st_mtime > _OLD
            if is_litter:
                part.unlink(missing_ok=True)
        except FileNotFoundError:
            continue  # its writer was quicker


def host() -> str:
    """This machine, in eight characters of a file's name."""
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def runs(pid: str) -> bool:
    """Whether another process of that number runs here; containers give the same few numbers again and again."""
    if not pid.isdecimal() or int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
