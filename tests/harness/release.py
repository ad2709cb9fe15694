"""What a release consists of, built from this checkout once for the whole run."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Built:
    """What a release consists of."""

    wheel: Path
    sdist: Path


def build(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The sdist of this checkout, and the wheel made from that sdist; whichever worker comes first builds."""
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling is not installed: run `make setup`")
    shared = tmp_path_factory.getbasetemp()
    folder = (shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared) / "distribution"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not list(folder.glob("*.whl")):
            build = [
                sys.executable,
                "-m",
                "uv",
                "build",
                "--quiet",
                "--no-build-isolation",
                "--offline",
                "--out-dir",
                str(folder),
            ]
            subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return Built(wheel, sdist)
