"""A rendered package in the hands of a platform: `Deployment` starts a real vLLM, which ends with it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.real.conftest import SAMPLES, SPOKEN, surroundings, whisperctl
from whisperctl.endpoint.wer import word_error_rate

INSTANCE = Path(__file__).with_name("instance.py")
END_TIMEOUT = 60.0


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
@pytest.mark.skipif(
    os.environ.get("WHISPERCTL_EXHAUSTIVE") != "1", reason="a second start of vLLM: make test-exhaustive"
)
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


def descendants(ancestor: int) -> set[int]:
    """Every process that this one started, directly or not."""
    parents = {pid: parent for pid, (_, parent) in processes().items()}
    found = {ancestor}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {ancestor}


def remaining(family: set[int]) -> list[int]:
    """Those that still run, or ended unmourned by a parent of this test's, after a moment to go."""
    deadline = time.monotonic() + END_TIMEOUT
    while left := [pid for pid in family if pid in processes() and processes()[pid] != ("Z", 1)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return left


def processes() -> dict[int, tuple[str, int]]:
    """State and parent of every process on this machine."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = re.fullmatch(r"(\d+) \(.*\) (\S) (\d+) .*", stat.read_text(), re.DOTALL)
        except (FileNotFoundError, ProcessLookupError):
            continue
        assert fields is not None
        found[int(fields[1])] = (fields[2], int(fields[3]))
    return found
