"""What the tests with a real vLLM share: the stack file for this machine, its samples, whisperctl's commands.

A start takes about a minute on two cores, so each module starts one server and asks it everything.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "specs" / "samples"
SPOKEN: dict[str, dict[str, str]] = json.loads((SAMPLES / "samples.json").read_text())
COMMAND_TIMEOUT = 600.0


def vllm_version() -> str | None:
    try:
        return importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:
        return None


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups, also when these files are named as arguments
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One server at a time, and none where vLLM is not installed."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.vllm)
            item.add_marker(pytest.mark.xdist_group("vllm"))
            item.add_marker(
                pytest.mark.skipif(vllm_version() is None, reason="vLLM is not installed: run `make setup`")
            )


@pytest.fixture(scope="session")
def spec() -> Path:
    """The demo's stack file for what this machine's vLLM runs on."""
    on_cpu = (vllm_version() or "").endswith("+cpu")
    return ROOT / "specs" / ("demo.yaml" if on_cpu else "demo-gpu.yaml")


def surroundings() -> dict[str, str]:
    """An environment as in a shell with .venv active, and without a real UbiOps in it."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("UBIOPS_")}
    return {**inherited, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{inherited['PATH']}"}


def whisperctl(*arguments: str | Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "whisperctl", *map(str, arguments)]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=COMMAND_TIMEOUT, check=False
    )
