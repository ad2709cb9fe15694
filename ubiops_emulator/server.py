"""One process: the API's socket, a socket for each service, the platform's task, and an orderly end.

Contract: prints the export lines on standard output when it listens, and nothing else there.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import secrets
import shlex
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from ubiops_emulator import seed
from ubiops_emulator.clock import SystemClock
from ubiops_emulator.platform.clockwork import Platform
from ubiops_emulator.runtime import sockets
from ubiops_emulator.settings import Settings
from ubiops_emulator.store import Store
from ubiops_emulator.switches import Switches
from ubiops_emulator.web.app import App
from ubiops_emulator.web.control import set_fault
from ubiops_emulator.web.faults import Fault

LOG = logging.getLogger("emulator")
INTERRUPTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line decides."""

    port: int = 8787
    data: Path = Path(".whisperctl-emulator")
    token_file: Path | None = None
    settings: Settings = field(default_factory=Settings)
    switches: Switches = field(default_factory=Switches)
    faults: tuple[Fault, ...] = ()


class Server(uvicorn.Server):
    """uvicorn without its own signals: the emulator has more to end than connections."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the emulator."""
        yield


def serve(options: Options) -> int:
    """Run until a signal; the exit code.

    Raises:
        FolderInUse: another emulator works on the data folder.
        OSError: the port is taken.
    """
    store = Store(options.data)
    try:
        sock = sockets.listener(options.port)
        token = prepare(store, options)
        return asyncio.run(_serve(store, sock, options, token))
    finally:
        store.close()


def prepare(store: Store, options: Options) -> Path:
    """Seed a new store and write the token file (0600); its path.

    Raises:
        FileExistsError: at the path of the token file is something else than a file.
    """
    clock = SystemClock()
    token = store.setting("token")
    if token is None:
        token = secrets.token_hex(20)
        with store.transaction():
            seed.seed(store, clock.now(), token)
    path = options.token_file or options.data / "token"
    if path.exists() and not path.is_file():
        raise FileExistsError(errno.EEXIST, "it is no file", str(path))  # /dev/stdout stays
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(f"{token}\n")
    return path


async def _serve(store: Store, sock: socket.socket, options: Options, token: Path) -> int:
    port = sock.getsockname()[1]
    platform = Platform(store, SystemClock(), options.settings)
    platform.switches = options.switches
    app = App(platform, port)
    for item in options.faults:
        set_fault(app, item)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        proxy_headers=False,
        server_header=False,
        ws="websockets-sansio",
        timeout_graceful_shutdown=2,
    )
    server = Server(config)
    received: list[int] = []
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _signalled, number, received, stopped)
    platform.fleet.end_orphans()
    platform.recover()
    listening = asyncio.ensure_future(server.serve(sockets=[sock]))
    while not server.started and not listening.done():  # noqa: ASYNC110 - uvicorn tells by an attribute only
        await asyncio.sleep(0.005)
    jobs = [asyncio.ensure_future(platform.run()), asyncio.ensure_future(_follow_services(app, server))]
    app.services_changed.set()
    _announce(port, token)
    LOG.info("running on http://127.0.0.1:%d; Ctrl-C ends it", port)
    await stopped.wait()
    LOG.info("stopping")
    for job in jobs:
        job.cancel()
    await platform.halt()
    server.should_exit = True
    await listening
    return INTERRUPTED if received[:1] == [signal.SIGINT] else 0


def _signalled(number: int, received: list[int], stopped: asyncio.Event) -> None:
    received.append(number)
    stopped.set()


def _announce(port: int, token: Path) -> None:
    print(f"export UBIOPS_API_HOST=http://127.0.0.1:{port}/v2")  # noqa: T201 - the product of this command
    print(f"export UBIOPS_PROJECT={seed.PROJECT}")  # noqa: T201
    print(f'export UBIOPS_API_TOKEN="$(cat {shlex.quote(str(token.resolve()))})"', flush=True)  # noqa: T201


async def _follow_services(app: App, server: Server) -> None:
    """Keep one listening socket for each service."""
    listening: dict[int, asyncio.Server] = {}
    while True:
        await app.services_changed.wait()
        app.services_changed.clear()
        try:
            app.services = await _listen_for_services(app, server, listening)
        except OSError:
            LOG.exception("a service's port cannot be opened")
        if not app.services_changed.is_set():
            app.services_followed.set()


async def _listen_for_services(app: App, server: Server, listening: dict[int, asyncio.Server]) -> dict[int, str]:
    """Open and close sockets until they are those of the services: port -> id."""
    by_port = {doc.body["_port"]: doc.id for doc in app.platform.store.every("service")}
    for port in set(listening) - set(by_port):
        listening.pop(port).close()
        sockets.release(port)
    services = {}
    for port, ident in by_port.items():
        real = port
        if port not in listening:
            opened = await _open(app, server, port, ident)
            if opened is None:
                continue
            real, listening[opened[0]] = opened
        services[real] = ident
    return services


async def _open(app: App, server: Server, port: int, ident: str) -> tuple[int, asyncio.Server] | None:
    try:
        sock = sockets.listener(port)
    except OSError:
        fresh = sockets.free_port()
        LOG.warning("port %d of service %s is taken by another program; it moves to %d", port, ident, fresh)
        doc = app.platform.store.by_id("service", ident)
        if doc is None:
            return None
        doc.body["_port"] = port = fresh
        with app.platform.store.transaction():
            app.platform.store.save(doc)
        sock = sockets.listener(port)
    loop = asyncio.get_running_loop()

    # The same protocol as the API's socket has, so that an end closes these connections too.
    kind: Any = server.config.http_protocol_class

    def protocol() -> asyncio.Protocol:
        made: asyncio.Protocol = kind(config=server.config, server_state=server.server_state, app_state={}, _loop=loop)
        return made

    return port, await loop.create_server(protocol, sock=sock)


def log_to_stderr(*, verbose: bool) -> None:
    """Send the log to standard error; only other libraries' warnings."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(name)s %(levelname)s %(message)s",
    )
    for name in ("httpx", "httpcore", "asyncio", "uvicorn", "websockets", "python_multipart"):
        logging.getLogger(name).setLevel(logging.WARNING)
