"""Real processes that want one stack at the same moment: minutes long, and therefore only in the exhaustive run.

With `-s` each prints its figures; docs/architecture.md has them.
"""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.harness.project import Project
from tests.harness.sweeps import EXHAUSTIVE

pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.skipif(not EXHAUSTIVE, reason="takes minutes: WHISPERCTL_EXHAUSTIVE=1 runs it"),
]
PAIRS = 12


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=240)
    return process.returncode, out + err


def is_empty(project: Project, file: Path) -> bool:
    return project.cli("plan", "--detailed-exitcode", str(file)).code == 0


def written(project: Project) -> list[dict[str, Any]]:
    """Every request that was to change something, in order."""
    return [e for e in project.journal() if e["method"] != "GET" and "/_emulator/" not in e["path"]]


def doubled(project: Project) -> list[str]:
    """What was made although it was there, or changed although it was gone: UbiOps refuses both."""
    return [f"{e['method']} {e['path']} {e['status']}" for e in written(project) if e["status"] in (400, 404, 409)]


def test_pairs_of_applies_both_end_well_and_one_of_them_wins_whole(project: Project) -> None:
    project.apply()
    for number in range(PAIRS):
        files = [
            project.write(f"{name}/stack.yaml", version={"maximum_instances": 2 + number % 3}, env={name: str(number)})
            for name in ("ONE", "TWO")
        ]
        pair = [project.spawn("apply", "--yes", str(file)) for file in files]
        for code, said in map(ended, pair):
            assert code == 0, f"pair {number}: {said}"
        assert sorted(is_empty(project, file) for file in files) == [False, True], f"pair {number}"
    assert doubled(project) == []
    print(f"{PAIRS} pairs of applies at once: {len(written(project))} writes, each pair's second one stands whole")


@pytest.mark.parametrize("command", ["destroy", "pause"])
def test_pairs_of_an_apply_and_something_else_both_end_well(project: Project, command: str) -> None:
    for number in range(PAIRS // 2):
        project.apply()
        file = project.write("mine/stack.yaml", env={"A": str(number)})
        project.cli("resume", str(file))
        other = ["destroy", "--yes"] if command == "destroy" else ["pause"]
        pair = [project.spawn("apply", "--yes", str(file)), project.spawn(*other, str(file))]
        for code, said in map(ended, pair):
            assert code == 0, f"pair {number}: {said}"
        project.cli("resume", str(file))
    assert doubled(project) == []
    print(f"{PAIRS // 2} pairs of an apply and a {command}: {len(written(project))} writes")


def test_an_apply_that_is_stopped_for_longer_than_its_lease_overwrites_nothing(project: Project) -> None:
    project.apply()
    mine = project.write(
        "mine/stack.yaml", version={"maximum_instances": 5}, env={"EXTRA": "1"}, vllm={"max_model_len": 32}
    )
    theirs = project.write("theirs/stack.yaml")
    project.fault("latency", method="PATCH", path="versions/v1$", ms=3000, count=1)
    stopped = project.spawn("apply", "--yes", str(mine))
    assert stopped.stderr is not None
    while "version/alpha/v1: updating" not in stopped.stderr.readline():
        pass
    time.sleep(1)
    stopped.send_signal(signal.SIGSTOP)
    start = time.monotonic()
    code, said = ended(project.spawn("apply", "--yes", str(theirs)))
    assert code == 0, said
    assert "waiting for another apply" in said
    assert time.monotonic() - start > 59
    waited, before = time.monotonic() - start, len(written(project))
    stopped.send_signal(signal.SIGCONT)
    code, said = ended(stopped)
    assert code == 1
    assert "has taken over" in said
    assert len(written(project)) == before
    assert is_empty(project, theirs)
    print(f"a holder stopped past its lease: taken over and applied after {waited:.0f} s, no write by it afterwards")


def test_an_apply_that_sits_out_a_rate_limit_longer_than_its_lease_keeps_it(project: Project) -> None:
    project.apply()
    first = project.write("first/stack.yaml", version={"maximum_instances": 4})
    second = project.write("second/stack.yaml", version={"maximum_instances": 5})
    project.fault("throttle", method="PATCH", path="versions/v1$", reset=100, count=1)
    one = project.spawn("apply", "--yes", str(first))
    time.sleep(30)
    two = project.spawn("apply", "--yes", str(second))
    start = time.monotonic()
    code, said = ended(one)
    assert code == 0, said
    seconds = time.monotonic() - start + 30
    code, said = ended(two)
    assert code == 0, said
    assert "waiting for another apply" in said
    assert (project.api().version("alpha", "v1") or {})["maximum_instances"] == 5
    assert is_empty(project, second)
    assert doubled(project) == []
    print(f"a rate limit of 100 s: the lease was kept for {seconds:.0f} s, the second apply waited for it")


def test_an_apply_whose_last_write_sits_out_a_rate_limit_longer_than_its_lease_keeps_it(project: Project) -> None:
    project.apply()
    first = project.write("first/stack.yaml", version={"maximum_instances": 4})
    second = project.write("second/stack.yaml", version={"maximum_instances": 5})
    project.fault("latency", method="PATCH", path="versions/v1$", ms=7000, count=1)
    one = project.spawn("apply", "--yes", str(first))
    assert one.stderr is not None
    while "version/alpha/v1: updating" not in one.stderr.readline():
        pass
    time.sleep(4)  # its lease was renewed a first time: of the deployment only the last write is left to come soon
    project.fault("throttle", method="PATCH", path="deployments/alpha$", reset=100, count=1)
    while not any(e["status"] == 429 for e in written(project)):
        time.sleep(0.2)
    start = time.monotonic()
    code, said = ended(project.spawn("apply", "--yes", str(second)))
    assert code == 0, said
    assert "waiting for another apply" in said
    seconds = time.monotonic() - start
    assert seconds > 95
    code, said = ended(one)
    assert code == 0, said
    assert is_empty(project, second)
    print(f"a rate limit of 100 s on an apply's last write: the second apply waited {seconds:.0f} s for it")
