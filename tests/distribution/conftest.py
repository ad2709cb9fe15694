"""Environments with nothing in them but what is installed there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness.release import ROOT, Built, build

UV = (sys.executable, "-m", "uv")


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment; `run` starts its programs with nothing else of Python's on the way."""

    folder: Path

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")

    def run(self, *command: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("UBIOPS_", "PYTHON"))}
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            command,
            cwd=cwd or self.folder,
            env={**inherited, **env, "PATH": path, "VIRTUAL_ENV": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def good(self, *command: str, cwd: Path | None = None, **env: str) -> str:
        """The output of a command that must succeed."""
        done = self.run(*command, cwd=cwd, **env)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory)


@pytest.fixture(scope="session")
def pins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The versions of the lock as constraints, so that an installer finds in its cache what set-up has fetched."""
    path = tmp_path_factory.mktemp("pins") / "pins.txt"
    export = [*UV, "export", "--frozen", "--quiet", "--no-hashes", "--no-emit-project", "--all-extras", "--no-dev"]
    subprocess.run([*export, "--no-annotate", "--output-file", str(path)], cwd=ROOT, check=True, capture_output=True)
    return path


@pytest.fixture
def environment(tmp_path: Path) -> Callable[[str], Environment]:
    """Make an empty environment with this interpreter."""

    def make(python: str = sys.executable) -> Environment:
        folder = tmp_path / "environment"
        subprocess.run([*UV, "venv", "--quiet", "--python", python, str(folder)], check=True)
        return Environment(folder)

    return make


@pytest.fixture
def light(built: Built, environment: Callable[[str], Environment]) -> Environment:
    """An environment with the wheel itself, whose dependencies are those of the tests: quick, and without an index."""
    made = environment(sys.executable)
    (site_packages,) = made.folder.glob("lib/python*/site-packages")
    (site_packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    subprocess.run([*UV, "pip", "install", "-q", "--python", made.python, "--no-deps", str(built.wheel)], check=True)
    return made


def interpreter(version: str) -> str:
    """A Python of that version: on PATH, or of pyenv. Skips where there is none."""
    roots = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python{version}"), *map(str, sorted(roots.glob(f"{version}.*/bin/python3")))]
    for path in filter(None, candidates):
        asked = subprocess.run(
            [path, "-c", "import sys; print(sys.version)"], capture_output=True, text=True, check=False
        )
        if asked.returncode == 0 and asked.stdout.startswith(f"{version}."):
            return path
    pytest.skip(f"there is no Python {version} on PATH or of pyenv")
