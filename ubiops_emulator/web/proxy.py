"""In front of a service's instances: token, limits, readiness, and bytes streamed both ways.

Contract: routes and refuses; it changes nothing of a request but what a proxy must.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from ubiops_emulator.api.call import LOOPBACK_NAMES, User
from ubiops_emulator.api.rules import access, services, versions
from ubiops_emulator.platform.clockwork import Platform
from ubiops_emulator.platform.dispatch import NO_CODE_RAN
from ubiops_emulator.refusal import Refusal
from ubiops_emulator.store import Doc
from ubiops_emulator.web import headers, websocket
from ubiops_emulator.web.faults import abort
from ubiops_emulator.web.traffic import Exchange, Limits, remember

LOG = logging.getLogger("emulator.proxy")
CONNECT_TIMEOUT = 5.0


class Proxy:
    """The data plane of all services."""

    def __init__(self, platform: Platform, user: Callable[[str | None], User]) -> None:
        self.platform = platform
        self._user = user
        self._limits = Limits(platform.store, platform.clock)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
        self._transport = httpx.AsyncHTTPTransport(limits=limits)
        self._turn = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send, ident: str | None) -> None:
        service = self.platform.store.by_id("service", ident or "")
        try:
            if service is None:
                raise Refusal(404, "Service was not found")
            headers.undoubled(scope["headers"])
            user = self._admit(dict(scope["headers"]), service)
            with self._limits.admitted(service, user):
                instance = self._instance(service)
                if not self.platform.pace.processes and scope["type"] == "http":
                    await self._from_the_books(scope["path"], instance)(scope, receive, send)
                    return
                port = await self.platform.fleet.ports.real(instance, service.body["port"])
                if scope["type"] == "websocket":
                    await websocket.bridge(
                        scope, receive, send, self._address("ws", port, scope), self._headers(scope, service)
                    )
                    return
                await self._http(scope, receive, send, service, user, port)
        except Refusal as error:
            response: Response = JSONResponse({"error": error.text}, error.status)
            if scope["type"] == "websocket":
                await websocket.refuse(scope, receive, send, response)
                return
            await response(scope, receive, send)

    def _admit(self, raw: dict[bytes, bytes], service: Doc) -> User | None:
        """Who asks; None for a public service."""
        host = raw.get(b"host", b"").decode("latin-1").rpartition(":")[0]
        if host not in LOOPBACK_NAMES:
            raise Refusal(421, f"Host {host!r} is not served here")
        if not service.body["authentication_required"]:
            return None
        if not service.body["authentication_method_token_enabled"]:
            raise Refusal(401, "Token authentication is not enabled for this service")
        user = self._user(raw.get(b"authorization", b"").decode("latin-1"))
        store = self.platform.store
        parent = store.by_id("deployment", service.body["_deployment"])
        project = store.by_id("project", service.parent)
        path = {"project_name": str(project and project.name), "deployment_name": str(parent and parent.name)}
        if not access.allowed(store, user.id, access.CALL_SERVICE, path):
            raise Refusal(403, "You do not have permission to call this service (deployments.requests.create)")
        return user

    def _instance(self, service: Doc) -> Doc:
        """The next ready instance, in turn."""
        store, switches = self.platform.store, self.platform.switches
        ready = services.ready_instances(store, service)
        if not ready:
            ident = versions.target(store, service)
            if ident and switches.service_traffic_wakes:
                self.platform.needed(ident)
            raise Refusal(503, self._asleep(ident))
        self._turn += 1
        chosen = ready[self._turn % len(ready)]
        if switches.service_traffic_keeps_awake:
            self.platform.served(chosen.id)
        return chosen

    def _from_the_books(self, path: str, instance: Doc) -> Response:
        """What can be said of an instance that is only a row: it runs, and its version or its package names models."""
        if path == "/health":
            return JSONResponse({"status": "healthy", "note": NO_CODE_RAN})
        if path == "/v1/models":
            models = [{"id": name, "object": "model", "owned_by": "emulator"} for name in self._models(instance)]
            return JSONResponse({"object": "list", "data": models})
        raise Refusal(501, f"The emulator only keeps the books: nothing answers {path}")

    def _models(self, instance: Doc) -> list[str]:
        version = self.platform.store.by_id("version", instance.parent)
        label = str((version.body["labels"] if version else {}).get("openai-model-names") or "")
        revision = self.platform.store.by_id("revision", instance.body["_revision"] or "")
        return [name for name in label.split(";") if name] or (revision.body.get("_models", []) if revision else [])

    def _asleep(self, ident: str | None) -> str:
        store = self.platform.store
        version = store.by_id("version", ident or "")
        parent = store.by_id("deployment", version.parent) if version else None
        if version is None or parent is None:
            return "The service has no deployment version to route to"
        if store.count("instance", version.id):
            return "No instance is ready: one is starting or not healthy"
        if self.platform.switches.service_traffic_wakes:
            return "No instance is running; one is being started"
        path = f"deployments/{parent.name}/versions/{version.name}/requests"
        return f"No instance is running. Traffic on a service wakes none; a deployment request does: POST …/{path}"

    async def _http(
        self, scope: Scope, receive: Receive, send: Send, service: Doc, user: User | None, port: int
    ) -> None:
        """Forward, but stop as soon as the client has gone."""
        request = Request(scope, receive)
        exchange = Exchange(method=request.method, path=scope["path"], started=self.platform.clock.now())
        exchange.request_type = request.headers.get("content-type", "")
        consumed = asyncio.Event()
        work = asyncio.ensure_future(self._forward(request, send, service, port, exchange, consumed))
        gone = asyncio.ensure_future(_disconnected(receive, consumed))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
            if exchange.status:
                remember(self.platform.store, self.platform.clock, service, user, exchange)

    async def _forward(
        self, request: Request, send: Send, service: Doc, port: int, exchange: Exchange, consumed: asyncio.Event
    ) -> None:
        timeout = float(self.platform.switches.upstream_timeout)
        has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
        if not has_body:
            consumed.set()
        upstream = httpx.Request(
            request.method,
            self._address("http", port, request.scope),
            headers=self._headers(request.scope, service),
            content=_stream(request, exchange, consumed) if has_body else None,
            extensions={"timeout": {"connect": CONNECT_TIMEOUT, "read": timeout, "write": timeout, "pool": None}},
        )
        try:
            answer = await self._transport.handle_async_request(upstream)
        except httpx.TimeoutException as error:
            raise Refusal(504, f"The instance did not answer within {timeout:.0f} s") from error
        except httpx.TransportError as error:
            raise Refusal(503, f"The instance does not answer on port {service.body['port']}") from error
        exchange.status = answer.status_code
        exchange.response_type = answer.headers.get("content-type", "")
        await _hand_on(answer, send, exchange)

    def _address(self, scheme: str, port: int, scope: Scope) -> httpx.URL:
        raw: bytes = scope["raw_path"].split(b"?")[0]
        query: bytes = scope["query_string"]
        return httpx.URL(f"{scheme}://127.0.0.1:{port}").copy_with(raw_path=raw + (b"?" + query if query else b""))

    def _headers(self, scope: Scope, service: Doc) -> headers.Raw:
        client = scope["client"][0] if scope.get("client") else "127.0.0.1"
        passed = service.body["authentication_header_pass_through"]
        return headers.onward(scope["headers"], client, pass_authorization=passed)


async def _hand_on(answer: httpx.Response, send: Send, exchange: Exchange) -> None:
    """An instance's answer, as it comes."""
    raw = headers.end_to_end(answer.headers.raw)
    await send({"type": "http.response.start", "status": answer.status_code, "headers": raw})
    stream: Any = answer.stream
    try:
        async for chunk in stream:
            exchange.add(1, chunk)
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    except httpx.HTTPError:
        # The instance broke off: so that the client sees it, the connection ends without a proper end of the body.
        LOG.warning("an instance broke off its answer")
        abort(send)
    finally:
        with contextlib.suppress(httpx.HTTPError):
            await answer.aclose()


async def _stream(request: Request, exchange: Exchange, consumed: asyncio.Event) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            exchange.add(0, chunk)
            yield chunk
    except ClientDisconnect as error:
        raise httpx.WriteError("the client went away") from error
    finally:
        consumed.set()


async def _disconnected(receive: Receive, consumed: asyncio.Event) -> None:
    """Return when the client has closed the connection."""
    await consumed.wait()
    while (await receive())["type"] != "http.disconnect":
        pass
