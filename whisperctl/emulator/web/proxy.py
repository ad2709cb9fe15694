"""In front of a service's instances: token, limits, readiness, and bytes streamed both ways.

Contract: routes and refuses; it changes nothing of a request but what a proxy must.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from whisperctl.emulator import work
from whisperctl.emulator.call import LOOPBACK_NAMES, User
from whisperctl.emulator.platform import Platform
from whisperctl.emulator.refusal import Refusal
from whisperctl.emulator.rules import access, services, versions
from whisperctl.emulator.store import Doc
from whisperctl.emulator.web.faults import abort

LOG = logging.getLogger("emulator.proxy")
# RFC 9110, section 7.6.1: these concern one connection, not the message.
HOP_BY_HOP = {
    *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer"),
    *("transfer-encoding", "upgrade"),
}
CONNECT_TIMEOUT = 5.0


class Proxy:
    """The data plane of all services."""

    def __init__(self, platform: Platform, user: Callable[[str | None], User]) -> None:
        self.platform = platform
        self._user = user
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
        self._transport = httpx.AsyncHTTPTransport(limits=limits)
        self._turn = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send, ident: str | None) -> None:
        request = Request(scope, receive)
        try:
            doc = self.platform.store.by_id("service", ident or "")
            if doc is None:
                raise Refusal(404, "Service was not found")
            response = await self._routed(request, doc)
        except Refusal as err:
            response = JSONResponse({"error": err.text}, err.status)
        await response(scope, receive, send)

    async def _routed(self, request: Request, doc: Doc) -> Response:
        host = request.headers.get("host", "").rpartition(":")[0]
        if host not in LOOPBACK_NAMES:
            raise Refusal(421, f"Host {host!r} is not served here")
        self.authorised(request.headers.get("authorization"), doc)
        instance = self.instance(doc)
        if self.platform.settings.runtime == "none":
            return self._from_the_books(request.url.path, doc)
        return await self._forwarded(request, doc, instance)

    def _from_the_books(self, path: str, doc: Doc) -> Response:
        """What can be said of an instance that is only a row: it runs, and which models its version's labels declare."""
        if path == "/health":
            return JSONResponse({"note": work.ONLY_BOOKS})
        if path == "/v1/models":
            version = self.platform.store.by_id("version", versions.target(self.platform.store, doc) or "")
            names = str((version.body["labels"] if version else {}).get("openai-model-names") or "").split(";")
            models = [{"id": name, "object": "model", "owned_by": "emulator"} for name in names if name]
            return JSONResponse({"object": "list", "data": models, "note": work.ONLY_BOOKS})
        raise Refusal(501, f"{work.ONLY_BOOKS}: nothing answers {path}")

    def authorised(self, header: str | None, doc: Doc) -> User | None:
        """Who asks; None for a public service."""
        if not doc.body["authentication_required"]:
            return None
        user = self._user(header)
        store = self.platform.store
        parent = store.by_id("deployment", doc.body["_deployment"])
        project = store.by_id("project", doc.parent)
        path = {
            "project_name": str(project.name if project else ""),
            "deployment_name": str(parent.name if parent else ""),
        }
        if not access.allowed(store, user.id, access.CALL_SERVICE, path):
            raise Refusal(403, "You do not have permission to call this service (deployments.requests.create)")
        return user

    def instance(self, doc: Doc) -> Doc:
        """The next ready instance, in turn."""
        store = self.platform.store
        ready = services.ready_instances(store, doc)
        if not ready:
            ident = versions.target(store, doc)
            if ident and self.platform.switches.service_traffic_wakes:
                self.platform.wanted(ident)
            raise Refusal(503, self._asleep(ident))
        self._turn += 1
        return ready[self._turn % len(ready)]

    def _asleep(self, ident: str | None) -> str:
        store = self.platform.store
        version = store.by_id("version", ident or "")
        parent = store.by_id("deployment", version.parent) if version else None
        if version is None or parent is None:
            return "The service has no deployment version to route to"
        if store.count("instance", version.id):
            return "No instance is ready: one is starting or not healthy"
        path = f"deployments/{parent.name}/versions/{version.name}/requests"
        return f"No instance is running. Traffic on a service wakes none; a deployment request does: POST …/{path}"

    async def _forwarded(self, request: Request, doc: Doc, instance: Doc) -> Response:
        port = work.actual_port(self.platform.store, instance, doc.body["port"])
        raw = request.scope["raw_path"].split(b"?")[0]
        query = request.scope["query_string"]
        target = httpx.URL(f"http://127.0.0.1:{port}").copy_with(raw_path=raw + (b"?" + query if query else b""))
        timeout = float(self.platform.switches.upstream_timeout)
        upstream = httpx.Request(
            request.method,
            target,
            headers=_onward(request, doc),
            content=_stream(request) if _has_body(request) else None,
            extensions={"timeout": {"connect": CONNECT_TIMEOUT, "read": timeout, "write": timeout, "pool": None}},
        )
        try:
            answer = await self._transport.handle_async_request(upstream)
        except httpx.TimeoutException as err:
            raise Refusal(504, f"The instance did not answer within {timeout:.0f} s") from err
        except httpx.TransportError as err:
            raise Refusal(503, f"The instance does not accept connections on port {doc.body['port']}") from err
        return Streamed(answer)


class Streamed(Response):
    """An instance's answer, handed on as it comes."""

    def __init__(self, answer: httpx.Response) -> None:
        self.status_code = answer.status_code
        self.background = None
        self.answer = answer
        self.raw_headers = _kept(answer.headers.raw)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            assert isinstance(self.answer.stream, httpx.AsyncByteStream)
            async for chunk in self.answer.stream:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except httpx.HTTPError:
            # The instance broke off: without the closing chunk the client sees that too.
            LOG.warning("an instance broke off its answer")
            abort(send)
            return
        finally:
            await self.answer.aclose()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _has_body(request: Request) -> bool:
    return "content-length" in request.headers or "transfer-encoding" in request.headers


async def _stream(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect as err:
        raise httpx.WriteError("the client went away") from err


def _onward(request: Request, doc: Doc) -> list[tuple[bytes, bytes]]:
    headers = _kept(request.headers.raw)
    if not doc.body["authentication_header_pass_through"]:
        headers = [(name, value) for name, value in headers if name.lower() != b"authorization"]
    if "transfer-encoding" in request.headers:
        headers = [(name, value) for name, value in headers if name.lower() != b"content-length"]
        headers.append((b"transfer-encoding", b"chunked"))
    client = request.client.host if request.client else "127.0.0.1"
    return [*headers, (b"x-forwarded-for", client.encode()), (b"x-forwarded-proto", b"http")]


def _kept(raw: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers without those of the connection, and without those that `Connection` names."""
    named = {
        part.strip().lower().decode("latin-1")
        for name, value in raw
        if name.lower() == b"connection"
        for part in value.split(b",")
    }
    drop = HOP_BY_HOP | named
    return [(name, value) for name, value in raw if name.lower().decode("latin-1") not in drop]
