"""`--builds venv`: requirements really installed, into a virtual environment of their own, kept by content."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

READY = "ready"
INSTALL_TIMEOUT = 3600.0

_locks: dict[str, asyncio.Lock] = {}


def _folder(data: Path, lines: list[str], python: str) -> Path:
    key = hashlib.sha256(json.dumps([python, sys.version, sorted(lines)]).encode()).hexdigest()[:24]
    return data.resolve() / "venvs" / key


def interpreter(data: Path, lines: list[str], python: str) -> str:
    """The interpreter that has these requirements; `python` itself when there are none."""
    return str(_folder(data, lines, python) / "bin" / "python") if lines else python


async def install(data: Path, lines: list[str], python: str, env: Mapping[str, str]) -> tuple[str, list[str]]:
    """Make the virtual environment, unless it is there.

    Returns:
        What failed (empty: nothing), and what the installer printed.
    """
    if not lines:
        return "", []
    folder = _folder(data, lines, python)
    async with _locks.setdefault(str(folder), asyncio.Lock()):
        if await asyncio.to_thread((folder / READY).exists):
            return "", [f"Using the environment built before: {folder.name}"]
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        code, output = await _run([python, "-m", "venv", "--without-pip", str(folder)], env)
        if code == 0:
            # The interpreter's own pip installs into it: quicker than a pip of its own.
            pip = [python, "-m", "pip", "--python", str(folder), "--disable-pip-version-check", "install", "--no-input"]
            code, more = await _run([*pip, *lines], env)
            output += more
        if code == 0:
            await asyncio.to_thread((folder / READY).touch)
            return "", output
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        errors = [line for line in output if line.startswith("ERROR")] or output[-1:]
        return f"Installing the requirements failed: {' '.join(errors)}", output


async def _run(command: list[str], env: Mapping[str, str]) -> tuple[int, list[str]]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=dict(env),
        start_new_session=True,
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), INSTALL_TIMEOUT)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    return process.returncode or 0, out.decode(errors="replace").splitlines()
