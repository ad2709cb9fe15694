"""`validate`, `schema` and `render` as a user runs them: what goes to which stream, and the exit code."""

from __future__ import annotations

import hashlib
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from whisperctl.errors import Mark, Problem, merged_warnings
from whisperctl.loading import load_stacks
from whisperctl.loading.schema import schema_text
from whisperctl.package.build import build_package

ROOT = Path(__file__).parents[2]
SPECS = ROOT / "tests" / "specs"


def run(
    *args: str, cwd: Path, preexec_fn: Callable[[], None] | None = None, **environ: Any
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "whisperctl", *args],
        cwd=cwd, text=True, capture_output=True, timeout=60, check=False, preexec_fn=preexec_fn,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(cwd), **environ},
    )  # fmt: skip


def test_a_valid_stack_exits_0_with_warnings_on_stderr() -> None:
    ran = run("validate", "minimal.yaml", cwd=SPECS / "valid")
    assert ran.returncode == 0
    assert ran.stdout.startswith("minimal.yaml: stack minimal is valid: openai/whisper-small for transcription")
    assert ran.stderr == (SPECS / "valid" / "minimal.txt").read_text()


def test_an_invalid_stack_exits_1_with_every_problem_on_stderr() -> None:
    ran = run("validate", "tutorial.yaml", cwd=SPECS / "invalid")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == (SPECS / "invalid" / "tutorial.txt").read_text()


def test_json_is_one_document() -> None:
    ran = run("validate", "unknown-keys.yaml", "--format", "json", cwd=SPECS / "invalid")
    assert (ran.returncode, ran.stderr) == (1, "")
    document = json.loads(ran.stdout)
    assert (document["format_version"], document["valid"]) == ("2", False)
    assert document["problems"][0] == {
        "file": "unknown-keys.yaml", "line": 3, "column": 1, "path": "modle", "severity": "error",
        "message": "this key is not known", "hint": "Did you mean `model`?", "name": "",
    }  # fmt: skip
    good = json.loads(run("validate", "anchors.yaml", "--format", "json", cwd=SPECS / "valid").stdout)
    assert good["valid"] is True
    assert good["stacks"] == [{"name": "anchors", "file": "anchors.yaml"}]


def test_github_gets_workflow_commands() -> None:
    ran = run("validate", "served-name.yaml", "--format", "github", cwd=SPECS / "invalid")
    assert (ran.returncode, ran.stderr) == (1, "")
    assert ran.stdout.startswith(
        "::error file=served-name.yaml,line=7,col=50::version.labels.openai-model-names: the label says"
    )
    assert len(ran.stdout.splitlines()) == 1


def test_the_default_is_stack_yaml(tmp_path: Path) -> None:
    ran = run("validate", cwd=tmp_path)
    assert ran.returncode == 1
    assert ran.stderr == (
        "stack.yaml:1:1: error: there is no such file\n  Name the stack file, or make one with `whisperctl init`.\n"
    )


def test_no_message_shows_what_a_variable_held() -> None:
    secret = "hf_" + "s3cr3t" * 4
    files = ("not-numbers-from-the-environment.yaml", "values-from-the-environment.yaml")
    for file, form in product(files, ("text", "json", "github")):
        ran = run("validate", file, "--format", form, cwd=SPECS / "invalid", WHISPERCTL_TEST_TOKEN=secret)
        assert ran.returncode == 1
        assert "s3cr3t" not in ran.stdout + ran.stderr


def test_schema_prints_the_schema(tmp_path: Path) -> None:
    ran = run("schema", cwd=tmp_path)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, schema_text(), "")


SCREENS = [("--help",), ("plan", "--help"), ("schema",), ("validate", "specs/demo.yaml", "--format", "json")]


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("args", SCREENS, ids=" ".join)
def test_output_that_cannot_be_written_is_told(args: tuple[str, ...], unbuffered: str) -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "whisperctl", *args],
            cwd=ROOT, text=True, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    assert ran.returncode == 1
    assert ran.stderr == "error: The output cannot be written: No space left on device.\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("render", "minimal.yaml", "-o", "out"), "error: out cannot be written: File too large."),
        (("init", "out"), "error: out cannot be written to: File too large."),
    ],
)
def test_what_does_not_fit_on_a_disk_is_told_and_leaves_nothing(
    tmp_path: Path, args: tuple[str, ...], message: str
) -> None:
    """A file that may have no more than a block is as good as a disk without room."""
    shutil.copy(SPECS / "valid" / "minimal.yaml", tmp_path)

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))

    # Python itself would leave half of what it compiled.
    ran = run(*args, cwd=tmp_path, preexec_fn=full, PYTHONDONTWRITEBYTECODE="1")
    assert ran.returncode == 1
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []
    assert run(*args, cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("args", [*SCREENS, ("plan",)], ids=" ".join)
def test_a_closed_output_is_told(args: Any) -> None:
    ran = subprocess.run(
        ["sh", "-c", 'exec "$0" -m whisperctl "$@" <&- >&-', sys.executable, *args],
        cwd=ROOT, text=True, stderr=subprocess.PIPE, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 1
    assert ran.stderr == "error: The output cannot be written: standard output is closed.\n"


def test_ctrl_c_while_the_program_is_loaded_ends_it_as_later(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    ran = run("--help", cwd=tmp_path, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "interrupted\n")


def test_validate_imports_no_jsonschema_for_a_right_file() -> None:
    code = (
        "import sys; sys.argv = ['whisperctl', 'validate', 'extends.yaml']\n"
        "from whisperctl.cli.main import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'jsonschema', 'httpx', 'ubiops', 'rich', 'deepdiff', 'openai', 'packaging'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=SPECS / "valid", text=True, capture_output=True, check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr


def test_render_writes_what_would_be_uploaded(tmp_path: Path) -> None:
    spec = SPECS / "valid" / "extends.yaml"
    ran = run("render", str(spec), "-o", "out", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    package = build_package(load_stacks([spec], {}).stacks[0])
    assert package.digest in ran.stdout
    stream = io.BytesIO()
    package.write(stream)
    with zipfile.ZipFile(stream) as archive:
        for name in archive.namelist():
            assert (tmp_path / "out" / name).read_bytes() == archive.read(name)
    assert hashlib.sha256(stream.getvalue()).hexdigest() == package.digest
    written = {line.strip() for line in ran.stdout.splitlines() if line.startswith("  ")}
    assert "out/deployment_package/deployment.py" in written
    assert "out/environment_package/requirements.txt" in written


def test_render_replaces_its_own_render_and_nothing_else(tmp_path: Path) -> None:
    everything = str(SPECS / "valid" / "everything.yaml")
    environ: dict[str, Any] = {"WHISPERCTL_TEST_TOKEN": "x"}
    assert run("render", everything, "-o", "out", cwd=tmp_path, **environ).returncode == 0
    assert (tmp_path / "out" / "deployment_package" / "requirements.txt").exists()
    assert run("render", str(SPECS / "valid" / "minimal.yaml"), "-o", "out", cwd=tmp_path).returncode == 0
    assert not (tmp_path / "out" / "deployment_package" / "requirements.txt").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    ran = run("render", str(SPECS / "valid" / "minimal.yaml"), "-o", "mine", cwd=tmp_path)
    assert ran.returncode == 1
    assert "mine holds files that whisperctl did not write" in ran.stderr
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["notes.txt"]


def test_render_needs_no_secret(tmp_path: Path) -> None:
    everything = str(SPECS / "valid" / "everything.yaml")
    ran = run("render", everything, "-o", "with", cwd=tmp_path, WHISPERCTL_TEST_TOKEN="x")
    without = run("render", everything, "-o", "without", cwd=tmp_path)
    assert without.returncode == 0, without.stderr
    assert without.stdout == ran.stdout.replace("with/", "without/")


def test_render_of_a_wrong_file_writes_nothing(tmp_path: Path) -> None:
    ran = run("render", str(SPECS / "invalid" / "tutorial.yaml"), "-o", "out", cwd=tmp_path)
    assert ran.returncode == 1
    assert "this key is not known" in ran.stderr
    assert not (tmp_path / "out").exists()


def test_render_of_a_directory_gives_each_stack_a_folder(tmp_path: Path) -> None:
    for name in ("one", "two"):
        text = (SPECS / "valid" / "minimal.yaml").read_text().replace("stack: minimal", f"stack: {name}")
        (tmp_path / f"{name}.yaml").write_text(text.replace("whisper-vllm", name))
    ran = run("render", ".", "-o", "out", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "out" / "one" / "deployment_package" / "deployment.py").exists()
    assert (tmp_path / "out" / "two" / "environment_package" / "requirements.txt").exists()


@pytest.mark.parametrize("args", [["validate", "--nope"], ["render"], ["validate", "--format", "xml"]])
def test_wrong_usage_exits_64(tmp_path: Path, args: list[str]) -> None:
    assert run(*args, cwd=tmp_path).returncode == 64


def test_a_warning_of_many_stacks_is_told_once_with_its_places() -> None:
    marks = [Mark(file=f"{name}.yaml", line=3, column=1) for name in "abcde"]
    alike = [Problem(where=mark, path="p", message="m", hint="h", severity="warning", name="n") for mark in marks]
    assert merged_warnings(alike[:1]) == [str(alike[0])]
    other = replace(alike[0], message="other")
    assert merged_warnings([*alike, other]) == [
        "a.yaml:3:1, b.yaml:3:1, c.yaml:3:1 and 2 more: warning: p: m\n  h [n]",
        str(other),
    ]
