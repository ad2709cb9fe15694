"""What an instance's process is given: package, interpreter, environment, context and a port of its own."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from ubiops_emulator.api.rules.variables import effective
from ubiops_emulator.platform.lineage import Site
from ubiops_emulator.runtime import build_checks, packages, sockets, venvs
from ubiops_emulator.runtime.orphans import MARK
from ubiops_emulator.runtime.process import Launch
from ubiops_emulator.settings import Settings
from ubiops_emulator.store import Doc, Store

# What a package sees of the emulator's own environment; nothing else of the user's shell reaches it.
PASSED_ON = (
    "LANG LC_ALL TZ TMPDIR LD_LIBRARY_PATH LD_PRELOAD HF_HOME HF_HUB_OFFLINE HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy"
    " https_proxy no_proxy SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE VLLM_CACHE_ROOT VLLM_CPU_OMP_THREADS_BIND"
    " VLLM_ENABLE_V1_MULTIPROCESSING"
).split()
PASSED_PREFIXES = ("CUDA", "NVIDIA_", "NCCL_")


def mark(store: Store) -> str:
    """What every process of this data folder carries in its environment."""
    return f"{store.folder.resolve()}#"


def stored_file(store: Store, package: dict[str, Any] | None) -> Path | None:
    """An uploaded file on disk."""
    return store.folder / "files" / package["sha256"] if package else None


def main_file(variables: dict[str, str]) -> str:
    """The name of a package's main file: `deployment.py` unless a variable says otherwise."""
    return variables.get("SYS_DEPLOYMENT_FILE_NAME", build_checks.MAIN_FILE)


def shell(store: Store, python: str, variables: dict[str, str]) -> dict[str, str]:
    """A process's environment: little of ours, the version's variables, the interpreter's folder first on PATH."""
    passed = {k: v for k, v in os.environ.items() if k in PASSED_ON or k.startswith(PASSED_PREFIXES)}
    # Kept by content, and dear to make: vLLM spends 15 s on what it wants to know of a model's class.
    passed.setdefault("HF_HOME", str(Path("~/.cache/huggingface").expanduser()))
    passed.setdefault("VLLM_CACHE_ROOT", str(Path("~/.cache/vllm").expanduser()))
    home = store.folder.resolve() / "home"
    home.mkdir(exist_ok=True)
    env = passed | {"HOME": str(home), "PATH": os.environ.get("PATH", os.defpath)} | variables
    env["PATH"] = f"{Path(python).absolute().parent}{os.pathsep}{env['PATH']}"
    return env


def cores(turn: int) -> str:
    """The CPU cores for the vLLM of the start number `turn`, in vLLM's words: all but one, and another one each time.

    On CPUs vLLM binds every server of a machine to the same ones, all but the last: of two cores to the first. There a
    second instance starves beside one that is busy.
    """
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(usable) < 2:
        return "auto"
    del usable[-1 - turn % len(usable)]
    return ",".join(map(str, usable))


async def launch(store: Store, settings: Settings, doc: Doc, where: Site, turn: int) -> Launch | None:
    """What to start for an instance; None when its revision has no package (an app's image, an empty revision)."""
    revision = store.by_id("revision", doc.body["_revision"] or "")
    package = stored_file(store, revision.body["_package"]) if revision else None
    if package is None or revision is None:
        return None
    target = store.folder.resolve() / "instances" / doc.id
    await asyncio.to_thread(packages.emptied, target)
    folder = await asyncio.to_thread(packages.unpack, package, target, "deployment_package")
    variables = effective(store, where.version)
    port = sockets.free_port()
    own = f"{mark(store)}{doc.id}"
    python = settings.python
    if settings.builds == "venv":
        python = venvs.interpreter(store.folder, revision.body.get("_lines", []), python)
    return Launch(
        python=python,
        folder=folder,
        file=main_file(variables),
        context=_context(where, variables),
        env={"VLLM_CPU_OMP_THREADS_BIND": cores(turn)}
        | shell(store, python, variables)
        | {"WHISPERCTL_PORT": str(port), MARK: own},
        port=port,
        mark=own,
    )


def _context(where: Site, variables: dict[str, str]) -> dict[str, Any]:
    body = where.deployment.body
    return {
        "project": where.project_name,
        "project_id": where.project,
        "deployment": where.deployment.name,
        "deployment_id": where.deployment.id,
        "version": where.version.name,
        "version_id": where.version.id,
        "input_type": body["input_type"],
        "output_type": body["output_type"],
        "input_fields": body["input_fields"],
        "output_fields": body["output_fields"],
        "language": where.version.body["environment_name"],
        "environment_variables": variables,
        "process_id": 0,
    }
