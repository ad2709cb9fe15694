"""Where an instance listens, and whether it is healthy: what decides if a service may route to it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any

import httpx

from ubiops_emulator.runtime import orphans, sockets
from ubiops_emulator.store import Doc, Store

INTERVAL = 30.0
TIMEOUT = 5.0
FAST = 1.0
_NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Instances speak http:// on this machine: to read the certificates of all authorities takes longer than a probe."""


class Ports:
    """From the port a service names to the port an instance really has: packages share one machine here.

    A package that honours WHISPERCTL_PORT listens there; another one listens where it always does, if that is free.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[tuple[str, int], int] = {}

    async def real(self, instance: Doc, declared: int) -> int:
        """The port to connect to for `declared`."""
        known = self._known.get((instance.id, declared))
        if known is not None:
            return known
        given = int(instance.body.get("_process_port") or declared)
        version = self._store.by_id("version", instance.parent)
        check = (version.body["health_check"] if version else None) or {}
        candidates = [given, declared] if declared == (check.get("port") or declared) else [declared]
        for port in candidates:
            if await self._listens(instance, port, given):
                self._known[instance.id, declared] = port
                return port
        return given if len(candidates) > 1 else declared

    async def _listens(self, instance: Doc, port: int, given: int) -> bool:
        if port == given:
            return await _accepts(port)
        mark = str(instance.body.get("_mark", "-"))
        return await asyncio.to_thread(lambda: sockets.listens(port, list(orphans.marked(mark))))

    def forget(self, ident: str) -> None:
        """The instance's process has ended: the next one may listen elsewhere."""
        for key in [key for key in self._known if key[0] == ident]:
            del self._known[key]


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(sockets.LOOPBACK, port), TIMEOUT)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def watch(
    store: Store,
    ports: Ports,
    ident: str,
    alive: Callable[[], bool],
    tell: Callable[[bool], None],
    sick: Callable[[], bool],
) -> None:
    """Probe an instance while its process lives; `tell` what is found, failures only from the threshold on.

    Args:
        sick: a fault that lets every probe fail.
    """
    failures = 0
    async with httpx.AsyncClient(verify=_NO_AUTHORITIES, trust_env=False) as client:
        while alive():
            doc = store.by_id("instance", ident)
            if doc is None:
                return
            check = _check(store, doc)
            good = check is None or (not sick() and await _probe(client, ports, doc, check))
            failures = 0 if good else failures + 1
            if good or failures >= ((check or {}).get("failure_threshold") or 1):
                tell(good)
            interval = float((check or {}).get("interval") or INTERVAL)
            # Until it is healthy an instance is asked often: a long interval shall not delay its first request.
            await asyncio.sleep(min(interval, FAST) if check is None or not good else interval)


def _check(store: Store, doc: Doc) -> dict[str, Any] | None:
    version = store.by_id("version", doc.parent)
    check: dict[str, Any] | None = version.body["health_check"] if version else None
    return check


async def _probe(client: httpx.AsyncClient, ports: Ports, doc: Doc, check: dict[str, Any]) -> bool:
    port = await ports.real(doc, check["port"])
    timeout = float(check.get("timeout") or TIMEOUT)
    try:
        answer = await client.get(f"http://{sockets.LOOPBACK}:{port}{check['path']}", timeout=timeout)
    except httpx.HTTPError:
        return False
    return answer.is_success
