"""How quickly a connection's bytes are delivered, as the kernel measures it: `TCP_INFO` of Linux (tcp(7))."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from typing import Any

_RATE_AT = 160
"""`tcpi_delivery_rate` of `struct tcp_info` in linux/tcp.h: bytes a second, 64 bits, since Linux 4.9."""


def delivery_rate(extensions: Mapping[str, Any]) -> float | None:
    """Bytes a second that the peer has acknowledged lately; None where nobody tells, or nothing was sent yet.

    Args:
        extensions: of a response of httpx or httpcore: they name its connection.
    """
    stream: Any = extensions.get("network_stream")
    connection = stream.get_extra_info("socket") if stream is not None else None
    if connection is None or not hasattr(socket, "TCP_INFO"):
        return None
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RATE_AT + 8)
    except OSError:  # the other side has closed it, or it is no TCP
        return None
    return float(struct.unpack_from("=Q", info, _RATE_AT)[0]) or None if len(info) == _RATE_AT + 8 else None
