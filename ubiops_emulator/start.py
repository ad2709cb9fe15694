"""From command-line values to a running server: the one place where the emulator speaks to a person."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path
from typing import Any

from ubiops_emulator.refusal import Refusal
from ubiops_emulator.server import Options, log_to_stderr, serve
from ubiops_emulator.settings import Settings
from ubiops_emulator.store import FolderInUse
from ubiops_emulator.switches import Switches, parse, switched
from ubiops_emulator.web import faults

FAILED, USAGE = 1, 64


def run(values: dict[str, Any]) -> int:
    """Serve until a signal; the exit code."""
    try:
        options = _options(values)
    except Refusal as err:
        print(f"error: {err.text}", file=sys.stderr)  # noqa: T201
        return USAGE
    log_to_stderr(verbose=values["verbose"])
    try:
        return serve(options)
    except FolderInUse:
        print(f"error: another emulator works on {options.data}; stop it or use --data", file=sys.stderr)  # noqa: T201
    except sqlite3.DatabaseError as err:
        print(f"error: the state in {options.data} cannot be used: {err}; use another --data", file=sys.stderr)  # noqa: T201
    except OSError as err:
        print(f"error: {_reason(options, err)}", file=sys.stderr)  # noqa: T201
    return FAILED


def _reason(options: Options, err: OSError) -> str:
    if err.filename is None:
        return f"cannot listen on 127.0.0.1:{options.port}: {err.strerror}; use another --port"
    flag = "--write-token" if Path(err.filename) == options.token_file else "--data"
    return f"cannot write {err.filename}: {err.strerror}; use another {flag}"


def _options(values: dict[str, Any]) -> Options:
    changes: dict[str, Any] = {}
    for text in values["switches"]:
        changes |= parse(text)
    if values["service_traffic_wakes"]:
        changes["service_traffic_wakes"] = True
    if values["rate_limit"]:
        changes["rate_limit"] = values["rate_limit"]
    return Options(
        port=values["port"],
        data=Path(values["data"]),
        token_file=values["write_token"],
        settings=Settings(
            speed=values["speed"],
            runtime=values["runtime"],
            builds=values["builds"],
            python=values["python"] or sys.executable,
        ),
        switches=switched(Switches(), changes),
        faults=tuple(faults.parse(text) for text in values["faults"]),
    )
