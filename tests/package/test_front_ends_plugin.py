"""The plug-in with which each of vLLM's API servers listens on a socket of its own."""

from __future__ import annotations

import asyncio
import select
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from templates import whisperctl_front_ends as plugin

CONNECTIONS = 64


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def as_vllm_binds(opened: ExitStack, *, shareable: bool = True) -> socket.socket:
    """vLLM's own socket: bound before the API servers start, listening in none yet."""
    made = opened.enter_context(socket.socket())
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shareable:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", 0))
    return made


def test_connections_are_dealt_out_to_all_servers(opened: ExitStack) -> None:
    shared = as_vllm_binds(opened)
    own = [opened.enter_context(plugin.apart(shared)) for _ in range(4)]
    for one in own:
        one.listen(CONNECTIONS)
    for _ in range(CONNECTIONS):
        opened.enter_context(socket.create_connection(shared.getsockname()))
    accepted = []
    for one in own:
        accepted.append(0)
        while select.select([one], [], [], 0)[0]:
            opened.enter_context(one.accept()[0])
            accepted[-1] += 1
    assert sum(accepted) == CONNECTIONS
    assert min(accepted) > 0  # by their addresses: none is left out but once in tens of millions


def test_a_server_alone_keeps_its_socket(opened: ExitStack) -> None:
    alone = as_vllm_binds(opened, shareable=False)
    assert plugin.apart(alone) is alone


def test_a_unix_socket_stays(opened: ExitStack, tmp_path: Path) -> None:
    unix = opened.enter_context(socket.socket(socket.AF_UNIX))
    unix.bind(str(tmp_path / "s"))
    assert plugin.apart(unix) is unix


def test_where_none_can_stand_beside_it_the_socket_is_shared(
    opened: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    class Elsewhere(socket.socket):
        def getsockname(self) -> Any:
            return ("203.0.113.1", 8080)  # no address of this machine (RFC 5737)

    shared = opened.enter_context(Elsewhere())
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    assert plugin.apart(shared) is shared
    assert "whisperctl: this API server shares its socket: " in caplog.text


class Server:
    """What the plug-in asks of uvicorn's: `serve`, a coroutine that takes sockets or none."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] | None = []

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self.sockets = sockets


@pytest.fixture
def uvicorn(monkeypatch: pytest.MonkeyPatch) -> type[Server]:
    """An uvicorn that the plug-in may change."""
    module: Any = ModuleType("uvicorn")
    module.Server = type("Server", (Server,), {"serve": Server.serve})
    monkeypatch.setitem(sys.modules, "uvicorn", module)
    changed: type[Server] = module.Server
    return changed


def test_registered_a_server_listens_on_its_own(uvicorn: type[Server], opened: ExitStack) -> None:
    plugin.register()
    shared, server = as_vllm_binds(opened), uvicorn()
    asyncio.run(server.serve(sockets=[shared]))
    assert server.sockets is not None
    [own] = server.sockets
    opened.enter_context(own)
    assert own is not shared
    assert own.getsockname() == shared.getsockname()
    asyncio.run(server.serve())
    assert server.sockets is None


def test_a_release_without_uvicorn_starts_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    plugin.register()
    assert "whisperctl: the API servers share a socket: " in caplog.text
