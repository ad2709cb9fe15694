"""A reverse proxy on loopback that adds the token: for a browser, with a page of its own, and the endpoint's /docs.

Whoever reaches this port uses the endpoint in the user's name, so that it answers the user's own browser tab and nobody
else: it binds to 127.0.0.1, takes only its own name as Host (a foreign name that resolves to 127.0.0.1 is refused) and
only its own pages as Origin, and is shown in no frame. The token goes to the endpoint only, and nothing that it sends
brings the token back; redirects elsewhere, cookies either way and cross-origin permissions do not pass. Bodies stream
both ways. A request whose framing could be read in two ways is refused, and its connection closed.
"""

from __future__ import annotations

import email.errors
import re
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from whisperctl.endpoint.client import Endpoint, Relayed
from whisperctl.endpoint.page import ABOUT_PATH, PATH, About, about_document, page
from whisperctl.errors import Unhealthy, Unreachable, WhisperctlError

ADDRESS = "127.0.0.1"
_BLOCK = 1 << 16

_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te"}
    | {"trailer", "transfer-encoding", "upgrade"}
)
_NOT_SENT = _HOP_BY_HOP | {"host", "authorization", "cookie", "origin", "referer", "expect", "accept-encoding"}
_NOT_RETURNED = _HOP_BY_HOP | {"date", "server", "location", "strict-transport-security", "alt-svc", "x-frame-options"}
_NOT_RETURNED |= {"set-cookie", "set-cookie2", "clear-site-data"}

_SINGLE = ("host", "content-length", "transfer-encoding", "origin")
"""Headers of which a second one could be meant for somebody who reads that one only."""
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_TARGET = re.compile(r"/[\x21-\x7e]*")
_LENGTH = re.compile(r"[0-9]{1,18}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(;.*)?\r?\n")
_BROKEN_HEAD = (
    email.errors.MissingHeaderBodySeparatorDefect,
    email.errors.FirstHeaderLineIsContinuationDefect,
    email.errors.MisplacedEnvelopeHeaderDefect,
    email.errors.InvalidHeaderDefect,
)
"""Of http.server's parser, which also misses the parts of a multipart body that it never sees."""
_FRAMES = frozenset({"iframe", "frame", "fencedframe", "embed", "object"})
_UNREAD_SECONDS, _UNREAD_BYTES = 0.5, 1 << 20
"""How much of a refused request is still read, so that its sender gets to read the answer."""


def bind(endpoint: Endpoint, port: int, about: About = About()) -> ThreadingHTTPServer:  # noqa: B008 - frozen
    """A proxy for `endpoint`, listening; its `serve_forever` serves. Port 0 takes a free one.

    At `/` it shows a page of its own, which tells what `about` has.

    Raises:
        WhisperctlError: the port is taken or not allowed.
    """
    exchange = type("Exchange", (_Exchange,), {"endpoint": endpoint, "about": about})
    try:
        server = _Server((ADDRESS, port), exchange)
    except OSError as error:
        raise WhisperctlError(f"Port {port} of {ADDRESS}: {error.strerror}.\n  Pass --port.") from error
    return server


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that hung up; anything else is a defect and shows."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Exchange(BaseHTTPRequestHandler):
    """One connection of a browser."""

    endpoint: Endpoint
    about: About
    protocol_version = default_request_version = "HTTP/1.1"
    """Also of an answer to a request that names none, or one that cannot be read: else it has no head at all."""
    disable_nagle_algorithm = True
    """Else each part of an answer waits until the browser has acknowledged the one before: 40 ms on Linux."""
    server_version = "whisperctl"
    sys_version = ""
    timeout = 60
    """Seconds that a connection may idle."""
    policy = "frame-ancestors 'none'"
    """Content-Security-Policy of the next answer."""

    def do_GET(self) -> None:
        """Relay; every verb is the same."""
        if refusal := self._refusal():
            self._refuse(*refusal)
            return
        if self.command in ("GET", "HEAD") and (own := self._own()):
            self._show(*own)
            return
        self._begun = False
        body = self._body()
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _NOT_SENT}
        headers["Accept-Encoding"] = "identity"  # the token could not be seen in anything else
        if body is not None:  # what the endpoint leaves unread of it must not be taken for the next request
            self.close_connection = True
        try:
            with self.endpoint.relayed(self.command, self.path, headers, body) as answer:
                self._return(answer)
        except (Unreachable, Unhealthy) as error:
            if not self._begun:
                self._refuse(HTTPStatus.BAD_GATEWAY, self.endpoint.blanking.whole(str(error).encode()).decode())

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_GET  # noqa: N815 - http.server's names

    def _own(self) -> tuple[bytes, Mapping[str, str], str] | None:
        """What the proxy itself has at this path, its headers and its policy; None where the endpoint is asked."""
        path = self.path.partition("?")[0]
        if path == PATH:
            return page()
        return (*about_document(self.about), self.policy) if path == ABOUT_PATH else None

    def _show(self, content: bytes, headers: Mapping[str, str], policy: str) -> None:
        self.close_connection = True  # a body that came along is not read
        self.send_response(HTTPStatus.OK)
        self.policy = policy
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _refusal(self) -> tuple[HTTPStatus, str] | None:
        """Why this request is not the user's own tab asking for the endpoint."""
        return self._malformed() or self._foreign()

    def _malformed(self) -> tuple[HTTPStatus, str] | None:
        """Why this request could be read in more ways than one."""
        items = self.headers.items()
        lengths, codings = (self.headers.get_all(name, []) for name in ("content-length", "transfer-encoding"))
        problems = {
            "a header cannot be read": any(isinstance(defect, _BROKEN_HEAD) for defect in self.headers.defects)
            or not all(_NAME.fullmatch(name) and _VALUE.fullmatch(value) for name, value in items),
            "a header stands there twice": any(len(self.headers.get_all(name, [])) > 1 for name in _SINGLE),
            "its length is no number": not all(_LENGTH.fullmatch(length.strip(" \t")) for length in lengths),
            "its transfer encoding is not `chunked`": not all(
                coding.strip(" \t").lower() == "chunked" for coding in codings
            ),
            "it has a length and a transfer encoding": lengths and codings,
            "its path holds what no path may hold": not _TARGET.fullmatch(self.path) or self.path.startswith("//"),
        }
        for problem, there in problems.items():
            if there:
                return HTTPStatus.BAD_REQUEST, f"The request is malformed: {problem}."
        return None

    def _foreign(self) -> tuple[HTTPStatus, str] | None:
        """Why this request does not come from the user's own tab, or is none for the endpoint."""
        names = {f"{host}:{self.server.server_port}" for host in (ADDRESS, "localhost")}  # type: ignore[attr-defined]
        host = self.headers.get("host", "")
        if host.lower() not in names:
            return HTTPStatus.MISDIRECTED_REQUEST, f"This proxy answers to {' or '.join(sorted(names))} only."
        if (origin := self.headers.get("origin")) and origin.lower() != f"http://{host.lower()}":
            return HTTPStatus.FORBIDDEN, "Another page may not use this proxy."
        opened = self.command == "GET" and self.headers.get("sec-fetch-mode") == "navigate"
        if self.headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not opened:
            return HTTPStatus.FORBIDDEN, "Another page may not use this proxy."
        if self.headers.get("sec-fetch-dest", "").lower() in _FRAMES:
            return HTTPStatus.FORBIDDEN, "No page may show this proxy in a frame."
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
        self._leave_unread()

    def _leave_unread(self) -> None:
        """Read on for a moment: a connection that is closed over unread bytes is reset, and the answer is lost."""
        left = _UNREAD_BYTES
        with suppress(OSError):  # whoever asked is gone, or says no more in time: a shutdown then finds no connection
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(_UNREAD_SECONDS)
            while left > 0 and (data := self.rfile.read1(_BLOCK)):
                left -= len(data)

    def end_headers(self) -> None:
        """Every answer, our own too, says that it is for no frame."""
        self.send_header("X-Frame-Options", "DENY")
        self.send_header("Content-Security-Policy", self.policy)
        super().end_headers()

    def _body(self) -> Iterator[bytes] | None:
        if self.headers.get("transfer-encoding"):
            return self._chunks()
        length = self.headers.get("content-length")
        return self._counted(int(length)) if length else None

    def _counted(self, left: int) -> Iterator[bytes]:
        while left and (data := self.rfile.read1(min(left, _BLOCK))):
            left -= len(data)
            yield data

    def _chunks(self) -> Iterator[bytes]:
        while size := self._size():
            yield from self._counted(size)
            if self.rfile.readline(3) not in (b"\r\n", b"\n"):
                raise ConnectionError("the browser's chunks are broken")
        while self.rfile.readline(1024).strip():
            pass

    def _size(self) -> int:
        chunk = _CHUNK.fullmatch(self.rfile.readline(1024))
        if chunk is None:
            raise ConnectionError("the browser's chunks are broken")
        return int(chunk[1], 16)

    def _return(self, answer: Relayed) -> None:
        location = next((value for name, value in answer.headers if name.lower() == "location"), None)
        home = self.endpoint.is_home(location, self.path) if location else None
        if location and not home:
            where = _host(location) or "another place"
            self._refuse(
                HTTPStatus.BAD_GATEWAY, answer.blanking.text(f"The endpoint redirects to {where}; not followed.")
            )
            return
        blanked = answer.blanking.text
        self.send_response(answer.status, blanked(answer.reason))
        for name, value in answer.headers:
            if name.lower() not in _NOT_RETURNED and not name.lower().startswith("access-control-"):
                self.send_header(blanked(name), blanked(value))
        if home:
            self.send_header("Location", blanked(home))
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
            for data in answer.blanking.chunks(answer.chunks):
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
        verb, path = ("".join(char if char.isprintable() else "\ufffd" for char in text) for text in (verb, path))
        if len(args) > 1 and str(args[1]).isdigit():
            print(f"{int(args[1])} {verb} {path}", file=sys.stderr)  # noqa: T201 - the program's own log


def _host(location: str) -> str:
    """The host of a URL, without a login; empty where there is none."""
    with suppress(ValueError):
        return urlsplit(location).netloc.rpartition("@")[2]
    return ""
