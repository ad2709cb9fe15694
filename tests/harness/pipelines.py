"""GitHub's and GitLab's runners, as far as our pipelines use them: the steps' own scripts, run as they stand.

`GitHub.run` takes a workflow's jobs in order and evaluates their conditions; `run:` steps are typed into bash as the
runner types them, github-script's are run by node in front of issues that are kept in a file, artifacts are copied.
What sets up a runner (checkout, setup-python) is left out: the folder is the checkout.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

NODE = shutil.which("node")
SCRIPT_STEP = Path(__file__).with_name("github_script.js")


class Value:
    """What a name of an expression stands for: `github.event_name`; absent parts are empty."""

    def __init__(self, value: Any = "") -> None:
        self.value = value

    def __getattr__(self, name: str) -> Value:
        values = self.value if isinstance(self.value, dict) else {}
        return Value(values.get(name, values.get(name.replace("_", "-"), "")))

    def __eq__(self, other: object) -> bool:
        return bool(self.value == (other.value if isinstance(other, Value) else other))

    def __hash__(self) -> int:
        return hash(str(self.value))

    def __bool__(self) -> bool:
        return bool(self.value)

    def __str__(self) -> str:
        return "" if self.value is None else str(self.value)


def evaluated(expression: str, contexts: Mapping[str, Any]) -> Any:
    """One of GitHub's expressions: names, `==`, `!=`, `&&`, `||`, `!`, texts, and the functions given as contexts."""
    python = expression.replace("&&", " and ").replace("||", " or ")
    python = re.sub(r"!(?!=)", " not ", python)
    python = re.sub(r"inputs\.[\w-]+", lambda match: match[0].replace("-", "_"), python)
    names = {name: value if callable(value) else Value(value) for name, value in contexts.items()}
    return eval(python.strip(), {"__builtins__": {}, **names})


def filled(text: Any, contexts: Mapping[str, Any]) -> str:
    """A value of the workflow with every `${{ }}` in it evaluated."""
    return re.sub(r"\$\{\{(.*?)\}\}", lambda match: str(evaluated(match[1], contexts)), str(text))


@dataclass(slots=True)
class Step:
    """What a step did."""

    name: str
    outcome: str = "skipped"
    output: str = ""


@dataclass(slots=True)
class GitHub:
    """A repository on GitHub with one workflow.

    Attributes:
        folder: the checkout.
        environ: variables of the runner: PATH and those that point to the emulator, without a token.
        secrets: the repository's.
        environments: the secrets of each environment; only its jobs see them.
        variables: the repository's.
        kept: comments and issues, as `github_script.js` keeps them.
    """

    folder: Path
    environ: Mapping[str, str]
    secrets: Mapping[str, str]
    environments: Mapping[str, Mapping[str, str]]
    variables: Mapping[str, str]
    kept: Path
    artifacts: Path
    needs: dict[str, Any] = field(default_factory=dict)

    def workflow(self) -> dict[Any, Any]:
        (file,) = (self.folder / ".github" / "workflows").glob("*.yml")
        read: dict[Any, Any] = yaml.safe_load(file.read_text())
        return read

    def job(self, name: str, on: str, **github: Any) -> list[Step] | None:
        """Run a job for an event; None where its condition says no.

        Args:
            name: of the job.
            on: the event's name: `push`, `pull_request`, `schedule`.
            github: further values of the context `github`.
        """
        workflow = self.workflow()
        job = workflow["jobs"][name]
        repository = "me/speech"
        trusted = {"pull_request": {"head": {"repo": {"full_name": repository}}}}
        secrets = {**self.secrets, **self.environments.get(job.get("environment", ""), {})}
        context = {"event_name": on, "ref": "refs/heads/main", "repository": repository, "event": trusted, **github}
        contexts: dict[str, Any] = {"github": context, "secrets": secrets, "vars": self.variables, "needs": self.needs}
        ready = "needs" not in job or self.needs.get(job["needs"], {}).get("result") == "success"
        if not ready or not evaluated(job["if"], contexts):
            self.needs[name] = {"result": "skipped", "outputs": {}}
            return None
        env = {key: filled(value, contexts) for key, value in (workflow["env"] | job.get("env", {})).items()}
        steps: list[Step] = []
        results: dict[str, Any] = {}
        for step in job["steps"]:
            steps.append(self._step(step, {**contexts, "steps": results}, env, steps))
            if "id" in step:
                results[step["id"]]["outcome"] = steps[-1].outcome
        outputs = {key: filled(value, {"steps": results}) for key, value in job.get("outputs", {}).items()}
        failed = any(step.outcome == "failure" for step in steps)
        self.needs[name] = {"result": "failure" if failed else "success", "outputs": outputs}
        return steps

    def action(self, file: Path, on: str, **inputs: str) -> tuple[list[Step], dict[str, str]]:
        """Run a composite action as the only step of a job for the event `on`; its steps, and its outputs."""
        declared = yaml.safe_load(file.read_text())
        given = {name: inputs.get(name, each.get("default", "")) for name, each in declared["inputs"].items()}
        results: dict[str, Any] = {}
        contexts = {"github": {"event_name": on, "token": "ghs"}, "inputs": given}
        steps: list[Step] = []
        for step in declared["runs"]["steps"]:
            steps.append(self._step(step, {**contexts, "steps": results}, {}, steps))
        outputs = declared["outputs"]
        return steps, {name: filled(each["value"], {"steps": results}) for name, each in outputs.items()}

    def _step(self, step: dict[str, Any], contexts: dict[str, Any], env: dict[str, str], before: list[Step]) -> Step:
        done = Step(step.get("name") or step["uses"].partition("@")[0])
        failed = any(each.outcome == "failure" for each in before)
        contexts["cancelled"] = lambda: False
        condition = str(step.get("if", "True"))
        status = "cancelled(" in condition
        results = contexts["steps"]
        if "id" in step:
            results[step["id"]] = {"outputs": {}, "outcome": "skipped"}
        if (failed and not status) or not evaluated(condition, contexts):
            return done
        own = env | {key: filled(value, contexts) for key, value in step.get("env", {}).items()}
        command = self._command(step)
        if command is None:
            done.outcome = "success"
            return done
        output = self.folder.parent / "github-output"
        output.write_text("")
        own |= {"GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(self.folder.parent / "summary.md")}
        environ = {name: value for name, value in {**self.environ, **own}.items() if value}
        ran = subprocess.run(
            command, cwd=self.folder, env=environ, capture_output=True, text=True, timeout=120, check=False
        )
        done.output = ran.stdout + ran.stderr
        done.outcome = "failure" if ran.returncode and not step.get("continue-on-error") else "success"
        if "id" in step:
            results[step["id"]]["outputs"] = dict(line.split("=", 1) for line in output.read_text().splitlines())
        return done

    def _command(self, step: dict[str, Any]) -> list[str] | None:
        """What the runner starts for it; None for what is already so here."""
        if "run" in step:
            return ["bash", "-e", "-c", step["run"]]
        action = step["uses"].partition("@")[0]
        given = step.get("with", {})
        if action == "actions/github-script":
            script = self.folder.parent / "step.js"
            script.write_text(given["script"])
            return [str(NODE), str(SCRIPT_STEP), str(script), str(self.kept)]
        if action == "actions/upload-artifact":
            shutil.rmtree(self.artifacts / given["name"], ignore_errors=True)
            (self.artifacts / given["name"]).mkdir(parents=True)
            for path in given["path"].split():
                shutil.move(self.folder / path, self.artifacts / given["name"])
        if action == "actions/download-artifact":
            shutil.copytree(self.artifacts / given["name"], self.folder, dirs_exist_ok=True)
        return None


def programs(folder: Path) -> Path:
    """A folder for PATH with `whisperctl`, `python`, and a `pip` that has nothing left to install."""
    folder.mkdir(exist_ok=True)
    for name, command in (
        ("whisperctl", f"{sys.executable} -m whisperctl"),
        ("python", sys.executable),
        ("pip", "true"),
    ):
        (folder / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


def issues(record: Path) -> list[dict[str, Any]]:
    """The issues that the steps have left."""
    read: list[dict[str, Any]] = json.loads(record.read_text())["issues"]
    return read


def comments(record: Path) -> list[dict[str, Any]]:
    """The comments of the pull request."""
    read: list[dict[str, Any]] = json.loads(record.read_text())["comments"]
    return read


def path_with(folder: Path) -> str:
    return f"{folder}{os.pathsep}{os.environ['PATH']}"
