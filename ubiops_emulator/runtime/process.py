"""One instance as a process: started, listened to, asked, and ended with its whole process group.

Contract: knows nothing of UbiOps' documents; what happens is told to the callbacks.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ubiops_emulator.runtime import orphans

AGENT = Path(__file__).with_name("agent.py")
GRACE = 20.0
MESSAGE_LIMIT = 256 * 2**20
CHUNK = 65536
LONGEST_LINE = 32768
LEVELS = ("info", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What to run: interpreter, package folder, main file, context for `Deployment`, and its environment."""

    python: str
    folder: Path
    file: str
    context: dict[str, Any]
    env: dict[str, str]
    port: int
    mark: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who is told: output lines (stream name, lines), readiness, and the end (exit code)."""

    lines: Callable[[str, list[str]], None]
    ready: Callable[[], None]
    ended: Callable[[int], None]


class InstanceProcess:
    """A running package."""

    def __init__(self, launch: Launch, listener: Listener) -> None:
        self.launch = launch
        self._listener = listener
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._updates: dict[str, Callable[[Any], None]] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._watch: asyncio.Future[None] | None = None
        self.stopping = False

    @property
    def pid(self) -> int:
        """The process id; None before it was started."""
        return self._process.pid if self._process else 0

    async def start(self) -> None:
        """Start the process and follow its output."""
        ours, theirs = socket.socketpair()
        # Pipes of our own: asyncio's would make `wait` last until the package's own children have closed them, too.
        outputs = {level: os.pipe() for level in LEVELS}
        try:
            self._process = await asyncio.create_subprocess_exec(
                self.launch.python,
                "-u",
                str(AGENT),
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=outputs["info"][1],
                stderr=outputs["error"][1],
                env=self.launch.env,
                cwd=self.launch.folder,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        finally:
            theirs.close()
            for _, end in outputs.values():
                os.close(end)
        reader, self._writer = await asyncio.open_connection(sock=ours, limit=MESSAGE_LIMIT)
        self._say({"folder": str(self.launch.folder), "file": self.launch.file, "context": self.launch.context})
        jobs: list[Awaitable[None]] = [self._read(level, end) for level, (end, _) in outputs.items()]
        self._tasks = [asyncio.ensure_future(job) for job in (*jobs, self._hear(reader))]
        self._watch = asyncio.ensure_future(self._wait())
        if self.stopping:
            self._process.terminate()

    async def request(self, ident: str, data: Any, update: Callable[[Any], None]) -> dict[str, Any]:
        """Call `request()`: a message with `result` or `error`; `update` is told what it streams meanwhile."""
        self._updates[ident] = update
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[ident] = future
        try:
            self._say({"id": ident, "data": data})
            return await future
        finally:
            self._answers.pop(ident, None)
            self._updates.pop(ident, None)

    async def stop(self, grace: float = GRACE) -> None:
        """SIGTERM to the package's process, and after the grace SIGKILL to all it has started."""
        self.stopping = True
        if self._process is None or self._watch is None:
            return
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._watch), grace)
        await asyncio.to_thread(self._kill_all)
        await self._watch

    def _say(self, message: dict[str, Any]) -> None:
        if self._writer is not None:
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def _read(self, level: str, end: int) -> None:
        stream = asyncio.StreamReader()
        pipe = os.fdopen(end, "rb", 0)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), pipe
        )
        rest = b""
        try:
            while chunk := await stream.read(CHUNK):
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > LONGEST_LINE:
                    lines, rest = [*lines, rest], b""
                if lines:
                    self._listener.lines(level, [_text(line) for line in lines])
            if rest:
                self._listener.lines(level, [_text(rest)])
        finally:
            transport.close()

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                message = json.loads(line)
                if message["event"] == "ready":
                    self._listener.ready()
                elif message["event"] == "update":
                    self._updates.get(message["id"], _unheard)(message["data"])
                elif message["id"] in self._answers and not self._answers[message["id"]].done():
                    self._answers[message["id"]].set_result(message)

    async def _wait(self) -> None:
        assert self._process is not None
        code = await self._process.wait()
        await asyncio.to_thread(self._kill_all)
        _, pending = await asyncio.wait(self._tasks, timeout=2)
        for task in pending:
            task.cancel()
        if self._writer is not None:
            self._writer.close()
        for future in self._answers.values():
            if not future.done():
                future.set_result({"error": f"the instance's process ended with code {code}"})
        self._listener.ended(code)

    def _kill_all(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        orphans.end(self.launch.mark)


def _unheard(_data: Any) -> None:
    """An update of a request that nobody waits for any more."""


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r")[:LONGEST_LINE]
