"""A listening socket for each API server: a plug-in of vLLM's. Rendered by whisperctl.

vLLM's API servers share one listening socket, and whichever wakes first accepts every connection that waits: of eight,
one answered 35 % of all requests and was as busy as a process can be while the others idled. With sockets of their own
at the same address (SO_REUSEPORT) the kernel deals new connections out evenly. vLLM does so by itself from 0.33 on, by
the number of open connections.

The entry point (`vllm.general_plugins`, in the `.dist-info` folder beside this file) is called in every process of
vLLM's. Where a release lacks something that is used here, the shared socket stays, and a line in the log says so.
"""

from __future__ import annotations

import functools
import logging
import socket
from typing import Any

log = logging.getLogger("vllm.whisperctl_front_ends")


def register() -> None:
    """For the entry point: from now on a server that uvicorn starts listens on its own. Raises nothing."""
    try:
        from uvicorn import Server

        Server.serve = on_its_own(Server.serve)  # type: ignore[method-assign]
    except Exception as problem:
        log.warning("whisperctl: the API servers share a socket: %r", problem)


def on_its_own(serve: Any) -> Any:
    """uvicorn's `serve`, with a socket of its own in the place of each that it is given."""

    @functools.wraps(serve)
    async def served(server: Any, sockets: list[socket.socket] | None = None) -> Any:
        return await serve(server, sockets and [apart(one) for one in sockets])

    return served


def apart(shared: socket.socket) -> socket.socket:
    """A socket beside `shared` at the same address; `shared` itself where it allows none beside it."""
    if shared.family not in (socket.AF_INET, socket.AF_INET6):
        return shared
    if not shared.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT):
        return shared
    own = socket.socket(shared.family, socket.SOCK_STREAM)
    try:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        own.bind(shared.getsockname())
    except OSError as problem:
        own.close()
        log.warning("whisperctl: this API server shares its socket: %r", problem)
        return shared
    return own
