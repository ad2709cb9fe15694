"""Ports on loopback: free ones for instances and services, and the question who listens where."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"
# Below Linux's range for outgoing connections, so that none of those takes a port between our look and its use.
FIRST, LAST = 20000, 32000
ATTEMPTS = 500
LISTENING = "0A"

_given: set[int] = set()


def free_port() -> int:
    """A port that nobody listens on and that was not handed out before.

    Raises:
        OSError: none was found.
    """
    for _ in range(ATTEMPTS):
        port = random.randint(FIRST, LAST)  # noqa: S311 - not a secret
        if port not in _given and is_free(port):
            _given.add(port)
            return port
    raise OSError("no free port on loopback")


def release(port: int) -> None:
    """Let a reserved port be handed out again."""
    _given.discard(port)


def is_free(port: int) -> bool:
    """Whether nothing listens on a port, and nobody has reserved it."""
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104 - servers of packages listen on all addresses
        except OSError:
            return False
        return True


def listener(port: int) -> socket.socket:
    """A listening socket on loopback.

    Raises:
        OSError: the port is taken.
    """
    # With its protocol told, asyncio turns Nagle's delay off: without, every answer would wait 40 ms.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((LOOPBACK, port))
    except OSError:
        sock.close()
        raise
    sock.listen(1024)
    sock.setblocking(False)
    return sock


def listens(port: int, pids: list[int]) -> bool:
    """Whether one of the processes listens on a port (by /proc; False where there is none)."""
    inodes = _listening_inodes(port)
    return bool(inodes) and any(inodes & _sockets(pid) for pid in pids)


def _listening_inodes(port: int) -> set[str]:
    inodes = set()
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
                parts = line.split()
                if parts[3] == LISTENING and int(parts[1].rsplit(":", 1)[1], 16) == port:
                    inodes.add(parts[9])
    return inodes


def _sockets(pid: int) -> set[str]:
    inodes = set()
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                link = str(entry.readlink())
                if link.startswith("socket:["):
                    inodes.add(link[8:-1])
    return inodes
