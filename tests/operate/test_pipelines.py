"""The pipelines of `init --ci`: every script as it stands, against the emulator, with an approval in between.

Two service users, as the pipelines' first lines ask for: one that may only look, and one that may change the project.
"""

from __future__ import annotations

import json
import re
import subprocess

import httpx
import pytest

from tests.harness.official import service_user
from tests.harness.operator import Operator
from tests.harness.pipelines import NODE, GitHub, Step, comments, issues, path_with, programs
from tests.operate.conftest import writes
from whisperctl import __version__
from whisperctl.views.plan_markdown import LIMIT as MARKDOWN_LIMIT

pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")
FORK = {"event": {"pull_request": {"head": {"repo": {"full_name": "stranger/speech"}}}}}
PLAN_MARK = "<!-- whisperctl plan: whisperctl, stack.yaml -->\n"
DRIFT_MARK = "<!-- whisperctl drift: whisperctl, stack.yaml -->\n"


@pytest.fixture
def github(newcomer: Operator, control: httpx.Client) -> GitHub:
    """A repository as `init` writes it, set up as its first lines say."""
    newcomer.good("init", "repo", "--ci", "github")
    path = path_with(programs(newcomer.folder / ".programs"))
    record = newcomer.folder / "kept.json"
    record.write_text(json.dumps({"comments": [{"id": 1, "body": "looks good"}, {"id": 2}], "issues": []}))
    repository = GitHub(
        folder=newcomer.folder / "repo",
        environ=newcomer.env(UBIOPS_API_TOKEN="", PATH=path),
        secrets={"UBIOPS_PLAN_TOKEN": service_user(newcomer.emulator, "plan", "project-viewer")},
        environments={"production": {"UBIOPS_API_TOKEN": service_user(newcomer.emulator, "apply", "project-admin")}},
        variables={"UBIOPS_PROJECT": "demo"},
        kept=record,
        artifacts=newcomer.folder / "artifacts",
    )
    control.delete("/journal").raise_for_status()
    return repository


def outcomes(steps: list[Step] | None) -> dict[str, str]:
    assert steps is not None
    return {step.name: step.outcome for step in steps}


def output(steps: list[Step] | None, name: str) -> str:
    assert steps is not None
    return next(step.output for step in steps if step.name == name)


def test_a_pull_request_gets_one_comment_that_follows_it(github: GitHub, control: httpx.Client) -> None:
    for _ in range(2):
        steps = github.job("plan", "pull_request")
        assert "failure" not in outcomes(steps).values(), steps
    other, empty, plan = comments(github.kept)
    assert (other["body"], empty) == ("looks good", {"id": 2})
    assert plan["body"].startswith(f"{PLAN_MARK}### ")
    assert "to create" in plan["body"]
    assert (github.folder.parent / "summary.md").read_text().count("to create") == 2
    assert github.job("apply", "pull_request", ref="refs/pull/7/merge") is None
    assert writes(control) == []


def test_the_comment_tells_of_a_plan_that_fails(github: GitHub) -> None:
    stack = github.folder / "stack.yaml"
    stack.write_text(stack.read_text().replace("gpu: T4", "gpu: T5"))

    steps = github.job("plan", "pull_request")

    assert outcomes(steps)["Plan"] == "failure"
    assert outcomes(steps)["Keep the plan"] == "skipped"
    assert "::error file=stack.yaml,line=" in output(steps, "Validate")
    comment = comments(github.kept)[2]["body"]
    assert comment.startswith(f"{PLAN_MARK}### The plan failed\n~~~~~~text\nstack.yaml:")
    assert "T5" in comment


def test_a_fork_is_validated_and_no_more(github: GitHub) -> None:
    steps = github.job("plan", "pull_request", **FORK)

    assert outcomes(steps)["Validate"] == "success"
    assert [outcomes(steps)[name] for name in ("Plan", "Comment", "Keep the plan")] == ["skipped"] * 3
    assert len(comments(github.kept)) == 2


def test_what_was_approved_is_applied(github: GitHub, newcomer: Operator) -> None:
    plan = github.job("plan", "push")
    assert outcomes(plan)["Comment"] == "skipped"
    assert sorted(path.name for path in (github.artifacts / "whisperctl-plan").iterdir()) == [
        "plan.md",
        "whisperctl.plan",
    ]
    assert github.environments["production"]["UBIOPS_API_TOKEN"] not in str(plan)

    applied = github.job("apply", "push")  # here somebody has looked at the plan and approved

    assert outcomes(applied)["Apply"] == "success", applied
    assert "Applied repo: " in output(applied, "Apply")
    assert newcomer.run("plan", "repo", "--detailed-exitcode").code == 0
    again = github.job("plan", "push")
    assert outcomes(again)["Plan"] == "success"
    assert github.job("apply", "push") is None  # nothing is pending: nobody is asked


def test_an_approved_plan_that_is_stale_is_refused(github: GitHub, newcomer: Operator, control: httpx.Client) -> None:
    github.job("plan", "push")
    newcomer.good("apply", "repo", "--yes")
    stack = github.folder / "stack.yaml"
    stack.write_text(stack.read_text().replace("maximum_instances: 1", "maximum_instances: 3"))
    github.job("plan", "push")
    newcomer.good("scale", "repo", "--max", "2")
    control.delete("/journal").raise_for_status()

    steps = github.job("apply", "push")

    assert outcomes(steps)["Apply"] == "failure"
    assert "stale" in output(steps, "Apply")
    assert writes(control) == []


def test_the_plan_token_cannot_apply(github: GitHub, newcomer: Operator, control: httpx.Client) -> None:
    ran = newcomer.run("apply", "repo", "--yes", UBIOPS_API_TOKEN=github.secrets["UBIOPS_PLAN_TOKEN"])
    assert ran.code == 1
    assert "403" in ran.err or "permission" in ran.err


def test_drift_is_one_issue_that_closes_itself(github: GitHub, newcomer: Operator) -> None:
    github.job("plan", "push")
    github.job("apply", "push")
    for job in ("plan", "apply"):
        assert github.job(job, "schedule") is None
    assert set(outcomes(github.job("drift", "schedule")).values()) == {"success"}
    assert issues(github.kept) == []

    for maximum in ("3", "4"):
        newcomer.good("scale", "repo", "--max", maximum)
        assert "failure" not in outcomes(github.job("drift", "schedule")).values()
        (issue,) = issues(github.kept)
        assert (issue["state"], issue["title"]) == ("open", "whisperctl: drift in stack.yaml")
        assert issue["body"].startswith(DRIFT_MARK)
        assert re.search(rf"maximum_instances.*\b{maximum}\b", issue["body"])

        assert "```diff" in issue["body"]
    assert github.job("propose", "schedule") is None  # only where a variable asks for it

    newcomer.good("apply", "repo", "--yes")
    github.job("drift", "schedule")
    assert [issue["state"] for issue in issues(github.kept)] == ["closed"]


def test_drift_is_one_pull_request_where_that_is_asked_for(github: GitHub, newcomer: Operator) -> None:
    github.job("plan", "push")
    github.job("apply", "push")
    github.variables = {**github.variables, "WHISPERCTL_PROPOSE": "true"}
    before = (github.folder / "stack.yaml").read_text()
    github.job("drift", "schedule")
    assert github.job("propose", "schedule") is None
    for maximum in ("3", "4"):
        newcomer.good("scale", "repo", "--max", maximum)
        github.job("drift", "schedule")
        assert "failure" not in outcomes(github.job("propose", "schedule")).values()
        record = json.loads(github.kept.read_text())
        (request,) = record["requests"]
        assert (request["head"], request["base"]) == ("whisperctl-drift", "main")
        assert f"{maximum}" in request["body"]
        (written,) = record["branches"]["whisperctl-drift"].items()
        expected = re.sub(r"maximum_instances: \d+", f"maximum_instances: {maximum}", before)
        assert written == ("stack.yaml", expected)
        (github.folder / "stack.yaml").write_text(before)  # a job starts from a clean checkout
    (github.folder / "stack.yaml").write_text(expected)  # and merged, there is nothing left to tell
    assert newcomer.run("plan", "repo", "--detailed-exitcode").code == 0


def test_that_drift_cannot_be_told_is_an_issue_too(github: GitHub) -> None:
    (github.folder / "stack.yaml").write_text("stack: 1\n")

    steps = github.job("drift", "schedule")

    assert outcomes(steps)["Drift"] == "failure"
    assert issues(github.kept)[0]["body"].startswith(f"{DRIFT_MARK}### Looking for drift failed\n")


@pytest.mark.parametrize("text", ["`a` ```b``` ${process.exit(9)} ' \" \\ é 🎤\n", "x" * MARKDOWN_LIMIT])
def test_a_plan_of_any_text_arrives_as_it_is(github: GitHub, text: str) -> None:
    comment = next(step for step in github.workflow()["jobs"]["plan"]["steps"] if step.get("name") == "Comment")
    (github.folder / "plan.md").write_text(text)
    command = github._command(comment)
    assert command is not None
    environ = {**github.environ, "STACKS": "stack.yaml"}
    subprocess.run(command, cwd=github.folder, env=environ, check=True, timeout=60)
    assert comments(github.kept)[2]["body"] == PLAN_MARK + text


def test_secrets_are_named_once_and_the_token_that_writes_in_one_job(github: GitHub) -> None:
    workflow = github.workflow()
    text = json.dumps(workflow)
    applies = json.dumps(workflow["jobs"]["apply"])

    assert text.count("secrets.UBIOPS_API_TOKEN") == applies.count("secrets.UBIOPS_API_TOKEN") == 1
    assert "UBIOPS_PLAN_TOKEN" not in applies
    assert workflow["jobs"]["apply"]["environment"] == "production"
    assert workflow["permissions"] == {}
    actions = re.findall(r"uses: (\S+)(.*)", (github.folder / ".github/workflows/whisperctl.yml").read_text())
    assert len(actions) == 13
    assert [action for action, _ in actions if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action)] == []
    assert [version for _, version in actions if not re.fullmatch(r" # v\d+\.\d+\.\d+", version)] == []
    assert f"'whisperctl-ubiops=={__version__}'" in workflow["env"]["WHISPERCTL"]
