"""POSTs over connections that are kept for the next one; what they are answered is read whole.

httpcore, which httpx is made of, without httpx's own requests, responses and pool: of 1.5 ms of a core that sending a
piece of 28 s took they were 1 (measured; `http.client` needs as much as httpcore). Proxies, certificates and deadlines
are those of an httpx client.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

import httpcore
import httpx

from whisperctl.endpoint.answers import decoded, read_bytes, read_whole


class Posts:
    """Connections to one origin, one request at a time each; safe to share between threads."""

    def __init__(self, client: httpx.Client, url: str) -> None:
        """Open nothing yet.

        Args:
            client: whose proxies, certificates and deadlines count.
            url: any of the origin.
        """
        transport: Any = client._transport_for_url(httpx.URL(url))
        self._pool: httpcore.ConnectionPool = transport._pool
        self._headers = [(name.encode(), value.encode()) for name, value in client.headers.items()]
        self._idle = deque[httpcore.ConnectionInterface]()
        self._all = set[httpcore.ConnectionInterface]()
        self._closed = False

    @contextmanager
    def answered(
        self, url: str, headers: list[tuple[bytes, bytes]], body: bytes, connect: float, seconds: float
    ) -> Iterator[httpcore.Response]:
        """POST `body`, and close the answer, whose body is still to be read, afterwards.

        Args:
            url: of this origin.
            headers: besides those of every request.
            body: in the form that `headers` name.
            connect: seconds for the connection.
            seconds: the longest silence between two reads or writes.

        Raises:
            httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError: as they say.
            RuntimeError: all connections were dropped, as of an httpx client that is closed.
        """
        target, host = _parsed(url)
        timeouts = {"connect": connect, "read": seconds, "write": seconds, "pool": seconds}
        length = (b"Content-Length", b"%d" % len(body))
        request = httpcore.Request(
            "POST",
            target,
            headers=[(b"Host", host), *self._headers, *headers, length],
            content=body,
            extensions={"timeout": timeouts},
        )
        connection = self._taken(target.origin)
        try:
            response = connection.handle_request(request)
            try:
                yield response
            finally:
                response.close()
        finally:
            if self._closed:
                connection.close()
            if connection.is_closed():
                self._all.discard(connection)
            else:
                self._idle.append(connection)

    def close(self) -> None:
        """Drop all connections, also those in use."""
        self._closed = True
        for connection in list(self._all):
            connection.close()

    def _taken(self, origin: httpcore.Origin) -> httpcore.ConnectionInterface:
        """The connection used last, which is the likeliest to live; a new one if none does."""
        with suppress(IndexError):
            while True:
                connection = self._idle.pop()
                if not connection.is_closed() and not connection.has_expired():
                    return connection
                connection.close()
                self._all.discard(connection)
        connection = self._pool.create_connection(origin)
        self._all.add(connection)
        if self._closed:  # asked once it is among those that `close` drops
            raise RuntimeError("closed")
        return connection


def headers_of(response: httpcore.Response) -> dict[str, str]:
    """The headers, names in lower case; of several with one name the last."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}


def text_of(response: httpcore.Response, headers: dict[str, str]) -> str:
    """The body as text, read whole and decoded.

    Raises:
        httpcore.NetworkError, httpcore.ProtocolError, httpcore.ReadTimeout, httpx.HTTPError: it broke off, did not end
            in time, or has more bytes than an answer may have.
    """
    if headers.get("content-encoding", "identity").lower() == "identity" and _is_utf_8(headers):
        return read_bytes(response.iter_stream()).decode(errors="replace")
    whole = httpx.Response(response.status, headers=response.headers, stream=_Body(response))
    read_whole(whole)
    return decoded(whole.content, whole.charset_encoding)


def _is_utf_8(headers: dict[str, str]) -> bool:
    kind = headers.get("content-type", "").lower()
    return "charset" not in kind or "utf-8" in kind


class _Body(httpx.SyncByteStream):
    """A body as httpx takes it."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        yield from self._response.iter_stream()


@lru_cache(maxsize=64)
def _parsed(url: str) -> tuple[httpcore.URL, bytes]:
    """`url` in parts, and what the header `Host` says of it."""
    parsed = httpx.URL(url)
    parts = httpcore.URL(scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path)
    return parts, parsed.netloc
