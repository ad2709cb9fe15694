"""The commands as a user runs them: own processes, a UbiOps (the emulator) in front of the test server's instance."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.endpoint import stacks, tones
from tests.endpoint.project import Project, deployed, package, until
from tests.harness import program
from ubiops_emulator import testing
from whisperctl.endpoint.client import Endpoint


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with deployed(tmp_path_factory.mktemp("emulator")) as fresh:
        yield fresh


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tones.write(tmp_path / "hello.wav", [["ba", "ke"], ["mo"]])
    smoke = "audio: hello.wav, expect: ba ke mo, max_wer: 0, language: es"
    stacks.write(tmp_path, smoke=smoke)
    return tmp_path


def test_a_sleeping_deployment_is_woken(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> None:
    emulator = testing.start("--speed", "1000", data=tmp_path_factory.mktemp("asleep"))
    try:
        asleep = Project(emulator, package())
        asleep.deploy()
        ran = asleep.run(folder, "transcribe", "hello.wav")
        assert (ran.returncode, ran.stdout) == (0, "ba ke mo\n"), ran.stderr
        assert "No instance answers: waking one with a deployment request." in ran.stderr
        assert re.search(r"An instance answers after \d+ s\.", ran.stderr)
    finally:
        emulator.stop()


def test_transcribe_one_file_prints_just_the_text(project: Project, folder: Path) -> None:
    ran = project.run(folder, "transcribe", "hello.wav")
    assert (ran.returncode, ran.stdout) == (0, "ba ke mo\n"), ran.stderr
    assert re.search(r"^hello.wav: 2\.\d s of audio in \d+\.\d s \(.*x\)$", ran.stderr, re.MULTILINE)


def test_on_a_terminal_the_bar_leaves_the_transcript_alone(project: Project, folder: Path) -> None:
    ours, theirs = pty.openpty()
    environment = {**project.environment(), "PYTHONPATH": str(Path.cwd()), "TERM": "xterm", "COLUMNS": "100"}
    command = [sys.executable, "-m", "whisperctl", "transcribe", "hello.wav"]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal says that its last user is gone
            while data := os.read(ours, 65536):
                shown += data
    os.close(ours)
    assert process.returncode == 0
    assert "0.04/0.04 min" in shown.decode()
    assert "× real time" in shown.decode()
    assert shown.decode().rpartition("\x1b[2K")[2].splitlines() == ["ba ke mo"]


def test_transcribe_stdin_to_subtitles(project: Project, folder: Path) -> None:
    with (folder / "hello.wav").open("rb") as spoken:
        command = ["transcribe", "-", "--format", "srt"]
        process = program.start(*command, environ=project.environment(), folder=folder, stdin=spoken.fileno())
        out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    assert out.startswith("1\n00:00:00,000 --> 00:00:00,6")
    assert "\nba ke\n\n2\n" in out


def test_a_language_in_capitals_is_sent_as_the_server_knows_it(project: Project, folder: Path) -> None:
    ran = project.run(folder, "transcribe", "--language", "ES", "--format", "verbose_json", "hello.wav")
    assert json.loads(ran.stdout)["language"] == "es", ran.stderr


def test_transcribe_several(project: Project, folder: Path) -> None:
    tones.write(folder / "other.wav", [["nu"]])
    ran = project.run(folder, "transcribe", "hello.wav", "other.wav", "gone.wav")
    assert ran.returncode == 1
    assert ran.stdout == "==> hello.wav <==\nba ke mo\n\n==> other.wav <==\nnu\n\n"
    assert ran.stderr.endswith("1 of 3 failed:\n  gone.wav: no such file\n")
    listed = json.loads(project.run(folder, "transcribe", "*.wav", "--format", "json").stdout)
    assert [(one["file"], one["text"]) for one in listed] == [("hello.wav", "ba ke mo"), ("other.wav", "nu")]


def test_transcribe_to_a_folder_and_again(project: Project, folder: Path) -> None:
    first = project.run(folder, "transcribe", ".", "-o", "out", "--format", "vtt")
    assert (first.returncode, first.stdout) == (0, ""), first.stderr
    assert (folder / "out" / "hello.vtt").read_text().startswith("WEBVTT\n\n00:00:00.000 --> ")
    second = project.run(folder, "transcribe", ".", "-o", "out", "--format", "vtt")
    assert "hello.wav: skipped, out/hello.vtt is there, made from it in the same way" in second.stderr


def test_interrupted_at_once(project: Project, folder: Path) -> None:
    url = project.api.service("tones-service")["endpoint"]
    with Endpoint(url, project.emulator.token, 10) as endpoint:
        endpoint.get("/hold")
        process = subprocess.Popen(
            [sys.executable, "-m", "whisperctl", "transcribe", "hello.wav", "-o", "out"],
            cwd=folder,
            env={**project.environment(), "PYTHONPATH": str(Path.cwd())},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            until(lambda: endpoint.get("/held").text != "0")
            process.send_signal(2)
            out, err = process.communicate(timeout=5)
        finally:
            endpoint.get("/release")
            process.kill()
    assert (process.returncode, out) == (130, "")
    assert err.strip() == "interrupted"
    assert not list((folder / "out").iterdir())


def test_translate(project: Project, folder: Path) -> None:
    assert project.run(folder, "transcribe", "hello.wav", "--translate").stdout == "BA KE MO\n"
    stacks.write(folder, model="openai/whisper-large-v3-turbo")
    ran = project.run(folder, "transcribe", "hello.wav", "--translate")
    assert ran.returncode == 1
    assert "error: openai/whisper-large-v3-turbo does not translate: it was not trained for it." in ran.stderr


def test_wrong_usage(project: Project, folder: Path) -> None:
    assert project.run(folder, "transcribe").returncode == 64
    assert project.run(folder, "transcribe", "a.wav", "--format", "docx").returncode == 64
    assert project.run(folder, "smoke", "--audio", "gone.wav").returncode == 64
    stacks.write(folder)
    assert project.run(folder, "smoke", "--expect", "x").returncode == 64


def test_smoke(project: Project, folder: Path) -> None:
    ran = project.run(folder, "smoke", "--format", "json")
    document = json.loads(ran.stdout)
    assert ran.returncode == 0, ran.stdout
    assert {one["verdict"] for one in document["checks"]} <= {"ok", "skipped"}
    request = document["checks"][-1]
    assert (request["name"], request["verdict"]) == ("deployment request", "ok")
    lines = project.run(folder, "smoke").stdout.splitlines()
    assert lines[0].startswith("health")
    assert lines[-1].startswith("11 checks: ")


def test_smoke_that_fails(project: Project, folder: Path) -> None:
    ran = project.run(folder, "smoke", "--audio", "hello.wav", "--expect", "something else", "--max-wer", "0.1")
    assert ran.returncode == 1
    assert "word error rate" in ran.stdout


def test_curl(project: Project, folder: Path) -> None:
    printed = project.run(folder, "curl")
    assert printed.returncode == 0, printed.stderr
    assert "$UBIOPS_API_TOKEN" in printed.stdout
    shell, _, program = printed.stdout.partition("# Python")
    ran = subprocess.run(
        ["sh", "-ec", shell],
        cwd=folder,
        env=project.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(ran.stdout)["text"].strip() == "ba ke mo"
    ran = subprocess.run(
        [sys.executable, "-c", "#" + program],
        cwd=folder,
        env=project.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ran.stdout.strip() == "ba ke mo"


def test_proxy(project: Project, folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "whisperctl", "proxy", "--port", "0"],
        cwd=folder,
        env={**project.environment(), "PYTHONPATH": str(Path.cwd())},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)
        with Endpoint(url.removesuffix("/"), None, 10) as through:
            assert "vLLM docs" in through.get("/docs").text
    finally:
        process.send_signal(2)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Relaying to " in err
    assert project.emulator.token not in out + err


def test_nothing_applied(project: Project, folder: Path) -> None:
    text = (folder / "stack.yaml").read_text()
    (folder / "stack.yaml").write_text(text.replace("tones-service", "absent"))
    ran = project.run(folder, "transcribe", "hello.wav")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert (
        "The service absent of project demo does not exist.\n  Run `whisperctl apply stack.yaml` first." in ran.stderr
    )
