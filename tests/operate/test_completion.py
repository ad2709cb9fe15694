"""completion: a script that the shell accepts, and words and files where they belong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.harness.operator import Operator
from whisperctl.cli.main import COMMANDS


def words(operator: Operator, *typed: str) -> list[str]:
    """What is offered for the last word, as `type,value`."""
    env = operator.env(
        COMP_WORDS=" ".join(("whisperctl", *typed)), COMP_CWORD=str(len(typed)), _WHISPERCTL_COMPLETE="bash_complete"
    )
    program = [sys.executable, "-m", "whisperctl"]
    done = subprocess.run(program, cwd=operator.folder, env=env, capture_output=True, text=True, timeout=30, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_commands_options_and_choices(newcomer: Operator) -> None:
    assert words(newcomer, "ro") == ["plain,rollback"]
    assert words(newcomer, "") == [f"plain,{name}" for name in COMMANDS]
    assert words(newcomer, "scale", "--m") == ["plain,--min", "plain,--max"]
    assert words(newcomer, "plan", "--format", "j") == ["plain,json"]
    assert words(newcomer, "completion", "z") == ["plain,zsh"]


@pytest.mark.parametrize(
    "typed",
    [(name, "s") for name in ("plan", "status", "logs", "pause", "rollback", "adopt", "doctor", "smoke", "transcribe")]
    + [("apply", "--plan", "s"), ("plan", "--token-file", "s")],
)
def test_paths_are_completed_by_the_shell(newcomer: Operator, typed: tuple[str, ...]) -> None:
    assert words(newcomer, *typed) == ["file,s"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_for_this_program(newcomer: Operator, shell: str) -> None:
    ran = newcomer.good("completion", shell)
    assert ran.err == ""
    assert f"_WHISPERCTL_COMPLETE={shell}_complete" in ran.out
    assert "whisperctl" in ran.out.splitlines()[0]
    if program := shutil.which(shell):
        checked = subprocess.run([program, "-n"], input=ran.out, capture_output=True, text=True, timeout=30, check=True)
        assert checked.stderr == ""


def program(operator: Operator) -> None:
    """`whisperctl` in the operator's folder."""
    path = operator.folder / "whisperctl"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m whisperctl "$@"\n')
    path.chmod(0o755)


def test_bash_really_completes(newcomer: Operator) -> None:
    """The script's own function, called as bash calls it after `whisperctl hi<TAB>`."""
    program(newcomer)
    script = newcomer.write(newcomer.good("completion", "bash").out, "completion.bash")
    typed = (
        f"source {script}; COMP_WORDS=(./whisperctl hi); COMP_CWORD=1; _whisperctl_completion ./whisperctl hi; "
        "echo ${COMPREPLY[@]}"
    )
    bash = ["bash", "-c", typed]
    done = subprocess.run(bash, cwd=newcomer.folder, env=newcomer.env(), capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("history\n", "")


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
def test_fish_really_completes(newcomer: Operator) -> None:
    program(newcomer)
    script = newcomer.write(newcomer.good("completion", "fish").out, "completion.fish")
    typed = f"source {script}; complete -C 'whisperctl hi'; complete -C 'whisperctl plan compl'"
    env = newcomer.env() | {"PATH": f"{newcomer.folder}:{os.environ['PATH']}", "HOME": str(newcomer.folder)}
    fish = ["fish", "-c", typed]
    done = subprocess.run(fish, cwd=newcomer.folder, env=env, capture_output=True, text=True, timeout=60, check=True)
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["history", "completion.fish"]


@pytest.mark.parametrize(
    ("shell", "place"),
    [
        ("bash", "data/bash-completion/completions/whisperctl"),
        ("zsh", "data/zsh/site-functions/_whisperctl"),
        ("fish", "config/fish/completions/whisperctl.fish"),
    ],
)
def test_it_is_installed_by_one_command(newcomer: Operator, shell: str, place: str) -> None:
    homes = {f"XDG_{name.upper()}_HOME": str(newcomer.folder / name) for name in ("data", "config")}
    ran = newcomer.run("completion", shell, "--install", **homes)
    assert (ran.code, ran.out) == (0, f"{newcomer.folder / place}\n")
    assert ran.err.startswith("note: new shells complete it")
    assert (newcomer.folder / place).read_text() == newcomer.good("completion", shell).out


def test_what_cannot_be_installed_is_told(newcomer: Operator) -> None:
    newcomer.write("", "data")
    ran = newcomer.run("completion", "bash", "--install", XDG_DATA_HOME=str(newcomer.folder / "data"))
    assert ran.code == 1
    assert "completions/whisperctl cannot be written: Not a directory." in ran.err


def test_another_shell_is_wrong_usage(newcomer: Operator) -> None:
    assert newcomer.run("completion", "tcsh").code == 64
