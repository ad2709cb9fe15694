"""The emulator's own calls below `/_emulator/`: journal, faults, switches, capacity, clock, reset, snapshots.

Contract: JSON in and out; who may call them is decided before. They see of the application only what `Controlled` has.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ubiops_emulator import seed
from ubiops_emulator.api import scheduling
from ubiops_emulator.numbers import whole
from ubiops_emulator.platform.clockwork import Platform
from ubiops_emulator.refusal import Refusal, invalid, not_found
from ubiops_emulator.switches import switched
from ubiops_emulator.web import faults
from ubiops_emulator.web.journal import Journal
from ubiops_emulator.web.json_body import parsed


class Controlled(Protocol):
    """What these calls look at and change."""

    platform: Platform
    journal: Journal
    faults: faults.Faults

    async def changed_everything(self) -> None:
        """The whole state was replaced."""


async def answer(app: Controlled, request: Request, path: str) -> Response:
    """Do what a control path asks for.

    Raises:
        Refusal: 400 for a wrong body, 404 for an unknown snapshot, 501 for an unknown path.
    """
    body = await _body(request)
    call = path.removeprefix("/_emulator/")
    match request.method, call:
        case "GET", "journal":
            return JSONResponse(app.journal.since(_since(request)))
        case "DELETE", "journal":
            app.journal.clear()
        case (("GET" | "POST" | "DELETE"), "faults"):
            return _faults(app, request.method, body)
        case (("GET" | "PATCH"), ("switches" | "capacity")):
            return JSONResponse(_setting(app, call, body if request.method == "PATCH" else {}))
        case "POST", "clock":
            return _clock(app, body)
        case "POST", ("reset" | "snapshot" | "restore"):
            await _replaced(app, call, body)
        case "GET", "processes":
            return JSONResponse({ident: process.pid for ident, process in app.platform.fleet.processes.items()})
        case _:
            raise Refusal(501, f"The emulator does not implement {request.method} {path}")
    return JSONResponse({"success": True})


def _setting(app: Controlled, name: str, changes: dict[str, Any]) -> dict[str, Any]:
    """The switches or the capacity, with changes made."""
    platform = app.platform
    if name == "switches":
        platform.switches = switched(platform.switches, changes)
        return asdict(platform.switches)
    if changes:
        platform.set_capacity(scheduling.changed(platform.pace.capacity, changes, seed.TYPE_NAMES))
    return dict(platform.pace.capacity)


async def _replaced(app: Controlled, call: str, body: dict[str, Any]) -> None:
    """Keep the whole state under a name, put it back, or begin afresh."""
    if call == "reset":
        await reset(app)
        return
    file = path_of(app, body)
    if call == "snapshot":
        file.parent.mkdir(exist_ok=True, mode=0o700)
        app.platform.store.copy_to(file)
        return
    if not file.is_file():
        raise not_found("Snapshot")
    await _restore(app, file)


def _since(request: Request) -> int:
    since = whole(request.query_params.get("since", "0"))
    if since is None or since < 0:
        raise invalid("since: a number is required")
    return since


async def _body(request: Request) -> dict[str, Any]:
    text = await request.body()
    body = parsed(text) if text else {}
    if not isinstance(body, dict):
        raise invalid("The request body must be a JSON object")
    return body


def _faults(app: Controlled, method: str, body: dict[str, Any]) -> Response:
    if method == "DELETE":
        app.faults.clear()
        app.platform.faults.clear()
    if method == "POST":
        set_fault(app, faults.fault(body))
    app.platform.faults_changed()
    listed = app.faults.listed() + app.platform.faults.listed()
    return JSONResponse(listed)


def set_fault(app: Controlled, item: faults.Fault) -> None:
    """Hand a fault to whoever performs it."""
    builds = app.platform.faults
    match item.kind:
        case "build-fail":
            builds.fail, builds.text = item.count or 1, item.text
        case "build-endless":
            builds.endless = item.count or 1
        case "unhealthy":
            builds.unhealthy = True
        case _:
            app.faults.add(item)


def _clock(app: Controlled, body: dict[str, Any]) -> Response:
    seconds = body.get("advance", 0)
    if not isinstance(seconds, int | float) or seconds < 0:
        raise invalid("advance: a number of seconds is required")
    app.platform.clock.advance(float(seconds))
    app.platform.wake()
    return JSONResponse({"now": app.platform.clock.now()})


async def reset(app: Controlled) -> None:
    """A fresh project; the token stays."""
    store = app.platform.store
    await app.platform.halt()
    token = store.setting("token") or ""
    with store.transaction():
        store.clear()
        seed.seed(store, app.platform.clock.now(), token)
    await app.changed_everything()


async def _restore(app: Controlled, path: Path) -> None:
    token = app.platform.store.setting("token") or ""
    await app.platform.halt()
    app.platform.store.copy_from(path)
    with app.platform.store.transaction():
        seed.keep_token(app.platform.store, token)
    await app.changed_everything()


def path_of(app: Controlled, body: dict[str, Any]) -> Path:
    """The file of a named snapshot.

    Raises:
        Refusal: 400 unless it has 1 to 64 letters, digits, dots, dashes and underscores, a letter or digit first.
    """
    name = body.get("name", "snapshot")
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name):
        raise invalid("name: letters, digits, dots, dashes and underscores are allowed")
    return app.platform.store.folder / "snapshots" / f"{name}.sqlite"
