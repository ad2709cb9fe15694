"""The GitHub pipeline's comment: the script of its actions/github-script step, run by node on comments in a file."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness.operator import Operator
from whisperctl.views.plan import MARKDOWN_LIMIT

NODE = shutil.which("node")
STEP = Path(__file__).with_name("github_script.js")
MARK = "<!-- whisperctl plan -->\n"
OTHERS: list[dict[str, Any]] = [{"id": number, "body": f"looks good, {number}"} for number in range(1, 41)]
pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")


@pytest.fixture
def script(newcomer: Operator) -> Path:
    newcomer.good("init", ".", "--ci", "github")
    steps = yaml.safe_load((newcomer.folder / ".github/workflows/whisperctl.yml").read_text())["jobs"]["plan"]["steps"]
    found = newcomer.folder / "comment.js"
    found.write_text(next(step["with"]["script"] for step in steps if "github-script" in step.get("uses", "")))
    return found


def comment(script: Path, plan: str | None, before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pull request's comments after the step, in a folder with this plan."""
    kept = script.with_name("comments.json")
    kept.write_text(json.dumps(before))
    if plan is not None:
        script.with_name("plan.md").write_text(plan, encoding="utf-8")
    command = [str(NODE), str(STEP), str(script), str(kept)]
    done = subprocess.run(command, cwd=script.parent, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(kept.read_text())
    return found


def test_the_first_plan_is_a_new_comment_and_the_next_takes_its_place(newcomer: Operator, script: Path) -> None:
    plan = newcomer.good("plan", "--format", "markdown").out
    first = comment(script, plan, OTHERS)
    assert first == [*OTHERS, {"id": 41, "body": MARK + plan}]

    newcomer.good("apply", "--yes")
    plan = newcomer.good("plan", "--format", "markdown").out
    assert comment(script, plan, first) == [*OTHERS, {"id": 41, "body": MARK + plan}]


def test_a_comment_without_text_is_passed_over(script: Path) -> None:
    assert comment(script, "### plan\n", [{"id": 1}]) == [{"id": 1}, {"id": 2, "body": MARK + "### plan\n"}]


@pytest.mark.parametrize("text", ["`a` ```b``` ${process.exit(9)} ' \" \\ é 🎤\n", "x" * MARKDOWN_LIMIT])
def test_a_plan_of_any_text_arrives_as_it_is(script: Path, text: str) -> None:
    assert comment(script, text, []) == [{"id": 1, "body": MARK + text}]


def test_without_a_plan_the_step_fails_and_says_so(script: Path) -> None:
    with pytest.raises(AssertionError, match=r"no such file or directory, open 'plan\.md'"):
        comment(script, None, [])


def test_the_longest_plan_fits_into_a_comment(newcomer: Operator, script: Path) -> None:
    stack = yaml.safe_load((newcomer.folder / "stack.yaml").read_text())
    stack["env"] = {f"NAME_{number}": "`" * 900 for number in range(100)}
    newcomer.write(yaml.safe_dump(stack))
    plan = newcomer.good("plan", "--format", "markdown").out
    assert len(plan) > 10_000
    assert comment(script, plan, [])[0]["body"] == MARK + plan
