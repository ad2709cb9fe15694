"""init: files that are right as they are, nothing overwritten, nothing half-written, pipelines that run."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness.operator import Operator
from whisperctl.scaffold import stack_name, vllm_version
from whisperctl.serving import catalog

GPUS = ("T4", "L4", "A10", "A100", "H100", "H200", "CPU")
MODELS = ("openai/whisper-tiny.en", "openai/whisper-large-v3-turbo", "distil-whisper/distil-large-v3", "me/fine-tuned")


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_defaults_are_a_valid_stack_named_after_the_folder(newcomer: Operator) -> None:
    ran = newcomer.good("init", "Call Center_2")
    assert ran.out == "Call Center_2/stack.yaml\nCall Center_2/.gitignore\n"
    text = (newcomer.folder / "Call Center_2/stack.yaml").read_text()
    stack = yaml.safe_load(text)
    assert stack["stack"] == stack["deployment"]["name"] == "call-center-2"
    assert stack["model"]["revision"] == "973afd24965f72e36ca33b3055d56a652f456b4d"
    assert stack["instance_type_group"] == {"name": "12288 MB + NVIDIA Tesla T4", "gpu": "T4"}
    assert text.count("#") > 20
    assert "@" not in text
    assert "://" not in text  # no schema of ours is published anywhere; the file says how to get it
    assert newcomer.good("validate", "Call Center_2").out.count("is valid") == 1


def test_it_can_be_applied_as_it_is(newcomer: Operator) -> None:
    newcomer.good("init", ".")
    newcomer.good("apply", "--yes")
    assert newcomer.run("plan", "--detailed-exitcode").code == 0


def test_the_same_arguments_give_the_same_files(newcomer: Operator) -> None:
    for folder in ("a/speech", "b/speech"):
        newcomer.good("init", folder, "--ci", "github", "--gpu", "l4")
    for name in files(newcomer.folder / "a/speech"):
        assert (newcomer.folder / "a/speech" / name).read_bytes() == (newcomer.folder / "b/speech" / name).read_bytes()
    mode = stat.S_IMODE((newcomer.folder / "a/speech/stack.yaml").stat().st_mode)
    assert mode == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("gpu", GPUS)
def test_every_gpu_gets_a_valid_stack(newcomer: Operator, gpu: str) -> None:
    for number, model in enumerate(MODELS):
        ran = newcomer.good("init", f"s{number}", "--gpu", gpu, "--model", model)
        assert " error: " not in ran.err
        stack = yaml.safe_load((newcomer.folder / f"s{number}/stack.yaml").read_text())
        assert stack["version"]["labels"]["openai-model-names"] == stack["model"]["name"] == model
        assert stack["instance_type_group"]["gpu"] == gpu


def test_the_release_is_the_newest_that_is_right() -> None:
    assert vllm_version("T4") == "0.19.1"
    newest = max((row.version for row in catalog.releases()), key=catalog.numbers)
    assert vllm_version("H200") == newest
    on_cpu = catalog.release(vllm_version("CPU"))
    assert on_cpu is not None
    assert on_cpu.vllm_cpu


def test_a_pipeline_below_the_repository_is_told_of(newcomer: Operator) -> None:
    (newcomer.folder / ".git").mkdir()
    assert "a pipeline counts at the repository's top only" in newcomer.good("init", "below", "--ci", "github").err
    assert "note:" not in newcomer.good("init", ".", "--ci", "github").err


def test_a_folder_of_any_name_is_quoted(newcomer: Operator) -> None:
    nano = Path(__file__).resolve().parents[2] / "specs/whisper-nano"
    name = './model #1: "nano"'
    (newcomer.folder / "odd").mkdir()
    (newcomer.folder / "odd" / name).symlink_to(nano)
    newcomer.good("init", "odd", "--gpu", "CPU", "--model", name)
    stack = yaml.safe_load((newcomer.folder / "odd/stack.yaml").read_text())
    assert stack["model"]["name"] == name
    assert "there is no such folder" in newcomer.run("init", "windows", "--model", "C:\\models\\1").err


@pytest.mark.parametrize(
    ("folder", "name"),
    [("Speech", "speech"), ("42", "whisper-42"), ("...", "whisper"), ("ÄÖ", "whisper"), ("x" * 80, "x" * 40)],
)
def test_names_come_from_the_folder(tmp_path: Path, folder: str, name: str) -> None:
    assert stack_name(tmp_path / folder) == name


def test_a_model_folder_is_packed_along(newcomer: Operator) -> None:
    nano = Path(__file__).resolve().parents[2] / "specs/whisper-nano"
    newcomer.good("init", "here", "--gpu", "cpu", "--model", str(nano))
    stack = yaml.safe_load((newcomer.folder / "here/stack.yaml").read_text())
    assert "revision" not in stack["model"]
    assert stack["version"]["labels"]["openai-model-names"] == "whisper-nano"


@pytest.mark.parametrize("taken", ["stack.yaml", ".github/workflows/whisperctl.yml"])
def test_nothing_is_overwritten_and_nothing_half_written(newcomer: Operator, taken: str) -> None:
    path = newcomer.folder / "repo" / taken
    path.parent.mkdir(parents=True)
    path.write_text("mine\n")
    ran = newcomer.run("init", "repo", "--ci", "github")
    assert ran.code == 1
    assert f"repo/{taken} exists already.\n  Nothing was written." in ran.err
    assert ("A pipeline alone can be taken from a new folder." in ran.err) == (taken == "stack.yaml")
    assert files(newcomer.folder) == [f"repo/{taken}"]
    assert path.read_text() == "mine\n"


def test_the_gitignore_of_a_repository_is_kept(newcomer: Operator) -> None:
    newcomer.write("mine\n", ".gitignore")
    ran = newcomer.good("init", "--ci", "gitlab")
    assert ran.out == "stack.yaml\n.gitlab-ci.yml\n"
    assert "note: .gitignore was there and is left alone: let it hold *.plan and .env.\n" in ran.err
    assert (newcomer.folder / ".gitignore").read_text() == "mine\n"


def test_a_stack_that_would_not_be_valid_leaves_no_trace(newcomer: Operator) -> None:
    ran = newcomer.run("init", "new/repo", "--model", "./not-there", "--ci", "gitlab")
    assert ran.code == 1
    assert "new/repo/stack.yaml:10:9: error: model.name" in ran.err
    assert ".yaml." not in ran.err
    assert list(newcomer.folder.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told(newcomer: Operator) -> None:
    newcomer.write("a file", "repo")
    ran = newcomer.run("init", "repo/below")
    assert ran.code == 1
    assert "repo/below cannot be written to: Not a directory." in ran.err


class Notes(ThreadingHTTPServer):
    """GitLab's notes of one merge request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Notes)
        self.notes: list[dict[str, Any]] = [{"id": 1, "body": "looks good"}]
        self.tokens: set[str] = set()


class _Notes(BaseHTTPRequestHandler):
    server: Notes

    def _answer(self) -> None:
        self.server.tokens.add(str(self.headers["PRIVATE-TOKEN"]))
        length = int(self.headers.get("Content-Length") or 0)
        text = json.loads(self.rfile.read(length))["body"] if length else ""
        path = self.path.partition("?")[0]
        assert path.startswith("/api/v4/projects/7/merge_requests/3/notes")
        if self.command == "POST":
            self.server.notes.append({"id": len(self.server.notes) + 1, "body": text})
        if self.command == "PUT":
            self.server.notes[int(path.rpartition("/")[2]) - 1]["body"] = text
        body = json.dumps(self.server.notes).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = _answer  # noqa: N815 - the standard library's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Silence."""


@pytest.fixture
def notes() -> Iterator[Notes]:
    with Notes() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def shell(operator: Operator, lines: list[str], **env: str) -> subprocess.CompletedProcess[str]:
    """Lines of a pipeline as its runner types them, with `whisperctl` and `python` on PATH."""
    programs = operator.folder / ".programs"
    programs.mkdir(exist_ok=True)
    for name, command in (("whisperctl", f"{sys.executable} -m whisperctl"), ("python", sys.executable)):
        (programs / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (programs / name).chmod(0o755)
    return subprocess.run(
        ["bash", "-e", "-c", "\n".join(lines)],
        cwd=operator.folder / "repo",
        env=operator.env(**env) | {"PATH": f"{programs}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_gitlab_pipeline_comments_once_and_applies_what_it_planned(newcomer: Operator, notes: Notes) -> None:
    newcomer.good("init", "repo", "--ci", "gitlab")
    pipeline = yaml.safe_load((newcomer.folder / "repo/.gitlab-ci.yml").read_text())
    env = {
        **pipeline["variables"],
        "CI_API_V4_URL": f"http://127.0.0.1:{notes.server_port}/api/v4",
        "CI_PROJECT_ID": "7",
        "CI_MERGE_REQUEST_IID": "3",
    }
    silent = shell(newcomer, pipeline["plan"]["script"], **env)
    assert silent.returncode == 0, silent
    assert "no comment on the merge request" in silent.stdout
    for _ in range(2):
        done = shell(newcomer, pipeline["plan"]["script"], **env, GITLAB_COMMENT_TOKEN="glpat-secret")
        assert done.returncode == 0, done
        assert "glpat-secret" not in done.stdout + done.stderr
    assert [note["id"] for note in notes.notes] == [1, 2]
    assert notes.notes[1]["body"].startswith("<!-- whisperctl plan -->\n### ")
    assert "to create" in notes.notes[1]["body"]
    assert notes.tokens == {"glpat-secret"}
    done = shell(newcomer, pipeline["apply"]["script"], **env)
    assert done.returncode == 0, done
    assert newcomer.run("plan", "repo", "--detailed-exitcode").code == 0


def test_the_github_pipeline_plans_and_applies(newcomer: Operator) -> None:
    newcomer.good("init", "repo", "--ci", "github")
    pipeline = yaml.safe_load((newcomer.folder / "repo/.github/workflows/whisperctl.yml").read_text())
    jobs, env = pipeline["jobs"], {"STACKS": pipeline["env"]["STACKS"], "GITHUB_STEP_SUMMARY": "summary.md"}
    assert jobs["plan"]["if"] == "github.event_name == 'pull_request'"
    assert jobs["apply"]["if"] == "github.event_name == 'push'"
    for job in ("plan", "apply"):
        for step in jobs[job]["steps"]:
            if "run" in step and not step["run"].startswith("pip install"):  # which tests/docs/test_readme.py runs
                done = shell(newcomer, [step["run"]], **env)
                assert done.returncode == 0, done
    assert (newcomer.folder / "repo/summary.md").read_text().startswith("### ")
    assert newcomer.run("plan", "repo", "--detailed-exitcode").code == 0


def test_a_token_never_stands_in_a_file(newcomer: Operator) -> None:
    newcomer.good("init", "repo", "--ci", "github")
    for name in files(newcomer.folder):
        assert newcomer.emulator.token not in (newcomer.folder / name).read_text()
