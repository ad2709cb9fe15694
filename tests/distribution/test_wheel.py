"""The wheel and the sdist: what is in them, what they say of themselves, and that they work where nothing else is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from email.parser import Parser
from pathlib import Path

import pytest

from tests.distribution.conftest import UV, Environment, interpreter
from tests.harness.release import ROOT, Built
from tests.harness.sweeps import whole
from whisperctl import __version__

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
EXTRAS = sorted(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
NEWCOMER = """\
import subprocess, sys, os
from pathlib import Path
from ubiops_emulator import testing

def whisperctl(*args):
    command = ["whisperctl", *args]
    return subprocess.run(command, env=os.environ | ubiops.environ, check=True, capture_output=True, text=True).stdout

with testing.running("--runtime", "none", "--speed", "1000", data=Path("ubiops")) as ubiops:
    whisperctl("init", ".", "--model", "openai/whisper-small", "--gpu", "T4")
    whisperctl("validate")
    print(whisperctl("plan").splitlines()[-1])
    print(whisperctl("apply", "--yes").splitlines()[-3])
    print(whisperctl("plan").splitlines()[-1])
"""


def install(where: Environment, what: str, pins: Path) -> None:
    """Install from the package index, or skip where there is none."""
    command = [*UV, "pip", "install", "--quiet", "--python", where.python, "--constraint", str(pins), what]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and re.search(r"error sending request|dns error|network", done.stderr, re.IGNORECASE):
        pytest.skip(f"no package index can be reached: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr


def test_both_hold_what_the_program_needs(built: Built) -> None:
    wheel = set(zipfile.ZipFile(built.wheel).namelist())
    with tarfile.open(built.sdist) as archive:
        sdist = {name.partition("/")[2] for name in archive.getnames()}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    own = {name for name in tracked if name.startswith(("whisperctl/", "ubiops_emulator/")) and (ROOT / name).exists()}
    data = {
        name.replace(folder, f"whisperctl/_{folder}", 1)
        for folder in ("templates", "schemas")
        for name in tracked
        if name.startswith(f"{folder}/") and (ROOT / name).exists()
    }

    assert {"whisperctl/py.typed", "ubiops_emulator/py.typed", "whisperctl/_schemas/stack.schema.json"} <= wheel
    assert (own | data) - wheel == set()
    assert own - sdist == set()
    assert {
        name for name in wheel if not name.startswith(("whisperctl/", "ubiops_emulator/", "whisperctl_ubiops-"))
    } == set()


def test_what_it_says_of_itself(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        (name,) = [
            name for name in wheel.namelist() if name.startswith("whisperctl_ubiops-") and name.endswith("METADATA")
        ]
        about = Parser().parsestr(wheel.read(name).decode())
        programs = wheel.read(name.replace("METADATA", "entry_points.txt")).decode()

    assert (about["Name"], about["Version"], about["License-Expression"]) == (
        "whisperctl-ubiops",
        __version__,
        "Apache-2.0",
    )
    assert not [each for each in about.get_all("Classifier", []) if each.startswith("License")]
    assert "Typing :: Typed" in about.get_all("Classifier", [])
    assert {each.partition(",")[0] for each in about.get_all("Project-URL", [])} >= {"Homepage", "Source", "Changelog"}
    assert sorted(about.get_all("Provides-Extra", [])) == EXTRAS
    assert "whisperctl = whisperctl.__main__:run" in programs


def test_a_type_checker_sees_the_types(light: Environment, tmp_path: Path) -> None:
    file = tmp_path / "uses.py"
    file.write_text(
        "from ubiops_emulator import testing\nfrom whisperctl import __version__\ntesting.start(__version__, data=1)\n"
    )
    mypy = [
        sys.executable,
        "-m",
        "mypy",
        "--python-executable",
        light.python,
        "--cache-dir",
        str(tmp_path / "cache"),
        "uses.py",
    ]
    checked = subprocess.run(mypy, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert 'Argument "data" to "start" has incompatible type "int"' in checked.stdout
    assert "Found 1 error in 1 file" in checked.stdout


@pytest.mark.parametrize("extra", ["", *(name for name in EXTRAS if name != "serve")])
def test_it_is_installed_from_nothing_with_each_extra(
    extra: str, built: Built, pins: Path, environment: Callable[[], Environment]
) -> None:
    made = environment()
    install(made, f"whisperctl-ubiops[{extra}] @ {built.wheel.as_uri()}", pins)

    assert made.good("whisperctl", "--version") == f"whisperctl {__version__}\n"
    assert made.good("whisperctl", "validate", str(ROOT / "specs" / "whisper-small-t4.yaml")).startswith(str(ROOT))
    assert (
        subprocess.run([*UV, "pip", "check", "--python", made.python], capture_output=True, check=False).returncode == 0
    )


def test_what_serves_can_be_resolved(built: Built, pins: Path) -> None:
    """With `serve` it takes gigabytes: here only whether there is a set of versions that fits."""
    resolve = [*UV, "pip", "compile", "--quiet", "--no-header", "--constraint", str(pins), "-"]
    asked = f"whisperctl-ubiops[serve,emulator,audio] @ {built.wheel.as_uri()}"
    done = subprocess.run(resolve, input=asked, capture_output=True, text=True, check=False)
    if done.returncode and "error sending request" in done.stderr:
        pytest.skip("no package index can be reached")

    assert done.returncode == 0, done.stderr
    assert re.search(r"^vllm==", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("version", [pytest.param(each, marks=whole if each == "3.12" else ()) for each in PYTHONS])
def test_a_newcomer_gets_from_the_wheel_to_an_apply(
    version: str, built: Built, pins: Path, environment: Callable[[str], Environment], tmp_path: Path
) -> None:
    made = environment(interpreter(version))
    install(made, f"whisperctl-ubiops[emulator] @ {built.wheel.as_uri()}", pins)
    folder = tmp_path / "speech"
    folder.mkdir()

    planned, applied, again = made.good(made.python, "-c", NEWCOMER, cwd=folder).splitlines()

    assert re.fullmatch(r"Plan: \d+ to create, 0 unchanged\.", planned)
    assert re.fullmatch(r"Applied speech: \d+ created\. Nothing differs any more\.", applied)
    assert again.startswith("No changes")


def test_it_is_installed_as_a_tool(built: Built, pins: Path, tmp_path: Path) -> None:
    where = {"UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(tmp_path / "bin")}
    tool = Environment(tmp_path)
    asked = f"whisperctl-ubiops[emulator] @ {built.wheel.as_uri()}"
    done = tool.run(
        *UV, "tool", "install", "--python", sys.executable, "--constraints", str(pins), asked, cwd=None, **where
    )
    if done.returncode and "error sending request" in done.stderr:
        pytest.skip("no package index can be reached")

    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "bin").iterdir()) == ["whisperctl"]
    assert tool.good(str(tmp_path / "bin" / "whisperctl"), "--version") == f"whisperctl {__version__}\n"
    assert json.loads(tool.good(str(tmp_path / "bin" / "whisperctl"), "schema"))["title"]


def foreign(folder: Path) -> Path:
    """A wheel of the other project that is called whisperctl."""
    path = folder / "whisperctl-0.2.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("whisperctl/indexer/__init__.py", "")
        wheel.writestr(
            "whisperctl-0.2.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: whisperctl\nVersion: 0.2.0\n"
        )
        wheel.writestr("whisperctl-0.2.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("whisperctl-0.2.0.dist-info/RECORD", "")
    return path


def test_the_other_whisperctl_beside_it_is_noticed(light: Environment, tmp_path: Path) -> None:
    alone = light.run("whisperctl", "--version")
    assert (alone.stdout, alone.stderr) == (f"whisperctl {__version__}\n", "")

    subprocess.run([*UV, "pip", "install", "-q", "--python", light.python, str(foreign(tmp_path))], check=True)

    beside = light.run("whisperctl", "--version")
    assert beside.stdout == f"whisperctl {__version__}\n"
    assert beside.stderr.startswith("note: whisperctl 0.2.0 is installed beside whisperctl-ubiops;")
    assert "pip uninstall whisperctl && " in beside.stderr
