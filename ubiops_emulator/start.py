"""From command-line values to a running server: the one place where the emulator speaks to a person."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path
from typing import Any

from ubiops_emulator import seed
from ubiops_emulator.api import scheduling
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
    except Refusal as error:
        print(f"error: {error.text}", file=sys.stderr)  # noqa: T201
        return USAGE
    log_to_stderr(verbose=values["verbose"])
    try:
        return serve(options)
    except FolderInUse:
        print(f"error: another emulator works on {options.data}; stop it or use --data", file=sys.stderr)  # noqa: T201
    except sqlite3.DatabaseError as error:
        print(f"error: the state in {options.data} cannot be used: {error}; use another --data", file=sys.stderr)  # noqa: T201
    except OSError as error:
        print(f"error: {_reason(options, error)}", file=sys.stderr)  # noqa: T201
    return FAILED


def _reason(options: Options, error: OSError) -> str:
    if error.filename is None:
        return f"cannot listen on 127.0.0.1:{options.port}: {error.strerror}; use another --port"
    flag = "--write-token" if Path(error.filename) == options.token_file else "--data"
    return f"cannot write {error.filename}: {error.strerror}; use another {flag}"


def _options(values: dict[str, Any]) -> Options:
    changes: dict[str, Any] = {}
    for text in values["switches"]:
        changes |= parse(text)
    if values["service_traffic_wakes"]:
        changes["service_traffic_wakes"] = True
    if values["rate_limit"]:
        changes["rate_limit"] = values["rate_limit"]
    capacity: dict[str, int] = {}
    for text in values["capacities"]:
        capacity |= scheduling.parse(text, seed.TYPE_NAMES)
    return Options(
        port=values["port"],
        data=Path(values["data"]),
        token_file=values["write_token"],
        settings=Settings(
            speed=values["speed"],
            runtime=values["runtime"],
            builds=values["builds"],
            python=values["python"] or sys.executable,
            capacity=capacity,
        ),
        switches=switched(Switches(), changes),
        faults=tuple(faults.parse(text) for text in values["faults"]),
    )
