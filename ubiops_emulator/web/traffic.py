"""What a service allows and remembers: rate and concurrency limits, and its requests stored with the version's."""

from __future__ import annotations

import mimetypes
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ubiops_emulator.api.call import User
from ubiops_emulator.api.rules import versions
from ubiops_emulator.api.rules.requests import new_request
from ubiops_emulator.clock import Clock, stamp
from ubiops_emulator.platform.dispatch import retain
from ubiops_emulator.refusal import Refusal
from ubiops_emulator.store import Doc, Store

MINUTE = 60.0
KEPT_BYTES = 64 * 1024
FAILED_FROM = 500


class Limits:
    """Requests a minute and requests at once, in all and by user. Counted in memory: a restart forgets them."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._windows: dict[tuple[str, str], tuple[int, int]] = {}
        self._running: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def admitted(self, service: Doc, user: User | None) -> Iterator[None]:
        """Count a request for as long as it runs.

        Raises:
            Refusal: 429; the text tells whether the total or the user's limit was hit.
        """
        keys = {"total": (service.id, "")} | ({"user": (service.id, user.id)} if user else {})
        for who, key in keys.items():
            limit = self._limit(service, user, "concurrency", who)
            if limit is not None and self._running[key] >= limit:
                raise Refusal(429, f"The {who} concurrency limit of {limit} simultaneous requests is exceeded")
        for who, key in keys.items():
            limit = self._limit(service, user, "rate", who)
            if self._count(key) > (limit or float("inf")):
                raise Refusal(429, f"The {who} rate limit of {limit} requests a minute is exceeded")
        self._running.update(keys.values())
        try:
            yield
        finally:
            for key in keys.values():
                self._running[key] -= 1
                if not self._running[key]:
                    del self._running[key]

    def _count(self, key: tuple[str, str]) -> int:
        minute = int(self._clock.now() // MINUTE)
        then, used = self._windows.get(key, (minute, 0))
        used = used + 1 if then == minute else 1
        self._windows[key] = (minute, used)
        return used

    def _limit(self, service: Doc, user: User | None, kind: str, who: str) -> int | None:
        if who == "total" or user is None:
            total: int | None = service.body[f"{kind}_limit"]
            return total
        own = self._store.find(f"user-{kind}-limits", service.id, user.id)
        limit: int | None = own.body["limit"] if own else service.body[f"{kind}_limit_user_default"]
        return limit


@dataclass(slots=True, kw_only=True)
class Exchange:
    """What is remembered of a request through a service; bodies up to a bound, then not at all."""

    method: str
    path: str
    status: int = 0
    request_type: str = ""
    response_type: str = ""
    started: float = 0.0
    sizes: list[int] = field(default_factory=lambda: [0, 0])
    _bodies: list[bytearray] = field(default_factory=lambda: [bytearray(), bytearray()])

    def add(self, side: int, chunk: bytes) -> None:
        """Bytes of the request (0) or the response (1)."""
        self.sizes[side] += len(chunk)
        if self.sizes[side] <= KEPT_BYTES:
            self._bodies[side] += chunk

    def text(self, side: int) -> str | None:
        """A body, when it is small enough and text."""
        if self.sizes[side] > KEPT_BYTES:
            return None
        try:
            return self._bodies[side].decode()
        except UnicodeDecodeError:
            return None


def remember(store: Store, clock: Clock, service: Doc, user: User | None, exchange: Exchange) -> None:
    """Store an exchange as a request of the service's version, unless the service excludes it."""
    ident = versions.target(store, service)
    version = store.by_id("version", ident or "")
    if version is None or version.body["request_retention_mode"] == "none" or excluded(service, exchange):
        return
    now = clock.now()
    body: dict[str, Any] = new_request(exchange.started, exchange.text(0), 0, "service")
    body |= {
        "status": "failed" if exchange.status >= FAILED_FROM else "completed",
        "time_started": body["time_created"],
        "time_completed": stamp(now),
        "input_size": exchange.sizes[0],
        "output_size": exchange.sizes[1],
        "result": exchange.text(1),
        "timeout": None,
        "additional_data": {"path": exchange.path, "method": exchange.method, "status_code": exchange.status},
    }
    body["origin"] = {"created_by": user.email if user else "", "request_type": "service", "service": service.name}
    with store.transaction():
        doc = store.add("request", version.id, None, body)
        retain(store, doc, now)
        store.save(doc)


def excluded(service: Doc, exchange: Exchange) -> bool:
    """By the regular expression for paths, or by an extension that one of the content types stands for."""
    pattern = service.body["request_logging_excluded_paths"]
    try:
        if pattern and re.search(pattern, exchange.path):
            return True
    except re.error:
        return False
    excluded = {name.lower().removeprefix(".") for name in service.body["request_logging_excluded_extensions"]}
    return any(_extensions(kind) & excluded for kind in (exchange.request_type, exchange.response_type))


def _extensions(kind: str) -> set[str]:
    plain = kind.partition(";")[0].strip().lower()
    return {name.removeprefix(".") for name in mimetypes.guess_all_extensions(plain)} if plain else set()
