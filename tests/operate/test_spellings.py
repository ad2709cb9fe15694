"""Fingers that know Terraform, kubectl and Helm: what they type is refused with our spelling, and writes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.harness import program


def refused(folder: Path, line: str) -> str:
    """The last line of what a wrong command line says."""
    ran = program.run(*line.split(), environ=dict(os.environ), folder=folder)
    assert (ran.code, ran.out) == (64, "")
    assert list(folder.iterdir()) == []
    return ran.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("typed", "ours"),
    [
        ("diff", "plan"), ("template", "render"), ("lint", "validate"), ("fmt", "validate"), ("get", "status"),
        ("describe", "status"), ("ls", "list"), ("taint", "restart"), ("delete", "destroy"), ("statsu", "status"),
        ("rm", "destroy"), ("help", "--help"), ("version", "--version"),
    ],
)  # fmt: skip
def test_other_tools_words_for_a_command(tmp_path: Path, typed: str, ours: str) -> None:
    assert refused(tmp_path, typed) == f"Error: No such command {typed!r}. Did you mean {ours!r}?"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("apply -auto-approve", "No such option '-auto-approve'. Write `--yes`."),
        ("destroy --auto-approve", "No such option '--auto-approve'. Write `--yes`."),
        ("plan -target=service/x", "No such option '-target'. Write `--only`."),
        ("plan -detailed-exitcode", "No such option '-detailed-exitcode'. Write `--detailed-exitcode`."),
        ("apply -f stack.yaml", "No such option '-f'. Write the PATH alone."),
        ("apply --dry-run", "No such option '--dry-run'. `whisperctl plan` is that."),
        ("plan -out saved.plan", "No such option '-out'. Write `-o FILE`."),
        ("plan -out=saved.plan", "No such option '-out'. Write `-o FILE`."),
        ("plan -o json", "-o names a file to save the plan to, and 'json' is a format. Write `--format json`, or"),
        ("render -o -", "-o names the folder to write to, and '-' is none. Write `-o DIR`."),
        ("render -o json", "-o names the folder to write to, and 'json' is a format. Write `-o DIR`, or `-o ./json`"),
        ("plan -no-color", "No such option '-no-color'. Write `--color never`."),
        ("plan -json", "No such option '-json'. Write `--format json`."),
        ("output -raw url", "No such option '-raw'. Name one value: `url`, `model`"),
        ("list -o json", "No such option '-o'. Write `--format json`."),
        ("logs -n 5", "No such option '-n'. Write `--tail N`."),
        ("restart -o json", "No such option '-o'."),
        ("plan --formt json", "No such option '--formt'."),
        ("plan -q", "No such option '-q'."),
    ],
)
def test_other_tools_spellings_of_an_option(tmp_path: Path, line: str, said: str) -> None:
    assert refused(tmp_path, line).startswith(f"Error: {said}")
