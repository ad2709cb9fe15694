"""What a stranger hands to the program ends in a message: files, standard input, render's target, plan files."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness.program import Ran, run
from tests.test_files import STACK

ENVIRON = {"PATH": os.environ["PATH"], "UBIOPS_PROJECT": "p", "UBIOPS_API_TOKEN": "canary-token-0123", "HOME": "/"}
QUIET = settings(max_examples=30, deadline=None)


def cli(*args: str, folder: Path, **more: str) -> Ran:
    return run(*args, environ={**ENVIRON, **more}, folder=folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "stack.yaml").write_text(STACK, encoding="utf-8")
    return tmp_path


def ends_in_a_message(ran: Ran) -> None:
    assert ran.code in (0, 1)
    assert "Traceback" not in ran.all
    assert "itself has failed" not in ran.all
    assert ran.code == 0 or ran.all.strip()


@QUIET
@given(content=st.binary(max_size=400))
def test_any_bytes_as_a_stack(tmp_path: Path, content: Any) -> None:
    (tmp_path / "any.yaml").write_bytes(content)
    ends_in_a_message(cli("validate", "any.yaml", folder=tmp_path))


@QUIET
@given(content=st.text(max_size=200))
def test_any_text_as_a_value(tmp_path: Path, content: Any) -> None:
    text = STACK.replace("deployment: {name: one}", f"deployment: {{name: one, description: {json.dumps(content)}}}")
    (tmp_path / "any.yaml").write_text(text, encoding="utf-8")
    ran = cli("validate", "any.yaml", folder=tmp_path)
    ends_in_a_message(ran)
    assert not any(character in ran.all for character in "\x1b\x07\x00\r")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = ("paths", "destroy", "plans", "wanted", "secrets", "format_version")
PLANS = st.fixed_dictionaries({"kind": st.just("whisperctl saved plan")}, optional=dict.fromkeys(KEYS, JSON))


@QUIET
@given(content=JSON | PLANS)
def test_any_json_as_a_plan_file(folder: Path, content: Any) -> None:
    (folder / "p.plan").write_text(json.dumps(content), encoding="utf-8")
    ran = cli("apply", "--plan", "p.plan", "--yes", folder=folder)
    ends_in_a_message(ran)
    assert ran.code == 1


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a":' * 100_000, "", "\ufeff{}", "nul\0"])
def test_deep_and_odd_plan_files(folder: Path, content: str) -> None:
    (folder / "p.plan").write_text(content, encoding="utf-8")
    ran = cli("apply", "--plan", "p.plan", "--yes", folder=folder)
    assert (ran.code, "p.plan is not a saved plan" in ran.err) == (1, True)


def test_a_plan_file_that_is_no_file(folder: Path) -> None:
    os.mkfifo(folder / "p.plan")
    ran = cli("apply", "--plan", "p.plan", "--yes", folder=folder)
    assert (ran.code, ran.err) == (
        1,
        "error: The plan file p.plan cannot be read: it is a pipe, not a file\n",
    )


@pytest.mark.parametrize(
    "text",
    [
        "port: 0x" + "f" * 5000,
        "version: {maximum_instances: " + "9" * 5000 + "}",
        "x: " + "1:" * 3000 + "1",
        "".join(f"? &a{i} [*a{i - 1}]\n: 1\n" if i else "? &a0 [1]\n: 1\n" for i in range(3000)),
        "deployment: {name: 1e" + "9" * 400 + "}",
    ],
)
def test_numbers_and_keys_without_end(folder: Path, text: str) -> None:
    (folder / "stack.yaml").write_text(f"apiVersion: whisperctl/v1\nstack: a\n{text}\n", encoding="utf-8")
    ran = cli("validate", folder=folder)
    ends_in_a_message(ran)
    assert ran.code == 1
    assert len(ran.err) < 100_000


@pytest.mark.parametrize(
    "text",
    [
        '"\\e]0;pwned\\a": 1',
        'env: {"\\e[2J": x}',
        'extends: "\\e[31mx"',
        'deployment: {name: "${\\e]8;;x}"}',
        'vllm: {args: {"\\u202eevil": 1}}',
        'deployment: {description: "\\u202eevil"}',
        'stack: "##[error]pwned"',
        'stack: "::error::pwned"',
    ],
)
@pytest.mark.parametrize("form", ["text", "json", "github"])
def test_nothing_in_a_file_steers_a_terminal_or_a_job(folder: Path, text: str, form: str) -> None:
    (folder / "::error::pwned by name.yaml").write_text(f"apiVersion: whisperctl/v1\n{text}\n", encoding="utf-8")
    ran = cli("validate", "--format", form, "::error::pwned by name.yaml", folder=folder, GITHUB_ACTIONS="true")
    ends_in_a_message(ran)
    assert not any(character in ran.all for character in "\x1b\x07\u202e")
    assert "##[" not in ran.all
    own = [line for line in ran.all.splitlines() if line.lstrip().startswith("::")]
    assert all(line.startswith(("::error file=", "::warning file=")) for line in own)


def test_a_stack_on_standard_input(folder: Path) -> None:
    for text, code in ((STACK, 0), ("stack: [", 1), ("\0", 1), ("", 1)):
        ran = run("validate", "-", environ=ENVIRON, folder=folder, stdin=text)
        assert (ran.code, ran.all.startswith("-:")) == (code, True), ran


def test_nothing_is_written_or_removed_through_a_link(folder: Path) -> None:
    outside = folder / "outside"
    outside.mkdir()
    (outside / "deployment.py").write_text("mine")
    assert cli("render", "-o", "out", folder=folder).code == 0
    [package] = [path.parent for path in (folder / "out").rglob("deployment.py")]
    shutil.rmtree(package)
    package.symlink_to(outside)
    ran = cli("render", "-o", "out", folder=folder)
    assert (ran.code, "is a link, or behind one: nothing is written or removed there" in ran.err) == (1, True)
    assert (outside / "deployment.py").read_text() == "mine"


def test_a_defect_is_told_in_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that answers with an error nobody expects stands in for a defect."""

    class Broken:
        encoding, errors = "utf-8", "strict"

        def write(self, _text: str) -> int:
            raise LookupError("canary-token-0123 is here")

        def flush(self) -> None:
            return

        def isatty(self) -> bool:
            return False

    monkeypatch.setattr(sys, "stdout", Broken())
    for verbose, lines in (([], 2), (["-v"], 5)):
        err = _stderr_of(folder, *verbose)
        assert "canary-token" not in err
        assert "error: whisperctl itself has failed: LookupError: (token) is here" in err
        assert ("Traceback" in err) is bool(verbose)
        assert len(err.splitlines()) >= lines


def _stderr_of(folder: Path, *args: str) -> str:
    import io
    from contextlib import chdir, redirect_stderr

    from whisperctl.cli.main import main

    err = io.StringIO()
    before = dict(os.environ)
    os.environ.update(ENVIRON)
    try:
        with chdir(folder), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main([*args, "validate"])
    finally:
        os.environ.clear()
        os.environ.update(before)
    assert ended.value.code == 1
    return err.getvalue()
