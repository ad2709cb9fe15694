"""The emulator's own calls below `/_emulator/`: journal, faults, switches, clock, reset, snapshots. Token required."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ubiops_emulator import seed
from ubiops_emulator.refusal import Refusal, invalid, not_found
from ubiops_emulator.switches import switched
from ubiops_emulator.web import faults

if TYPE_CHECKING:
    from ubiops_emulator.web.app import App


async def answer(app: App, request: Request, path: str) -> Response:
    """Do what a control path asks for."""
    body = await _body(request)
    match request.method, path.removeprefix("/_emulator/"):
        case "GET", "journal":
            return JSONResponse(app.journal.since(_since(request)))
        case "DELETE", "journal":
            app.journal.clear()
        case (("GET" | "POST" | "DELETE"), "faults"):
            return _faults(app, request.method, body)
        case (("GET" | "PATCH"), "switches"):
            if request.method == "PATCH":
                app.platform.switches = switched(app.platform.switches, body)
            return JSONResponse(asdict(app.platform.switches))
        case "POST", "clock":
            return _clock(app, body)
        case "POST", "reset":
            await reset(app)
        case "POST", "snapshot":
            path_of(app, body).parent.mkdir(exist_ok=True, mode=0o700)
            app.platform.store.copy_to(path_of(app, body))
        case "POST", "restore":
            if not path_of(app, body).is_file():
                raise not_found("Snapshot")
            await _restore(app, path_of(app, body))
        case "GET", "processes":
            return JSONResponse({ident: process.pid for ident, process in app.platform.fleet.processes.items()})
        case _:
            raise Refusal(501, f"The emulator does not implement {request.method} {path}")
    return JSONResponse({"success": True})


def _since(request: Request) -> int:
    text = request.query_params.get("since", "0")
    if not text.isdigit():
        raise invalid("since: a number is required")
    return int(text)


async def _body(request: Request) -> dict[str, Any]:
    text = await request.body()
    try:
        body = json.loads(text) if text else {}
    except ValueError as err:
        raise invalid(f"JSON parse error: {err}") from err
    if not isinstance(body, dict):
        raise invalid("The request body must be a JSON object")
    return body


def _faults(app: App, method: str, body: dict[str, Any]) -> Response:
    if method == "DELETE":
        app.faults.clear()
        app.platform.faults.clear()
    if method == "POST":
        set_fault(app, faults.fault(body))
    app.platform.faults_changed()
    listed = app.faults.listed() + app.platform.faults.listed()
    return JSONResponse(listed)


def set_fault(app: App, item: faults.Fault) -> None:
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


def _clock(app: App, body: dict[str, Any]) -> Response:
    seconds = body.get("advance", 0)
    if not isinstance(seconds, int | float) or seconds < 0:
        raise invalid("advance: a number of seconds is required")
    app.platform.clock.advance(float(seconds))
    app.platform.wake()
    return JSONResponse({"now": app.platform.clock.now()})


async def reset(app: App) -> None:
    """A fresh project; the token stays."""
    store = app.platform.store
    await app.platform.halt()
    token = store.setting("token") or ""
    with store.transaction():
        store.clear()
        seed.seed(store, app.platform.clock.now(), token)
    await app.changed_everything()


async def _restore(app: App, path: Path) -> None:
    token = app.platform.store.setting("token") or ""
    await app.platform.halt()
    app.platform.store.copy_from(path)
    with app.platform.store.transaction():
        seed.keep_token(app.platform.store, token)
    await app.changed_everything()


def path_of(app: App, body: dict[str, Any]) -> Path:
    """The file of a named snapshot."""
    name = body.get("name", "snapshot")
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name):
        raise invalid("name: letters, digits, dots, dashes and underscores are allowed")
    return app.platform.store.folder / "snapshots" / f"{name}.sqlite"
