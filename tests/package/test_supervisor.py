"""The supervisor in a package: a program with stubborn descendants, ended in every way; nobody is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from templates import whisperctl_supervisor
from tests.harness.sweeps import EXHAUSTIVE

from .conftest import wait_until

BROOD = Path(__file__).with_name("brood.py")
GRACE = 0.3
ROUNDS = 50 if EXHAUSTIVE else 1
PARENT = """\
import os, subprocess, sys
subprocess.run([sys.executable, "-I", sys.argv[1], str(os.getpid()), *sys.argv[2:]])
"""


class Family:
    """A parent, its supervisors, and the program with its descendants."""

    def __init__(self, supervisor: Path, pids: Path, end: str) -> None:
        self.pids, self.end = pids, end
        command = [sys.executable, "-c", PARENT, str(supervisor), sys.executable, str(BROOD), str(pids), end]
        self.parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.parent.stdout is not None
        assert self.parent.stdout.readline() == "begun\n"
        if end == "ignore":
            assert self.parent.stdout.readline() == "deaf\n"

    @property
    def brood(self) -> list[int]:
        """The program and its descendants."""
        return [int(line) for line in self.pids.read_text().split()]

    @property
    def supervisors(self) -> tuple[int, int]:
        """The upper and the lower one."""
        parents = dict(whisperctl_supervisor.parents_of_processes())
        lower = parents[self.brood[0]]
        return parents[lower], lower

    def wait_until_gone(self, seconds: float = 20) -> None:
        """Return when nobody of it lives."""
        wait_until(lambda: not set(self.brood) & living(), seconds)

    def clean_up(self) -> None:
        """Kill whatever a failed test has left."""
        self.parent.kill()
        for pid in set(self.brood) & living():
            os.kill(pid, signal.SIGKILL)
        self.parent.communicate(timeout=20)


def living() -> set[int]:
    return {pid for pid, _ in whisperctl_supervisor.parents_of_processes()}


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Callable[[str], Family]]:
    """Start one; all of it is gone afterwards."""
    started: list[Family] = []
    source = Path(whisperctl_supervisor.__file__).read_text()
    slow = f"GRACE_SECONDS = {whisperctl_supervisor.GRACE_SECONDS}"
    assert slow in source
    supervisor = tmp_path / "supervisor.py"
    supervisor.write_text(source.replace(slow, f"GRACE_SECONDS = {GRACE}"))

    def start(end: str) -> Family:
        started.append(Family(supervisor, tmp_path / f"pids-{len(started)}", end))
        return started[-1]

    yield start
    for each in started:
        each.clean_up()


def kill(number: signal.Signals, whom: str) -> Callable[[Family], None]:
    def end(family: Family) -> None:
        upper, lower = family.supervisors
        os.kill({"parent": family.parent.pid, "upper": upper, "lower": lower, "program": family.brood[0]}[whom], number)

    return end


WAYS: dict[str, tuple[str, Callable[[Family], None]]] = {
    "ends with 0": ("0", lambda _: None),
    "ends with 5": ("5", lambda _: None),
    "crashes": ("crash", lambda _: None),
    "is killed": ("stay", kill(signal.SIGKILL, "program")),
    "is asked to end": ("stay", kill(signal.SIGTERM, "upper")),
    "is to be killed": ("ignore", kill(whisperctl_supervisor.KILL_ALL, "upper")),
    "loses its parent": ("stay", kill(signal.SIGKILL, "parent")),
    "loses its parent, deaf": ("ignore", kill(signal.SIGKILL, "parent")),
    "loses its upper supervisor": ("ignore", kill(signal.SIGKILL, "upper")),
    "loses its lower supervisor": ("ignore", kill(signal.SIGKILL, "lower")),
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("way", WAYS)
def test_nobody_is_left(family: Callable[[str], Family], way: str) -> None:
    end, act = WAYS[way]
    for _ in range(ROUNDS):
        started = family(end)
        act(started)
        started.wait_until_gone()


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["sh", "-c", "exit 0"], 0), (["sh", "-c", "exit 7"], 7), (["sh", "-c", "kill -SEGV $$"], -signal.SIGSEGV),
        (["sh", "-c", "kill -KILL $$"], -signal.SIGKILL), (["/nowhere/at/all"], 127),
    ],
)  # fmt: skip
def test_it_ends_as_the_program_ends(command: list[str], code: int) -> None:
    supervisor = [sys.executable, "-I", whisperctl_supervisor.__file__, str(os.getpid())]
    ran = subprocess.run([*supervisor, *command], check=False, capture_output=True, text=True)
    assert ran.returncode == code
    assert ("/nowhere/at/all cannot be started: No such file or directory" in ran.stderr) == (code == 127)


def test_who_has_no_parent_starts_nothing() -> None:
    supervisor = [sys.executable, "-I", whisperctl_supervisor.__file__, "1", "echo", "started"]
    ran = subprocess.run(supervisor, check=False, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "the parent is gone already" in ran.stderr


def test_descendants_are_told_from_others() -> None:
    with subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True) as shell:
        assert shell.stdout is not None
        sleeper = int(shell.stdout.readline())
        assert whisperctl_supervisor.descendants(shell.pid) == {sleeper}
        assert {shell.pid, sleeper} <= whisperctl_supervisor.descendants(os.getpid())
        os.kill(sleeper, signal.SIGKILL)
