"""This machine: Python, the client libraries, the programs that the data plane uses."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from whisperctl.operate.doctor.check import Check, failed, ok, warning

PYTHON = (3, 11)
CLIENTS = {"ubiops": (4, 15), "httpx": (0, 27), "openai": (1, 40)}
"""Least versions. ubiops: 4.15 is the first client with environment tags (UbiOps reference, 0.2)."""


def checks() -> Iterator[Check]:
    """Checks of Python, the clients and the programs of this machine."""
    yield _python()
    yield from (_client(name, least) for name, least in CLIENTS.items())
    yield _curl()
    yield _ffmpeg()


def _python() -> Check:
    if sys.version_info < PYTHON:
        return failed("python", platform.python_version(), f"install Python {_dotted(PYTHON)} or newer")
    return ok("python", platform.python_version())


def _client(name: str, least: tuple[int, ...]) -> Check:
    fix = f"pip install '{name}>={_dotted(least)}'"
    try:
        installed = version(name)
    except PackageNotFoundError:
        return failed(f"{name} client", "not installed", fix)
    parts = tuple(int(part) for part in installed.split(".")[:2] if part.isdecimal())
    return ok(f"{name} client", installed) if parts >= least else failed(f"{name} client", installed, fix)


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))


def _curl() -> Check:
    if path := shutil.which("curl"):
        return ok("curl", path)
    return warning("curl", "not on PATH; only the lines of `whisperctl curl` need it", "install curl")


def _ffmpeg() -> Check:
    if path := shutil.which("ffmpeg"):
        return ok("ffmpeg", path)
    if find_spec("av"):
        return ok("ffmpeg", "not on PATH, but PyAV decodes recordings as well")
    return warning(
        "ffmpeg",
        "not on PATH: `transcribe` reads wav files only",
        "apt install ffmpeg, brew install ffmpeg or pip install av",
    )
