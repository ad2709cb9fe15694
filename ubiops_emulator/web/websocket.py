"""WebSocket through the proxy: two connections, messages handed on both ways, the first end ends both."""

from __future__ import annotations

import asyncio
import contextlib

import httpx
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

from ubiops_emulator.refusal import Refusal
from ubiops_emulator.web.headers import Raw

OWN = (b"host", b"origin")
GOING_AWAY = 1001


async def bridge(scope: Scope, receive: Receive, send: Send, address: httpx.URL, raw: Raw) -> None:
    """Connect to the instance, then accept the client.

    Raises:
        Refusal: 503 when the instance does not take the connection.
    """
    passed = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in raw
        if not name.lower().startswith(b"sec-websocket") and name.lower() not in OWN
    ]
    protocols = [Subprotocol(name) for name in scope.get("subprotocols", [])]
    try:
        upstream = await connect(
            str(address), additional_headers=passed, subprotocols=protocols or None, max_size=None, proxy=None
        )
    except (OSError, InvalidHandshake, TimeoutError) as error:
        raise Refusal(503, "The instance does not take the WebSocket connection") from error
    async with upstream:
        await receive()
        await send({"type": "websocket.accept", "subprotocol": upstream.subprotocol})
        jobs = {asyncio.ensure_future(_up(receive, upstream)), asyncio.ensure_future(_down(upstream, send))}
        _, pending = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
        for job in pending:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)


async def _up(receive: Receive, upstream: ClientConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        while (message := await receive())["type"] != "websocket.disconnect":
            text = message.get("text")
            await upstream.send(message["bytes"] if text is None else text)
        await upstream.close(message.get("code") or GOING_AWAY)


async def _down(upstream: ClientConnection, send: Send) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for message in upstream:
            key = "text" if isinstance(message, str) else "bytes"
            await send({"type": "websocket.send", key: message})
    code = upstream.close_code if upstream.close_code not in {None, 1005, 1006} else GOING_AWAY
    await send({"type": "websocket.close", "code": code, "reason": upstream.close_reason or ""})


async def refuse(scope: Scope, receive: Receive, send: Send, response: Response) -> None:
    """Answer a WebSocket handshake with an HTTP response."""
    await receive()
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008})
        return

    start = {"status": response.status_code, "headers": response.raw_headers}
    await send({"type": "websocket.http.response.start", **start})
    await send({"type": "websocket.http.response.body", "body": response.body, "more_body": False})
