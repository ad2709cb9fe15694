"""A reverse proxy on loopback that adds the token, so that a browser can open the endpoint's /docs.

Whoever reaches this port uses the endpoint in the user's name, so that it answers the user's own browser tab and nobody
else: it binds to 127.0.0.1, takes only its own name as Host (a foreign name that resolves to 127.0.0.1 is refused) and
only its own pages as Origin. The token goes to the endpoint only; redirects elsewhere, cookies of other local programs
and cross-origin permissions do not pass. Bodies stream both ways.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from whisperctl.endpoint.client import Endpoint, Relayed
from whisperctl.errors import Unhealthy, Unreachable, WhisperctlError

ADDRESS = "127.0.0.1"
_BLOCK = 1 << 16

_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te"}
    | {"trailer", "transfer-encoding", "upgrade"}
)
_NOT_SENT = _HOP_BY_HOP | {"host", "authorization", "cookie", "origin", "referer", "expect"}
_NOT_RETURNED = _HOP_BY_HOP | {"set-cookie", "date", "server", "location", "strict-transport-security", "alt-svc"}


def bind(endpoint: Endpoint, port: int) -> ThreadingHTTPServer:
    """A proxy for `endpoint`, listening; its `serve_forever` serves. Port 0 takes a free one.

    Raises:
        WhisperctlError: the port is taken or not allowed.
    """
    exchange = type("Exchange", (_Exchange,), {"endpoint": endpoint})
    try:
        server = _Server((ADDRESS, port), exchange)
    except OSError as error:
        raise WhisperctlError(f"Port {port} of {ADDRESS}: {error.strerror}.\n  Pass --port.") from error
    return server


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that hung up; anything else is a defect and shows."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Exchange(BaseHTTPRequestHandler):
    """One connection of a browser."""

    endpoint: Endpoint
    protocol_version = "HTTP/1.1"
    server_version = "whisperctl"
    sys_version = ""
    timeout = 60
    """Seconds that a connection may idle."""

    def do_GET(self) -> None:
        """Relay; every verb is the same."""
        if refusal := self._refusal():
            self._refuse(*refusal)
            return
        self._begun = False
        body = self._body()
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _NOT_SENT}
        if body is not None:  # what the endpoint leaves unread of it must not be taken for the next request
            self.close_connection = True
        try:
            with self.endpoint.relayed(self.command, self.path, headers, body) as answer:
                self._return(answer)
        except (Unreachable, Unhealthy) as error:
            if not self._begun:
                self._refuse(HTTPStatus.BAD_GATEWAY, str(error))

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_GET  # noqa: N815 - http.server's names

    def _refusal(self) -> tuple[HTTPStatus, str] | None:
        """Why this request is not the user's own tab asking for the endpoint."""
        names = {f"{host}:{self.server.server_port}" for host in (ADDRESS, "localhost")}  # type: ignore[attr-defined]
        if self.headers.get_all("host", []) != [host := self.headers.get("host", "")] or host.lower() not in names:
            return HTTPStatus.MISDIRECTED_REQUEST, f"This proxy answers to {' or '.join(sorted(names))} only."
        if (origin := self.headers.get("origin")) and origin.lower() != f"http://{host.lower()}":
            return HTTPStatus.FORBIDDEN, "Another page may not use this proxy."
        opened = self.command == "GET" and self.headers.get("sec-fetch-mode") == "navigate"
        if self.headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not opened:
            return HTTPStatus.FORBIDDEN, "Another page may not use this proxy."
        if not self.path.startswith("/") or self.path.startswith("//"):
            return HTTPStatus.BAD_REQUEST, "Only paths of the endpoint are relayed."
        if self.headers.get("upgrade"):
            return HTTPStatus.NOT_IMPLEMENTED, "WebSockets are not relayed."
        return None

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        data = f"{reason}\n".encode()
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _body(self) -> Iterator[bytes] | None:
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            del self.headers["content-length"]
            return self._chunks()
        length = self.headers.get("content-length", "")
        return self._counted(int(length)) if length.isdigit() else None

    def _counted(self, left: int) -> Iterator[bytes]:
        while left and (data := self.rfile.read1(min(left, _BLOCK))):
            left -= len(data)
            yield data

    def _chunks(self) -> Iterator[bytes]:
        while size := self._size():
            yield from self._counted(size)
            self.rfile.readline(1024)
        while self.rfile.readline(1024).strip():
            pass

    def _size(self) -> int:
        try:
            return int(self.rfile.readline(1024).partition(b";")[0], 16)
        except ValueError as error:
            raise ConnectionError("the browser's chunks are broken") from error

    def _return(self, answer: Relayed) -> None:
        location = next((value for name, value in answer.headers if name.lower() == "location"), None)
        home = self.endpoint.is_home(location, self.path) if location else None
        if location and not home:
            where = urlsplit(location).netloc or "another place"
            self._refuse(HTTPStatus.BAD_GATEWAY, f"The endpoint redirects to {where}; not followed.")
            return
        self.send_response(answer.status, answer.reason)
        for name, value in answer.headers:
            if name.lower() not in _NOT_RETURNED and not name.lower().startswith("access-control-"):
                self.send_header(name, value)
        if home:
            self.send_header("Location", home)
        self._stream(answer)

    def _stream(self, answer: Relayed) -> None:
        """Head and body: as counted by the endpoint, or in chunks; a break in the middle breaks this side as well."""
        self._begun = True
        empty = self.command == "HEAD" or answer.status in (204, 304) or answer.status < 200
        counted = any(name.lower() == "content-length" for name, _ in answer.headers)
        if not empty and not counted:
            self.send_header("Transfer-Encoding", "chunked")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if empty:
            return
        try:
            for data in filter(None, answer.chunks):
                self.wfile.write(data if counted else f"{len(data):x}\r\n".encode() + data + b"\r\n")
                self.wfile.flush()
        except BaseException:
            self.close_connection = True  # without the last chunk: the browser sees that something is missing
            raise
        if not counted:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ARG002 - the standard library's
        """One line per request on stderr, without query: it may hold what nobody should read over a shoulder."""
        verb, path = getattr(self, "command", None) or "?", getattr(self, "path", "?").partition("?")[0]
        if len(args) > 1 and str(args[1]).isdigit():
            print(f"{int(args[1])} {verb} {path}", file=sys.stderr)  # noqa: T201 - the program's own log
