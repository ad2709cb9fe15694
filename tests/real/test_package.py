"""A rendered package in the hands of a platform: `Deployment` starts a real vLLM, which ends with it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.harness.sweeps import whole
from tests.real.conftest import SAMPLES, SPOKEN, surroundings, whisperctl
from tests.real.family import END_TIMEOUT, descendants, remaining
from whisperctl.endpoint.wer import word_error_rate

INSTANCE = Path(__file__).with_name("instance.py")


@pytest.fixture
def package(spec: Path, tmp_path: Path) -> Path:
    rendered = whisperctl("render", spec, "-o", tmp_path, environment=surroundings())
    assert rendered.returncode == 0, rendered.stderr
    return tmp_path / "deployment_package"


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


@pytest.fixture
def instance(package: Path, port: int, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {**surroundings(), "WHISPERCTL_PORT": str(port), "WHISPERCTL_HOST": "127.0.0.1"}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, INSTANCE, package],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    with process:
        yield process
        process.terminate()
        process.wait(END_TIMEOUT)


@pytest.mark.exhaustive
@whole
def test_a_package_serves_until_it_is_told_to_end(instance: subprocess.Popen[str], port: int) -> None:
    wait_for_line(instance, "ready")
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as server:
        assert [model["id"] for model in server.get("/v1/models").json()["data"]] == ["whisper-nano"]
        heard = {name: transcript(server, name) for name in SPOKEN}
    errors = {name: word_error_rate(said["text"], heard[name]) for name, said in SPOKEN.items()}
    assert errors.pop("forty-seconds.wav") < 0.03  # the sentence that vLLM cuts at 30 s may lose a word
    assert set(errors.values()) == {0.0}, heard

    assert instance.stdin is not None
    instance.stdin.write("\n")
    instance.stdin.flush()
    health = json.loads(wait_for_line(instance, "{"))
    assert health == {"status": "healthy", "model": "whisper-nano", "task": "transcription", "version": "0.32.0"}

    family = descendants(instance.pid)
    assert len(family) >= 2, "a server has at least its front end and its engine"
    instance.terminate()
    instance.wait(END_TIMEOUT)
    assert remaining(family) == []


@pytest.mark.exhaustive
@whole
def test_nothing_outlives_an_instance_that_is_killed(instance: subprocess.Popen[str]) -> None:
    wait_for_line(instance, "ready")
    family = descendants(instance.pid)
    assert len(family) >= 4, "two supervisors, the front end and its engine"
    instance.kill()
    instance.wait(END_TIMEOUT)
    assert remaining(family) == []


def transcript(server: httpx.Client, name: str) -> str:
    fields = {"model": "whisper-nano", "language": SPOKEN[name]["language"]}
    answer = server.post("/v1/audio/transcriptions", data=fields, files={"file": (name, (SAMPLES / name).read_bytes())})
    assert answer.status_code == 200, answer.text
    text: str = answer.json()["text"]
    return text.strip()


def wait_for_line(process: subprocess.Popen[str], beginning: str) -> str:
    """The next line that begins like this, among the server's own output."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(beginning):
            return line
    raise AssertionError(f"it ended with {process.wait()} before a line that begins with {beginning!r}")
