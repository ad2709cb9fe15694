"""The ASGI application: which socket a request came in on decides whether the API or a service's proxy answers.

Contract: HTTP in, HTTP out. Whatever an answer depends on is decided in the rules.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from ubiops_emulator import seed
from ubiops_emulator.api.call import LOOPBACK_NAMES, Call, FileAnswer, User, Waiting
from ubiops_emulator.api.rules import access, records, requests, services
from ubiops_emulator.clock import stamp
from ubiops_emulator.platform.clockwork import Platform
from ubiops_emulator.refusal import Refusal
from ubiops_emulator.runtime import sockets
from ubiops_emulator.store import Doc
from ubiops_emulator.web import control, faults, transaction, uploads
from ubiops_emulator.web.headers import undoubled
from ubiops_emulator.web.journal import Journal
from ubiops_emulator.web.limits import RateLimiter
from ubiops_emulator.web.proxy import Proxy
from ubiops_emulator.web.queries import unknown
from ubiops_emulator.web.routes import PERMISSIONS, Route, match

LOG = logging.getLogger("emulator.web")
# What one must be allowed to, to control the emulator: an administrator's permission.
CONTROL_ROOT = "/_emulator/"
CONTROL = "projects.update"
ROOTS = ("/v2/",)
LEGACY_ROOT = "/v2.1/"
AUDIT_ACTIONS = {"POST": "create", "PATCH": "update", "PUT": "update", "DELETE": "delete"}


class App:
    """Everything that answers HTTP."""

    def __init__(self, platform: Platform, port: int) -> None:
        self.platform = platform
        self.port = port
        self.limiter = RateLimiter(platform.clock)
        self.journal = Journal()
        self.faults = faults.Faults()
        self.proxy = Proxy(platform, self.user)
        self.services: dict[int, str] = {}
        self.services_changed = asyncio.Event()
        self.services_followed = asyncio.Event()
        self._users: dict[str, tuple[str, float]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        port = scope["server"][1]
        if port != self.port:
            await self.proxy(scope, receive, send, self.services.get(port))
        elif scope["type"] == "http":
            await self._api(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def changed_everything(self) -> None:
        """The whole state was replaced."""
        self.platform.recover()
        self.platform.wake()
        await self.follow_services()

    async def follow_services(self) -> None:
        """Return when every service's socket listens, and none of a service that is gone."""
        self.services_followed.clear()
        self.services_changed.set()
        await self.services_followed.wait()

    async def _api(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        request = Request(scope, receive)
        entry: dict[str, Any] = {"method": scope["method"], "path": scope["path"]}
        entry["query"] = scope["query_string"].decode(errors="replace")
        try:
            response = await self._answer(request, entry)
        except Refusal as error:
            response = refused(error)
        except faults.Broken as error:
            entry["fault"] = True
            response = error.response
        except faults.Dropped as error:
            entry |= {"status": 0, "fault": error.kind}
            self.journal.add(entry, began)
            faults.abort(send)
            return
        except Exception:
            LOG.exception("%s %s failed", scope["method"], scope["path"])
            response = JSONResponse({"error": "The emulator failed; its log says why"}, 500)
        for name, value in self.limiter.headers(entry.get("group", "other"), address(scope), self._limit()).items():
            response.headers.setdefault(name, value)
        entry["status"] = response.status_code
        if not scope["path"].startswith(CONTROL_ROOT):
            self.journal.add(entry, began)
        await response(scope, receive, send)

    def _limit(self) -> int:
        return self.platform.switches.rate_limit

    async def _answer(self, request: Request, entry: dict[str, Any]) -> Response:
        undoubled(request.scope["headers"])
        check_host(request.headers.get("host", ""), self.port)
        path = request.scope.get("raw_path", request.scope["path"].encode()).decode("latin-1").split("?")[0]
        if path.startswith(CONTROL_ROOT):
            user = self.user(request.headers.get("authorization"))
            if not access.allowed(self.platform.store, user.id, CONTROL, {"project_name": seed.PROJECT}):
                raise Refusal(403, "Only an administrator of the project may control the emulator")
            return await control.answer(self, request, path)
        matching = match(request.method, self._below_root(request.method, path))
        if matching is None:
            raise Refusal(501, f"The emulator does not implement {request.method} {path}")
        route, values = matching
        entry["group"] = route.kind
        self.limiter.count(route.kind, address(request.scope), self._limit())
        left = await self.faults.before(request.method, path)
        user = self._authorised(request, route, values)
        entry["user"] = user.email
        try:
            response = await self._performed(request, route, values, user)
        except Refusal as error:
            response = refused(error)
        if "drop-after" in left:
            raise faults.Dropped("drop-after")
        return self.faults.after(left, request.method, path, response)

    def _below_root(self, verb: str, path: str) -> str:
        roots = (*ROOTS, LEGACY_ROOT) if self.platform.switches.legacy_api_path else ROOTS
        for root in roots:
            if path.startswith(root):
                return path[len(root) :]
        raise Refusal(501, f"The emulator does not implement {verb} {path}")

    def _authorised(self, request: Request, route: Route, values: dict[str, str]) -> User:
        if route.public:
            return User(id="", email="")
        user = self.user(request.headers.get("authorization"))
        if not access.allowed(self.platform.store, user.id, route.permission, values):
            raise Refusal(403, f"You do not have permission to perform this action ({route.permission})")
        return user

    def user(self, header: str | None) -> User:
        """Who a header's token belongs to.

        Raises:
            Refusal: 401 for a missing, malformed, unknown or expired token.
        """
        if not header:
            raise Refusal(401, "Authentication credentials were not provided.")
        scheme, _, token = header.partition(" ")
        if scheme not in {"Token", "Bearer"} or not token:
            raise Refusal(401, "Invalid token header. Use: Token <token>")
        if " " in token.strip():
            raise Refusal(401, "Invalid token header. Token string should not contain spaces.")
        doc = access.token_user(self.platform.store, token.strip(), self.platform.clock.now())
        if doc is None:
            raise Refusal(401, "Invalid token.")
        return User(id=doc.id, email=doc.body["email"])

    async def _performed(self, request: Request, route: Route, values: dict[str, str], user: User) -> Response:
        platform = self.platform
        call = Call(
            store=platform.store,
            user=user,
            now=platform.clock.now(),
            switches=platform.switches,
            path=values,
            query=dict(parse_qsl(request.scope["query_string"].decode(errors="replace"), keep_blank_values=True)),
            url=str(request.url.replace(query="")),
            known_permissions=tuple(PERMISSIONS),
            free_port=sockets.free_port,
            capacity=platform.pace.capacity,
        )
        strange = unknown(route.rule, call.query)
        if strange and platform.switches.reject_unknown_fields:
            raise Refusal(400, f"{', '.join(strange)}: unknown query parameter")
        if request.method in {"POST", "PATCH", "PUT"}:
            call.body, call.upload = await uploads.read(request, platform)
        call.now = platform.clock.now()
        answer = self._transacted(call, route, request.method)
        if services.SERVICES in call.signals:
            await self.follow_services()
        if isinstance(answer, Waiting):
            return await self._waited(answer)
        if isinstance(answer, FileAnswer):
            return FileResponse(answer.path, filename=answer.filename, media_type="application/octet-stream")
        return answer

    def _transacted(self, call: Call, route: Route, verb: str) -> transaction.Answer:
        if verb == "GET":
            return transaction.worded(route.rule(call), route.status)
        answer = transaction.performed(
            self.platform.store, call, route.rule, route.status, lambda result: _audit(call, route, verb, result)
        )
        self.platform.signalled(call.signals)
        return answer

    async def _waited(self, waiting: Waiting) -> Response:
        if waiting.stream:
            return StreamingResponse(self._events(waiting), media_type="text/event-stream")
        ident = waiting.request
        await self.platform.dispatch.outcome(ident)
        return JSONResponse(requests.created(self.platform.store, ident), 200)

    async def _events(self, waiting: Waiting) -> AsyncIterator[str]:
        """Server-sent events of what is streamed, and at the end the whole answer as a line of its own."""
        async for data in self.platform.dispatch.updates(waiting.request):
            text = data if isinstance(data, str) else json.dumps(data)
            yield f"event: update\ndata:{text}\n\n"
        yield json.dumps(requests.created(self.platform.store, waiting.request)) + "\n"


def address(scope: Scope) -> str:
    """Whom the rate limit counts."""
    return str(scope["client"][0]) if scope.get("client") else ""


def refused(error: Refusal) -> Response:
    """A refusal as the API's answer."""
    return JSONResponse({"error": error.text}, error.status)


def check_host(host: str, port: int) -> None:
    """Refuse names that are not loopback's: a web page must not reach us by rebinding its name.

    Raises:
        Refusal: 421 for any other name or port.
    """
    if host not in {f"{name}:{port}" for name in LOOPBACK_NAMES}:
        raise Refusal(421, f"Host {host!r} is not served here; use 127.0.0.1:{port}")


def _audit(call: Call, route: Route, verb: str, result: Any) -> None:
    """Every write leaves a trace: who did what to which object."""
    project: Doc | None = call.store.find("project", "system", call.path.get("project_name", ""))
    if project is None:
        return
    kind = "_".join(part.removesuffix("s") for part in route.object.split(".")).replace("-", "_")
    body = result if isinstance(result, dict) else {}
    names = [value for key, value in call.path.items() if key != "project_name"]
    name = str(body.get("name") or body.get("version") or (names[-1] if names else ""))
    deployment_name = name if kind == "deployment" else call.path.get("deployment_name", "")
    parent = call.store.find("deployment", project.id, deployment_name)
    entry = {
        "date": stamp(call.now),
        "action": AUDIT_ACTIONS[verb],
        "user": call.user.email,
        "event": f"{kind} {name}: {AUDIT_ACTIONS[verb]}",
        "object_type": kind,
        "object_name": name,
        "_deployment": parent.id if parent else None,
    }
    records.audit(call.store, project.id, entry)
