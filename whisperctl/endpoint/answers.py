"""Answers of the endpoint that end: in time, however they dribble, and within a bound of decoded bytes.

httpx bounds the silence between two reads or writes only. Here each gets what is left of the whole time, through the
network layer that httpcore has for it. The deadline is that of the thread that asks.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpcore
import httpx

LARGEST = 64 << 20
"""Decoded bytes of an answer; verbose_json of a day of speech has some ten million."""
_AT_ONCE = 256 << 10
"""Bytes that are written within one time limit: a server that takes them slowly would get a new one for each few."""
_now = threading.local()


@contextmanager
def ending(seconds: float) -> Iterator[None]:
    """What this thread asks for meanwhile must have been answered within `seconds`."""
    _now.ends = time.monotonic() + seconds
    try:
        yield
    finally:
        _now.ends = None


def _left(timeout: float | None) -> float | None:
    ends: float | None = getattr(_now, "ends", None)
    if ends is None:
        return timeout
    left = ends - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the answer did not end in time")
    return left if timeout is None else min(left, timeout)


class _Stream(httpcore.NetworkStream):
    """A connection, each read and write within what is left."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        view = memoryview(buffer)
        for start in range(0, len(view), _AT_ONCE):
            self._stream.write(view[start : start + _AT_ONCE], _left(timeout))  # type: ignore[arg-type]

    def close(self) -> None:
        """Close it, also under a thread that reads or writes: a closed socket alone would let that one wait on."""
        connection: socket.socket | None = self._stream.get_extra_info("socket")
        if connection is not None:
            with suppress(OSError):  # the other side has closed it
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        self._stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.SyncBackend):
    """Connections whose answers end."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        return _Stream(super().connect_tcp(host, port, _left(timeout), local_address, socket_options))


def end_answers(client: httpx.Client) -> None:
    """Make every answer to `client` end: httpx has no option for httpcore's network layer."""
    transports = (client._transport, *client._mounts.values())
    for transport in transports:
        if isinstance(transport, httpx.HTTPTransport):
            transport._pool._network_backend = _Backend()


def read_bytes(parts: Iterable[bytes]) -> bytes:
    """All of a body.

    Raises:
        httpx.DecodingError: it has more than `LARGEST` bytes.
        httpcore.ReadTimeout: it did not end in time.
    """
    whole: list[bytes] = []
    size = 0
    for part in parts:
        size += len(part)
        if size > LARGEST:
            raise httpx.DecodingError(f"the answer has more than {LARGEST >> 20} MiB")
        whole.append(part)
        _left(None)
    return b"".join(whole)


def read_whole(response: httpx.Response) -> None:
    """Read and decode the body of a streamed response.

    Raises:
        httpx.HTTPError: it broke off, did not end in time, or has more than `LARGEST` bytes.
    """
    try:
        response._content = read_bytes(response.iter_bytes())
    except httpcore.ReadTimeout as error:
        raise httpx.ReadTimeout(str(error)) from None
    finally:
        response.close()


def decoded(body: bytes, charset: str | None) -> str:
    """A body as text: in `charset` where that is an encoding of text that can read it, otherwise UTF-8.

    Python has codecs that are no such thing (`rot13`, `hex`), or that refuse what they cannot read (`idna`, UTF-16
    without its mark): a server that names one is no reason to fail.
    """
    try:
        return body.decode(charset or "utf-8", errors="replace")
    except (LookupError, ValueError):
        return body.decode(errors="replace")
