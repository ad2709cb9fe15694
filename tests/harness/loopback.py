"""HTTP to a server of this machine, as httpx speaks it, without TLS.

httpx reads the certificates of all authorities for each call and each client, which takes 50 ms: longer than the call.
"""

from __future__ import annotations

import ssl
from typing import Any

import httpx

NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def get(url: str, **more: Any) -> httpx.Response:
    """`httpx.get`."""
    return httpx.get(url, verify=NO_AUTHORITIES, **more)


def post(url: str, **more: Any) -> httpx.Response:
    """`httpx.post`."""
    return httpx.post(url, verify=NO_AUTHORITIES, **more)


def request(verb: str, url: str, **more: Any) -> httpx.Response:
    """`httpx.request`."""
    return httpx.request(verb, url, verify=NO_AUTHORITIES, **more)


def client(**more: Any) -> httpx.Client:
    """`httpx.Client`."""
    return httpx.Client(verify=NO_AUTHORITIES, **more)
