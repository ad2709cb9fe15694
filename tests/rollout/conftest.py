"""One emulator a worker whose instances really run: the rendered package, with a stand-in for vLLM."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.project import CPU, Project, merged
from tests.rollout import listener
from ubiops_emulator import testing
from ubiops_emulator.testing import Emulator

VLLM = "0.32.0"
SAMPLE = Path(__file__).parents[2] / "specs" / "samples" / "hello-world.wav"
LINE: dict[str, Any] = {
    "vllm": {"version": VLLM},
    "instance_type_group": {"name": CPU, "gpu": "CPU"},
    "env": {"HEARS": "hello world", "VLLM_CPU_KVCACHE_SPACE": "1"},
    "version": {"health_check": {"port": 8080, "path": "/health", "interval": 1, "timeout": 1}},
    "rollout": {
        "strategy": "blue_green",
        "bake": 0,
        "timeout": 60,
        "smoke": {"audio": str(SAMPLE), "expect": "hello world", "max_wer": 0.4, "language": "en"},
    },
}


@pytest.fixture(scope="session")
def listening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator whose instances run in milliseconds."""
    folder = tmp_path_factory.mktemp("rollout")
    python = interpreter(folder / "python")
    with testing.running("--speed", "1000", "--python", str(python), data=folder / "data") as started:
        yield started


@pytest.fixture(scope="session")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator that keeps the books only: whoever runs is healthy, and nobody transcribes."""
    with testing.running("--speed", "100000", "--runtime", "none", data=tmp_path_factory.mktemp("books")) as started:
        yield started


def interpreter(folder: Path) -> Path:
    """A Python with a stand-in for vLLM in it."""
    packages = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    for name in ("vllm", "vllm_cpu"):
        about = packages / f"{name}-{VLLM}.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {VLLM}\nProvides-Extra: audio\n"
        )
        (about / "RECORD").write_text("")
    (folder / "bin").mkdir()
    python = folder / "bin" / "python"
    python.symlink_to(sys.executable)
    (folder / "pyvenv.cfg").write_text(f"home = {Path(sys.base_prefix) / 'bin'}\n")
    vllm = folder / "bin" / "vllm"
    vllm.write_text(f"#!{python}\n" + Path(listener.__file__).read_text())
    vllm.chmod(0o755)
    return python


@pytest.fixture
def project(listening: Emulator, tmp_path: Path) -> Project:
    """A fresh project."""
    return Project.fresh(listening, tmp_path)


def line(**changes: Any) -> dict[str, Any]:
    """A blue_green stack with changes in it."""
    return merged(LINE, changes)
