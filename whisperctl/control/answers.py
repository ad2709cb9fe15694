"""Answers that end: a deadline for headers and body together, however they dribble, and a bound on decoded bytes.

`requests` bounds the silence between two reads only. Here each read gets what is left of the whole time: `http.client`
reads through a stream that asks for it. Nor is a request written on a connection that took longer to be made. The
deadline is that of the thread that makes the call.
"""

from __future__ import annotations

import http.client
import io
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests_toolbelt.adapters.socket_options import TCPKeepAliveAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError

LARGEST = 64 << 20
"""Decoded bytes of an answer; a page of 250 versions has some hundred thousand."""
CHUNK = 1 << 14
"""Encoded bytes that are decoded at once: at most a thousand times as many come out."""
ENCODINGS = "gzip, deflate"
_now = threading.local()


class TooMuch(requests.RequestException):
    """The answer has more bytes than any of its kind."""


class TooLong(requests.Timeout):
    """The answer did not end in time."""


class Deadline:
    """When an answer must have ended, and how long it may keep silent; in seconds of the monotonic clock."""

    def __init__(self, seconds: float, silence: float | None = None) -> None:
        self.ends = time.monotonic() + seconds
        self.seconds = seconds
        self.silence = silence

    def left(self) -> float:
        """Seconds for the next read.

        Raises:
            TimeoutError: there are none.
        """
        left = self.ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer did not end in time")
        return left if self.silence is None else min(left, self.silence)


@contextmanager
def ending(deadline: Deadline) -> Iterator[None]:
    """What this thread asks for meanwhile must be answered by `deadline`; a stream keeps it for its whole body.

    Raises:
        TooLong: it was not, though the connection was made; in words that tell how long was waited.
    """
    outer = _deadline()
    _now.deadline = deadline
    try:
        yield
    except requests.ConnectTimeout:
        raise
    except requests.Timeout:
        raise TooLong(f"no answer within {round(deadline.silence or deadline.seconds, 1):g} s") from None
    finally:
        _now.deadline = outer


def _deadline() -> Deadline | None:
    deadline: Deadline | None = getattr(_now, "deadline", None)
    return deadline


class _Timed(io.RawIOBase):
    """A socket's bytes, each read within what is left."""

    def __init__(self, raw: Any, sock: Any, deadline: Deadline) -> None:
        self._raw, self._sock, self._deadline = raw, sock, deadline

    def readable(self) -> bool:
        """True: the answer can be read and not written."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """As a socket's file does, but not for longer than is left."""
        self._sock.settimeout(self._deadline.left())
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        """Close the socket's file as well: it counts who uses it."""
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer whose headers and body are read in time."""

    def __init__(self, sock: Any, *args: Any, **more: Any) -> None:
        super().__init__(sock, *args, **more)
        deadline = _deadline()
        if deadline is not None:
            self.fp.close()
            self.fp = io.BufferedReader(_Timed(sock.makefile("rb", buffering=0), sock, deadline))


class _Plain(HTTPConnection):
    response_class = _Response

    def connect(self) -> None:
        """Connect, in time for the request."""
        super().connect()
        _check_time(self)


class _Tls(HTTPSConnection):
    response_class = _Response

    def connect(self) -> None:
        """Connect, in time for the request."""
        super().connect()
        _check_time(self)


def _check_time(connection: HTTPConnection) -> None:
    """Raise ConnectTimeoutError if none is left: looking a name up is not bounded, nor how many addresses are tried.

    What is not written by the deadline must not be written at all: the lease may be somebody else's by then.
    """
    deadline = _deadline()
    try:
        if deadline is not None:
            deadline.left()
    except TimeoutError:
        raise ConnectTimeoutError(connection, "the connection was not made in time") from None


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _Tls


POOLS = {"http": _PlainPool, "https": _TlsPool}


class TimedAdapter(HTTPAdapter):
    """Connections whose answers end, directly and through a proxy, and that are kept alive."""

    def __init__(self, *, ssl_context: ssl.SSLContext | None = None, connections: int) -> None:
        """Trust whom `ssl_context` trusts, and nobody else; without one there is no TLS to speak."""
        self._options: dict[str, Any] = {"socket_options": TCPKeepAliveAdapter().socket_options}
        if ssl_context is not None:
            self._options["ssl_context"] = ssl_context
        super().__init__(pool_connections=4, pool_maxsize=connections, max_retries=0)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **more: Any) -> None:
        """Take our connections, and the trust of this machine."""
        super().init_poolmanager(connections, maxsize, block, **more, **self._options)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: Any, **more: Any) -> Any:
        """As above, through a proxy; a SOCKS proxy's connections are its library's own."""
        manager = super().proxy_manager_for(proxy, **more, **self._options)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = POOLS
        return manager

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Add no authorities to those of the context: requests would add its own, or those of an environment variable.

        A context is always there, and asks for a certificate: `PooledRest` gives one to every https connection.
        """

    def send(self, request: Any, *args: Any, **more: Any) -> requests.Response:
        """Send one request; whom to trust is the context's to say, whatever the session made of the environment."""
        return super().send(request, *args, **{**more, "verify": True})


def read_whole(response: requests.Response, deadline: Deadline, most: int = LARGEST) -> requests.Response:
    """The response with its body read and decoded.

    Raises:
        TooMuch: it has more than `most` bytes.
        requests.RequestException: it broke off, or did not end by the deadline (`TooLong`).
    """
    parts: list[bytes] = []
    size = 0
    try:
        for part in response.iter_content(CHUNK):
            size += len(part)
            if size > most:
                raise TooMuch(f"the answer has more than {most >> 20} MiB")
            parts.append(part)
            deadline.left()
    except TimeoutError:
        response.close()
        raise TooLong("the answer did not end in time") from None
    except requests.RequestException as error:
        response.close()
        if "timed out" in str(error).lower():
            raise TooLong("the answer did not end in time") from None
        raise
    response._content = b"".join(parts)  # what `content` and `json` are made of
    return response
