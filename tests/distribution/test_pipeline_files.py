"""What other programs read of this repository and of `init --ci`: judged by their own schemas and linters, and run.

Workflows by actionlint and zizmor, GitLab's and Compose's files by their schemas, the Dockerfile by hadolint; its steps
are run here without a Docker engine.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.distribution.conftest import UV, Environment
from tests.harness.pipelines import NODE, GitHub, comments, path_with, programs
from tests.harness.release import ROOT
from ubiops_emulator import testing
from whisperctl import __version__

ACTIONLINT = ROOT / "tests" / "distribution" / "actionlint" / "node_modules" / "@tktco" / "node-actionlint" / "bin"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def tool(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A linter of this environment. Skips where it is not installed."""
    program = Path(sys.executable).with_name(name)
    if not program.exists():
        pytest.skip(f"{name} is not installed: run `make setup`")
    command = [str(program), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a repository of `init` for each CI."""
    folder = tmp_path_factory.mktemp("repositories")
    for ci in ("github", "gitlab"):
        init = [sys.executable, "-m", "whisperctl", "init", str(folder / ci), "--ci", ci]
        subprocess.run(init, check=True, capture_output=True)
    return folder


def test_actionlint_finds_nothing(repositories: Path) -> None:
    if NODE is None or not ACTIONLINT.is_dir():
        pytest.skip("actionlint is not installed: npm ci --prefix tests/distribution/actionlint")
    for file in (*WORKFLOWS, repositories / "github/.github/workflows/whisperctl.yml"):
        lint = [NODE, str(ACTIONLINT / "node-actionlint.js"), str(file)]
        done = subprocess.run(lint, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_zizmor_finds_nothing(repositories: Path) -> None:
    done = tool("zizmor", "--offline", "--quiet", "--no-progress", ".github", "action.yml", repositories / "github")
    assert done.returncode == 0, done.stdout + done.stderr


def test_hadolint_finds_nothing() -> None:
    done = tool("hadolint", "Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        (
            "vendor.github-workflows",
            [
                ".github/workflows/ci.yml",
                ".github/workflows/nightly.yml",
                ".github/workflows/release.yml",
                "github/.github/workflows/whisperctl.yml",
            ],
        ),
        ("vendor.github-actions", ["action.yml"]),
        ("vendor.dependabot", [".github/dependabot.yml"]),
        ("vendor.compose-spec", ["compose.yaml"]),
        ("vendor.gitlab-ci", ["gitlab/.gitlab-ci.yml"]),
    ],
)
def test_each_file_fits_the_schema_of_who_reads_it(schema: str, files: list[str], repositories: Path) -> None:
    paths = [path if (path := ROOT / name).exists() else repositories / name for name in files]
    done = tool("check-jsonschema", "--builtin-schema", schema, *paths)
    assert done.returncode == 0, done.stdout + done.stderr


def test_pre_commit_reads_the_hooks_and_they_fit_the_usual_names() -> None:
    done = tool("pre-commit", "validate-manifest", ".pre-commit-hooks.yaml")
    assert done.returncode == 0, done.stdout
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    names = ["stack.yaml", "speech/stack.yml", "stacks/common.yaml", "a/stacks/eu/prod.yaml", "stack-eu.yaml"]
    others = ["values.yaml", "mystack.yaml", "stacks/readme.md", ".github/workflows/whisperctl.yml"]
    assert [name for name in names + others if re.search(hook["files"], name)] == names


def test_the_hook_checks_changed_files_and_parts(tmp_path: Path) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    (tmp_path / "common.yaml").write_text("apiVersion: whisperctl/v1\nmodel: {name: openai/whisper-tiny, nmae: x}\n")
    command = [sys.executable, "-m", *hook["entry"].split(), "common.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "common.yaml:2:" in done.stdout + done.stderr
    assert "nmae" in done.stdout + done.stderr


def jobs(file: Path) -> dict[str, Any]:
    """The jobs of a GitLab file by name; of a component the part below its specification."""
    (*_, read) = yaml.safe_load_all(file.read_text())
    return {
        name.removeprefix("whisperctl-"): job for name, job in read.items() if isinstance(job, dict) and "script" in job
    }


def test_the_gitlab_component_has_the_jobs_of_the_pipeline(repositories: Path) -> None:
    component = ROOT / "templates" / "whisperctl" / "template.yml"
    specification, _ = yaml.safe_load_all(component.read_text())
    inputs = specification["spec"]["inputs"]
    ours, theirs = jobs(component), jobs(repositories / "gitlab/.gitlab-ci.yml")

    assert ours.keys() == theirs.keys() == {"plan", "apply", "drift"}
    for name, job in theirs.items():
        text = json.dumps({key: ours[name].get(key) for key in job if key not in ("stage", "needs", "environment")})
        expected = json.dumps({key: job[key] for key in job if key not in ("stage", "needs", "environment")})
        assert text == expected.replace("the top of .gitlab-ci.yml", "the documentation of this component")
    assert ours["apply"]["needs"] == ["whisperctl-plan"]
    assert inputs["package"]["default"] == f"whisperctl-ubiops=={__version__}"
    assert set(re.findall(r"\$\[\[ inputs\.([\w-]+) \]\]", component.read_text())) == inputs.keys()


def test_the_action_plans_comments_applies_and_refuses_what_is_stale(tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    subprocess.run([sys.executable, "-m", "whisperctl", "init", str(folder)], check=True, capture_output=True)
    record = tmp_path / "kept.json"
    record.write_text('{"comments": [], "issues": []}')
    with testing.running("--runtime", "none", "--speed", "1000", data=tmp_path / "ubiops") as ubiops:
        kind = {name: value for name, value in os.environ.items() if not name.startswith("UBIOPS_")}
        runner = GitHub(
            folder, kind | {"PATH": path_with(programs(tmp_path / "programs"))}, {}, {}, {}, record, tmp_path / "kept"
        )
        target = {"token": ubiops.token, "project": ubiops.project, "host": ubiops.host}
        action = ROOT / "action.yml"

        steps, outputs = runner.action(action, "pull_request", command="plan", **target)
        assert [step.outcome for step in steps] == ["success"] * 4, steps
        assert outputs == {"pending": "true", "markdown": "whisperctl.md"}
        assert "to create" in comments(record)[0]["body"]

        steps, outputs = runner.action(action, "push", command="apply", **target)
        assert (outputs["pending"], steps[-1].outcome) == ("false", "skipped")
        assert "Applied repo: " in (tmp_path / "summary.md").read_text()

        steps, outputs = runner.action(action, "push", command="apply", **target)
        assert steps[-2].outcome == "failure"
        assert runner.action(action, "push", command="drift", **target)[1]["pending"] == "false"
        assert ubiops.token not in str(steps) + (tmp_path / "summary.md").read_text()

    steps, _ = runner.action(action, "push", command="validate")
    assert steps[-2].outcome == "success"
    steps, _ = runner.action(action, "push", command="destroy")
    assert "command is validate, plan, apply or drift, not 'destroy'" in steps[-2].output
    assert yaml.safe_load(action.read_text())["inputs"]["package"]["default"] == f"whisperctl-ubiops=={__version__}"


def steps_of_the_image() -> list[str]:
    """The commands of the Dockerfile's build stage."""
    text = (ROOT / "Dockerfile").read_text().partition("FROM python:3.13-slim\n")[0]
    return [command.replace("\\\n", " ") for command in re.findall(r"^RUN ((?:.*\\\n)*.*)", text, re.MULTILINE)]


def copied(into: Path) -> None:
    """What `COPY . .` copies under .dockerignore, which names what is let through."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    for name in (line[1:].rstrip("/") for line in lines if line.startswith("!")):
        target = into / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target)


def test_the_image_is_built_and_works_as_command_and_as_emulator(tmp_path: Path) -> None:
    """Its build stage, with a folder for `/opt` and a virtual environment for the image's own Python."""
    source, opt = tmp_path / "src", tmp_path / "opt"
    copied(source)
    (tmp_path / "tmp").mkdir()
    subprocess.run([*UV, "venv", "--quiet", "--seed", "--python", sys.executable, str(tmp_path / "image")], check=True)
    image = Environment(tmp_path / "image")
    for command in steps_of_the_image():
        here = re.sub(r"/(opt|tmp)/", lambda match: f"{tmp_path}/{match[1]}/", command)
        done = image.run("sh", "-e", "-c", here, cwd=source)
        if done.returncode and re.search(r"error sending request|NewConnectionError", done.stderr):
            pytest.skip("no package index can be reached")
        assert done.returncode == 0, done.stderr

    inside = Environment(opt / "whisperctl")
    assert inside.good("whisperctl", "--version") == f"whisperctl {__version__}\n"
    assert sorted(path.name for path in (opt / "dist").glob("*.whl")) == [
        f"whisperctl_ubiops-{__version__}-py3-none-any.whl"
    ]
    started = "from ubiops_emulator import testing\nwith testing.running('--runtime', 'none') as it: print(it.project)"
    assert inside.good("python", "-c", started, cwd=tmp_path) == "demo\n"


def test_the_release_names_its_version_and_lists_what_it_is_made_of(tmp_path: Path) -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
    steps = {step.get("name", step.get("uses")): step for step in workflow["jobs"]["build"]["steps"]}
    environment = Environment(Path(sys.prefix))
    named = steps["The tag names the version"]["run"]
    assert environment.run("bash", "-e", "-c", named, cwd=ROOT, TAG=f"v{__version__}").returncode == 0
    assert environment.run("bash", "-e", "-c", named, cwd=ROOT, TAG="v0.0.1").returncode != 0

    listing = steps["List what it is made of"]["run"].replace("sbom.cdx.json", str(tmp_path / "sbom.json"))
    environment.good("bash", "-e", "-c", listing, cwd=ROOT)
    bill = json.loads((tmp_path / "sbom.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    parts = {part["name"]: part for part in bill["components"]}
    assert {"ubiops", "openai", "starlette", "av"} <= parts.keys()
    assert not {"pytest", "torch", "vllm"} & parts.keys()
    assert all(part["purl"].startswith("pkg:pypi/") for part in parts.values() if part["name"] != "whisperctl-ubiops")

    publish = workflow["jobs"]["publish"]
    assert (publish["environment"], publish["permissions"]) == ("pypi", {"id-token": "write"})
    assert [step.get("with", {}).get("subject-path") for name, step in steps.items() if name.startswith("Attest")] == [
        "dist/*"
    ] * 2
