"""Every command of the README, as it stands: the plan, `make`'s targets, and the way from pip to an apply.

`make test` is what runs this file, so that here it is handed one small file of tests. What the pipeline runs before the
tests (`make check`, `make demo`) is run here by `make test-exhaustive` only.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import set_up
from tests.docs.blocks import Command, commands, left_out, sections
from tests.docs.conftest import MADE_BY_MAKE, with_checkout
from tests.docs.shell import ROOT, Shell, opened_shell
from tests.harness.release import Built, build
from tests.harness.sweeps import whole

README = ROOT / "README.md"
PIP = {"PIP_NO_COMPILE": "1", "PIP_RETRIES": "1", "PIP_TIMEOUT": "10", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
VLLM = (pytest.mark.vllm, pytest.mark.xdist_group("vllm"))
MAKE = [command for command in commands(README) if command.text.startswith("make")]


@pytest.mark.parametrize("page", [README, ROOT / "docs" / "tutorial.md"], ids=lambda page: page.name)
def test_no_block_is_left_out(page: Path) -> None:
    assert left_out(page) == []


def test_every_command_has_its_test_here() -> None:
    elsewhere = {command.where for command in (*MAKE, *sections(README)["Use it"])}

    assert [command.text for command in commands(README) if command.where not in elsewhere] == ["whisperctl plan"]


def test_the_stack_gives_the_plan_that_is_shown(shell: Shell) -> None:
    stack = README.read_text().partition("```yaml\n")[2].partition("```")[0]
    file = shell.folder / "stack.yaml"
    (shell.folder / "samples").mkdir()
    shutil.copy(ROOT / "templates/init/recordings/en.flac", shell.folder / "samples")
    file.write_text(stack.replace("maximum_instances: 2", "maximum_instances: 1"))
    printed, code = shell.type("whisperctl apply --yes")
    assert code == 0, printed
    file.write_text(stack)

    shell.run(sections(README)[""][0])


def target(command: Command) -> str:
    return command.text.partition("#")[0].strip()


PIPELINE = (pytest.mark.exhaustive, whole)
MARKS = {"make demo": (*VLLM, *PIPELINE), "make check": PIPELINE}


@MADE_BY_MAKE
@pytest.mark.parametrize(
    "command", [pytest.param(one, id=target(one), marks=MARKS.get(target(one), ())) for one in MAKE]
)
def test_make_does_what_it_says(command: Command, tmp_path: Path) -> None:
    with opened_shell(tmp_path, {"ARGS": "tests/apply/test_clock.py -p no:cacheprovider -n 0"}) as shell:
        shell.type(f"cd {shlex.quote(str(ROOT))}")
        printed = shell.run(command)

    assert printed.startswith("setup: .venv is up to date\n")
    proof = {"make demo": "The demo did everything it says", "make check": "check: all passed", "make setup": "setup"}
    assert proof.get(target(command), " passed in ") in printed


@pytest.mark.parametrize(("name", "script"), [("check", "scripts/check"), ("demo", ".venv/bin/python scripts/demo.py")])
def test_what_takes_a_minute_is_run_by_the_pipeline_before_the_tests(name: str, script: str) -> None:
    """Beside the tests it would be done twice."""
    command = ["make", "--no-print-directory", "-n", name]  # `make test` lets this one say where it is
    recipe = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    pipeline = (ROOT / ".ci" / "run").read_text().splitlines()

    assert recipe.splitlines()[-1] == script
    assert {script, f"make {name}"} & set(pipeline[: pipeline.index("make test")])


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Shell]:
    """A shell in a checkout, in a virtual environment with nothing but pip."""
    environment = tmp_path / "environment"
    # Five seconds quicker than Python's own venv, which compiles all of pip.
    venv = [sys.executable, "-m", "uv", "venv", "--quiet", "--seed", "--python", sys.executable, str(environment)]
    made = subprocess.run(venv, env={**os.environ, **set_up.uv_settings()}, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no package index can be reached: {made.stderr.splitlines()[-1]}")
    own = {"PATH": f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": ""}
    own["HOME"] = str(Path.home())  # pip's settings and its cache
    with opened_shell(tmp_path, {**own, **PIP}) as opened:
        with_checkout(opened)
        yield opened


def with_index(fresh: Shell) -> None:
    """Skip where pip cannot install anything."""
    printed, code = fresh.type("pip download --quiet --no-deps --dest .. hatchling")
    if code:
        pytest.skip(f"no package index can be reached: {printed.splitlines()[-1]}")


def test_from_pip_to_an_apply(fresh: Shell, built: Built) -> None:
    """The wheel lies where the index will have it once it is released."""
    with_index(fresh)
    fresh.type(f"export PIP_FIND_LINKS={shlex.quote(str(built.wheel.parent))}")
    for command in sections(README)["Use it"]:
        fresh.run(command)

    printed, _ = fresh.type("command -v whisperctl")
    assert printed.startswith(str(fresh.folder.parent / "environment"))


def test_pipelines_install_this_release_and_nothing_else(fresh: Shell, built: Built) -> None:
    """Above all not the foreign project whose name on PyPI is the command's."""
    with_index(fresh)
    fresh.type(f"export PIP_NO_DEPS=1 PIP_FIND_LINKS={shlex.quote(str(built.wheel.parent))}")
    for ci, file in (("github", ".github/workflows/whisperctl.yml"), ("gitlab", ".gitlab-ci.yml")):
        subprocess.run([sys.executable, "-m", "whisperctl", "init", "--ci", ci, fresh.folder / ci], check=True)
        text = (fresh.folder / ci / file).read_text()
        (install,) = set(re.findall(r"pip install .+", text))
        (package,) = set(re.findall(r"whisperctl-ubiops==[\w.]+", text))

        printed, code = fresh.type(f"(export WHISPERCTL={package}; {install})")
        assert code == 0, printed
        assert fresh.type("pip uninstall --yes whisperctl-ubiops")[0].count("Successfully uninstalled") == 1
