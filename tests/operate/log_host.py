"""A host that answers `GET /projects/{p}/logs` from a list, for what no real build says: many lines, late ones."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


class LogHost(ThreadingHTTPServer):
    """Serves `entries` by the rules of UbiOps: start inclusive, end exclusive, oldest first, at most `limit`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.entries: list[dict[str, Any]] = []
        self.failing = 0
        """Answers with 500 before the next good one."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v2"

    def add(self, moment: int, text: str, **labels: str) -> None:
        self.entries.append({"timestamp": moment, "timestamp_str": "", "log": text, "metadata": labels})


class _Handler(BaseHTTPRequestHandler):
    server: LogHost

    def do_GET(self) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        if self.server.failing:
            self.server.failing -= 1
            self.send_error(500)
            return
        start, end = int(asked["start"]), int(asked["end"])
        matching = sorted(
            (e for e in self.server.entries if start <= e["timestamp"] < end), key=lambda e: e["timestamp"]
        )
        body = json.dumps(matching[: int(asked["limit"])]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Silence."""


@contextmanager
def log_host() -> Iterator[LogHost]:
    """One in a thread of its own."""
    with LogHost() as host:
        thread = threading.Thread(target=host.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield host
        host.shutdown()
        thread.join()
