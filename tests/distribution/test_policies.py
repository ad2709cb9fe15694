"""The policies of policy/, in Rego and in Python, on plans that the program itself makes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.release import ROOT
from ubiops_emulator import testing
from ubiops_emulator.testing import Emulator

POLICY = ROOT / "policy"
PUBLIC = "authentication_required: true", "authentication_required: false"
MANY = "maximum_instances: 1", "maximum_instances: 4"


@pytest.fixture(scope="module")
def ubiops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with testing.running("--runtime", "none", data=tmp_path_factory.mktemp("ubiops")) as started:
        yield started


def planned(folder: Path, ubiops: Emulator, *edits: tuple[str, str], gpu: str = "T4") -> Any:
    """The plan of `init`'s stack for a GPU, with these edits."""
    whisperctl = [sys.executable, "-m", "whisperctl"]
    subprocess.run([*whisperctl, "init", str(folder), "--gpu", gpu], check=True, capture_output=True)
    stack = (folder / "stack.yaml").read_text()
    for old, new in edits:
        assert old in stack
        stack = stack.replace(old, new)
    (folder / "stack.yaml").write_text(stack)
    plan = [*whisperctl, "plan", "--format", "json", "stack.yaml"]
    done = subprocess.run(
        plan, cwd=folder, env=os.environ | ubiops.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (folder / "plan.json").write_text(done.stdout)
    return json.loads(done.stdout)


def denied(policy: str, plan: Any) -> list[str]:
    """What a policy says of a plan."""
    regopy = pytest.importorskip("regopy", reason="regopy is not installed: run `make setup`")
    engine = regopy.Interpreter()
    engine.add_module(policy, (POLICY / f"{policy}.rego").read_text())
    engine.set_input(plan)
    answer = json.loads(str(engine.query(f"data.whisperctl.{policy}.deny")))
    said: list[str] = answer["expressions"][0]
    return said


def checked(folder: Path, *options: str) -> tuple[int, list[str]]:
    command = [sys.executable, str(POLICY / "check.py"), str(folder / "plan.json"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def test_a_plan_without_fault_passes(tmp_path: Path, ubiops: Emulator) -> None:
    plan = planned(tmp_path, ubiops)
    for policy in ("no_public_service", "credit_limit", "listed_gpus"):
        assert denied(policy, plan) == []
    assert checked(tmp_path, "--limit", "100", "--group", "12288 MB + NVIDIA Tesla T4") == (0, [])


@pytest.mark.parametrize(
    ("policy", "edits", "gpu", "option", "said"),
    [
        ("no_public_service", [PUBLIC], "T4", (), "would be public (stack.yaml:"),
        ("credit_limit", [MANY], "T4", ("--limit", "100"), "up to 120 credits per hour, and 100 is the limit"),
        ("listed_gpus", [], "L4", ("--group", "12288 MB + NVIDIA Tesla T4"), "NVIDIA Ada Lovelace L4 is not "),
    ],
)
def test_each_policy_refuses_what_it_is_for(
    policy: str,
    edits: list[tuple[str, str]],
    gpu: str,
    option: tuple[str, ...],
    said: str,
    tmp_path: Path,
    ubiops: Emulator,
) -> None:
    plan = planned(tmp_path, ubiops, *edits, gpu=gpu)

    (rego,) = denied(policy, plan)
    code, lines = checked(tmp_path, *option)

    assert said in rego
    assert (code, len(lines)) == (1, 1)
    assert said in lines[0]


def test_a_cost_that_is_not_known_does_not_pass(tmp_path: Path, ubiops: Emulator) -> None:
    plan = planned(tmp_path, ubiops)
    plan["stacks"][0]["cost"]["credits_per_hour"]["maximum"]["after"] = None
    (tmp_path / "plan.json").write_text(json.dumps(plan))

    assert denied("credit_limit", plan) == [f"{plan['stacks'][0]['stack']}: what it may cost is not known"]
    assert checked(tmp_path)[0] == 1
