"""GitLab's pipeline of `init --ci`: every script as it stands, in front of notes and issues that a server keeps."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import yaml

from tests.harness.official import service_user
from tests.harness.operator import Operator
from tests.harness.pipelines import path_with, programs

PAGE = 100


class GitLab(ThreadingHTTPServer):
    """One project with one merge request: notes and issues, in pages."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Calls)
        self.notes: list[dict[str, Any]] = [{"id": number, "body": "looks good"} for number in range(1, PAGE + 10)]
        self.issues: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []
        self.commits: list[dict[str, Any]] = []
        self.tokens: set[str] = set()


class _Calls(BaseHTTPRequestHandler):
    server: GitLab

    def _answer(self) -> None:
        self.server.tokens.add(str(self.headers["PRIVATE-TOKEN"]))
        given = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
        path, _, query = self.path.removeprefix("/api/v4/projects/7/").partition("?")
        kinds = {"merge_requests/3/notes": "notes", "merge_requests": "requests", "repository/commits": "commits"}
        kind = next((kind for begins, kind in kinds.items() if path.startswith(begins)), "issues")
        number = "id" if kind == "notes" else "iid"
        listed: list[dict[str, Any]] = getattr(self.server, kind)
        asked = dict(part.split("=") for part in query.split("&") if part)
        answer: Any = [each for each in listed if each.get("state", "opened") == asked.get("state", "opened")]
        if self.command == "POST":
            listed.append({number: len(listed) + 1, "state": "opened", **given})
        if self.command == "PUT":
            each = listed[int(path.rpartition("/")[2]) - 1]
            each |= given
            each["state"] = "closed" if given.get("state_event") == "close" else each["state"]
        page = int(asked.get("page", "1"))
        more = str(page + 1) if len(answer) > page * PAGE else ""
        body = json.dumps(answer[(page - 1) * PAGE : page * PAGE]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Next-Page", more)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = _answer  # noqa: N815 - the standard library's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Silence."""


@pytest.fixture
def gitlab() -> Iterator[GitLab]:
    with GitLab() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@dataclass(slots=True)
class Runner:
    """Runs a job's scripts as GitLab's runner does: `script`, and then `after_script` in a shell of its own."""

    operator: Operator
    server: GitLab
    plan_token: str
    apply_token: str

    def job(self, name: str, **env: str) -> subprocess.CompletedProcess[str]:
        """What its script did."""
        pipeline = yaml.safe_load((self.operator.folder / "repo/.gitlab-ci.yml").read_text())
        job = pipeline[name]
        predefined = {
            "CI_API_V4_URL": f"http://127.0.0.1:{self.server.server_port}/api/v4",
            "CI_PROJECT_ID": "7",
            "CI_JOB_NAME": name,
            "CI_DEFAULT_BRANCH": "main",
            "UBIOPS_PLAN_TOKEN": self.plan_token,
            # An environment's variables are seen by its jobs alone.
            "UBIOPS_API_TOKEN": self.apply_token if job.get("environment") == "production" else "",
            "PATH": path_with(programs(self.operator.folder / ".programs")),
        }
        every = self.operator.env(**(pipeline["variables"] | job.get("variables", {}) | predefined | env))
        done = self._shell([*pipeline["default"]["before_script"], *job["script"]], every)
        after = self._shell(job.get("after_script", []), every)
        assert "Traceback" not in after.stderr, after
        done.stderr += after.stderr
        return done

    def _shell(self, lines: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        bash = ["bash", "-e", "-o", "pipefail", "-c", "\n".join(lines)]
        folder = self.operator.folder / "repo"
        return subprocess.run(bash, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def runner(newcomer: Operator, gitlab: GitLab) -> Runner:
    newcomer.good("init", "repo", "--ci", "gitlab")
    emulator = newcomer.emulator
    tokens = service_user(emulator, "plan", "project-viewer"), service_user(emulator, "apply", "project-admin")
    return Runner(newcomer, gitlab, *tokens)


COMMENT = {"CI_MERGE_REQUEST_IID": "3", "GITLAB_COMMENT_TOKEN": "glpat-secret"}


def test_a_merge_request_gets_one_note_that_follows_it(runner: Runner, gitlab: GitLab) -> None:
    silent = runner.job("plan", CI_MERGE_REQUEST_IID="3")
    assert silent.returncode == 0, silent
    assert "GITLAB_COMMENT_TOKEN is not set" in silent.stderr
    for _ in range(2):
        done = runner.job("plan", **COMMENT)
        assert done.returncode == 0, done
        assert "glpat-secret" not in done.stdout + done.stderr
    assert len(gitlab.notes) == PAGE + 10
    assert gitlab.notes[-1]["body"].startswith("<!-- whisperctl plan: stack.yaml -->\n### ")
    assert "to create" in gitlab.notes[-1]["body"]
    assert gitlab.tokens == {"glpat-secret"}


def test_the_note_tells_of_a_plan_that_fails(runner: Runner, gitlab: GitLab) -> None:
    stack = runner.operator.folder / "repo/stack.yaml"
    stack.write_text(stack.read_text().replace("gpu: T4", "gpu: T5"))
    assert runner.job("plan", **COMMENT).returncode == 1
    assert gitlab.notes[-1]["body"].startswith(
        "<!-- whisperctl plan: stack.yaml -->\n### The plan failed\n~~~~~~text\nstack.yaml:"
    )


def test_what_was_started_by_hand_is_what_was_planned(runner: Runner) -> None:
    assert runner.job("plan").returncode == 0
    applied = runner.job("apply")
    assert applied.returncode == 0, applied
    assert runner.operator.run("plan", "repo", "--detailed-exitcode").code == 0
    again = runner.job("apply")
    assert again.returncode == 1
    assert "stale" in again.stderr or "already" in again.stderr


def test_the_pipeline_asks_before_it_applies(runner: Runner) -> None:
    pipeline = yaml.safe_load((runner.operator.folder / "repo/.gitlab-ci.yml").read_text())
    assert [rule["when"] for rule in pipeline["apply"]["rules"]] == ["manual"]
    assert (pipeline["apply"]["needs"], pipeline["apply"]["allow_failure"]) == (["plan"], False)
    assert "UBIOPS_API_TOKEN" not in json.dumps(pipeline["apply"])
    assert runner.job("plan", UBIOPS_PLAN_TOKEN="").returncode != 0


def test_drift_is_one_issue_that_closes_itself(runner: Runner, gitlab: GitLab) -> None:
    runner.job("plan")
    runner.job("apply")
    assert runner.job("drift", **COMMENT).returncode == 0
    assert gitlab.issues == []
    for maximum in ("3", "4"):
        runner.operator.good("scale", "repo", "--max", maximum)
        assert runner.job("drift", **COMMENT).returncode == 0
        (issue,) = gitlab.issues
        assert issue["description"].startswith("<!-- whisperctl drift: stack.yaml -->\n")
        assert f"{maximum}" in issue["description"]
        (runner.operator.folder / "repo/drifted").unlink()  # a job starts from a clean checkout
    runner.operator.good("apply", "repo", "--yes")
    assert runner.job("drift", **COMMENT).returncode == 0
    assert [issue["state"] for issue in gitlab.issues] == ["closed"]


def test_drift_is_one_merge_request_where_that_is_asked_for(runner: Runner, gitlab: GitLab) -> None:
    runner.job("plan")
    runner.job("apply")
    stack = runner.operator.folder / "repo/stack.yaml"
    before = stack.read_bytes().replace(b"\n", b"\r\n")  # every byte but the value's own stays
    stack.write_bytes(before)
    asked = COMMENT | {"WHISPERCTL_PROPOSE": "true"}
    assert runner.job("drift", **asked).returncode == 0
    assert (gitlab.requests, gitlab.commits) == ([], [])
    for maximum in ("3", "4"):
        runner.operator.good("scale", "repo", "--max", maximum)
        done = runner.job("drift", **asked)
        assert done.returncode == 0, done
        (request,) = gitlab.requests
        assert (request["source_branch"], request["target_branch"]) == ("whisperctl-drift", "main")
        assert f"-> {maximum}" in request["description"]
        commit = gitlab.commits[-1]
        assert (commit["branch"], commit["start_branch"], commit["force"]) == ("whisperctl-drift", "main", True)
        (action,) = commit["actions"]
        assert action["file_path"] == "stack.yaml"
        live = before.replace(b"maximum_instances: 1", b"maximum_instances: " + maximum.encode())
        assert action["content"].encode() == live != before
        stack.write_bytes(before)  # a job starts from a clean checkout
        (runner.operator.folder / "repo/drifted").unlink()
    assert len(gitlab.issues) == 1
