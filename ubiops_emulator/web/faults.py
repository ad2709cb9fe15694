"""Faults on demand: what may go wrong between a client and UbiOps, made to go wrong.

Contract: a fault matches requests by method and path and is counted down; what it does to builds and instances is
handed to the platform.
"""

from __future__ import annotations

import asyncio
import random
import re
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Send

from ubiops_emulator.refusal import invalid

KINDS = {
    "latency": "answers `ms` milliseconds later, give or take `jitter`",
    "throttle": "429 with x-ratelimit-reset of `reset` seconds",
    "error": "`status` (502) with an HTML body",
    "refusal": "`status` (502) in UbiOps' own JSON, with `text`",
    "drop-before": "closes the connection before anything happened",
    "drop-after": "closes the connection after the call has had its effect",
    "stale": "answers a GET as before the latest change",
    "build-fail": "the next `count` builds fail with `text`",
    "build-endless": "the next `count` builds never end",
    "unhealthy": "instances do not become healthy while this is set",
}
BUILD_KINDS = ("build-fail", "build-endless", "unhealthy")
MOST_REMEMBERED = 5000


class Dropped(Exception):
    """The connection is to be closed without an answer."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault. `count` 0 means without end; `path` is a regular expression searched in the raw path."""

    kind: str
    method: str = ""
    path: str = ""
    probability: float = 1.0
    count: int = 0
    ms: int = 0
    jitter: int = 0
    reset: int = 1
    status: int = 502
    text: str = "The build failed on demand"


def fault(values: dict[str, Any]) -> Fault:
    """A fault from JSON.

    Raises:
        Refusal: 400 for an unknown kind, field or a wrong type.
    """
    kinds = {field.name: str(field.type) for field in fields(Fault)}
    types: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (int, float)}
    for name, value in values.items():
        if name not in kinds:
            raise invalid(f"unknown fault field {name}; known: {', '.join(kinds)}")
        if not isinstance(value, types[kinds[name]]) or isinstance(value, bool):
            raise invalid(f"fault field {name}: {kinds[name]} is required")
    if values.get("kind") not in KINDS:
        raise invalid(f"unknown fault kind {values.get('kind')!r}; known: {', '.join(KINDS)}")
    try:
        re.compile(values.get("path", ""))
    except re.error as error:
        raise invalid(f"fault field path: {error}") from error
    return Fault(**values)


def parse(text: str) -> Fault:
    """`KIND[,field=value…]` as given on the command line.

    Raises:
        Refusal: 400 for an unknown kind or field, text for a number, or a path that is no regular expression.
    """
    kind, *rest = text.split(",")
    values: dict[str, Any] = {"kind": kind}
    kinds = {field.name: str(field.type) for field in fields(Fault)}
    for part in rest:
        name, _, word = part.partition("=")
        try:
            values[name] = {"int": int, "float": float}.get(kinds.get(name, "str"), str)(word)
        except ValueError as error:
            raise invalid(f"fault field {name}: a number is required") from error
    return fault(values)


class Faults:
    """The faults that are set, and what they need to remember."""

    def __init__(self, seed: int = 0) -> None:
        self._set: list[Fault] = []
        self._random = random.Random(seed)  # noqa: S311 - reproducible, not secret
        self._seen: dict[str, tuple[bytes, int]] = {}

    def add(self, item: Fault) -> None:
        """Set a fault."""
        self._set.append(item)

    def clear(self) -> None:
        """Remove all faults."""
        self._set.clear()
        self._seen.clear()

    def listed(self) -> list[dict[str, Any]]:
        """The faults that are set, as the control call shows them."""
        return [asdict(item) for item in self._set]

    async def before(self, method: str, path: str) -> set[str]:
        """Apply what comes before a call; the kinds that are left for afterwards.

        Raises:
            Dropped: the connection is to be closed now.
            Broken: another answer is to be given now.
        """
        left: set[str] = set()
        for item in self._drawn(method, path):
            match item.kind:
                case "latency":
                    spread = self._random.uniform(-item.jitter, item.jitter)
                    await asyncio.sleep(max(0.0, item.ms + spread) / 1000)
                case "throttle":
                    raise Broken(_throttled(item))
                case "error":
                    raise Broken(HTMLResponse(f"<html><h1>{item.status} Bad Gateway</h1></html>", item.status))
                case "refusal":
                    raise Broken(JSONResponse({"error": item.text}, item.status))
                case "drop-before":
                    raise Dropped(item.kind)
                case _:
                    left.add(item.kind)
        return left

    def after(self, left: set[str], method: str, path: str, response: Response) -> Response:
        """Remember answers for staleness; give an old one when that is wanted."""
        remembering = "stale" in left or any(item.kind == "stale" for item in self._set)
        if method != "GET" or not remembering:
            return response
        old = self._seen.get(path)
        if (old or len(self._seen) < MOST_REMEMBERED) and isinstance(response.body, bytes):
            self._seen[path] = (response.body, response.status_code)
        if "stale" in left and old is not None:
            # One answer behind: a client that goes on asking sees the change.
            return Response(old[0], old[1], media_type="application/json")
        return response

    def _drawn(self, method: str, path: str) -> list[Fault]:
        drawn = []
        for item in list(self._set):
            if item.method not in {"", method} or not re.search(item.path, path) or item.kind in BUILD_KINDS:
                continue
            if self._random.random() >= item.probability:
                continue
            drawn.append(item)
            if item.count == 1:
                self._set.remove(item)
            elif item.count:
                self._set[self._set.index(item)] = replace(item, count=item.count - 1)
        return drawn


class Broken(Exception):
    """Another answer than the call's is given."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


def _throttled(item: Fault) -> Response:
    headers = {"x-ratelimit-limit": "300", "x-ratelimit-remaining": "0", "x-ratelimit-reset": str(item.reset)}
    return JSONResponse({"error": "Request was throttled: too many requests"}, 429, headers)


def abort(send: Send) -> None:
    """Cut the connection. ASGI has no word for it: uvicorn's cycle, which `send` is bound to, holds the transport."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is not None:
        transport.abort()
