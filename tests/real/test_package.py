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

from tests.harness import loopback
from tests.harness.sweeps import whole
from tests.real.conftest import SAMPLES, SPOKEN, surroundings, whisperctl
from tests.real.family import END_TIMEOUT, descendants, remaining
from tests.transcribe import corpus
from tests.transcribe.bench import Notes
from tests.transcribe.corpus import Kind
from whisperctl.clock import SystemClock
from whisperctl.endpoint.client import Endpoint
from whisperctl.endpoint.readiness import EndpointWaker
from whisperctl.endpoint.transcription import Ask
from whisperctl.endpoint.wer import word_error_rate
from whisperctl.transcribe.batch import Batch
from whisperctl.transcribe.options import TranscriptOptions
from whisperctl.transcribe.recordings import find
from whisperctl.transcribe.results import Done
from whisperctl.transcribe.retries import RetryingEndpoint
from whisperctl.transcribe.servers import Server

INSTANCE = Path(__file__).with_name("instance.py")
REAL_KINDS = {
    *("wav 24 bit", "wav opposite phase", "wav with an offset", "wav left only", "mp3", "m4a", "flac", "opus"),
    *("webm of a browser", "mp4 video", "mp4 with late sound", "mkv with late sound"),
}
"""Of the corpus that a stand-in hears all of, those that the real server is asked about, too."""


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


def assert_transcribed(url: str, kind: Kind, folder: Path) -> None:
    """Each word of real speech, at its time, in a file of this kind."""
    path = folder / f"recording.{kind.suffix}"
    kind.make(SAMPLES / "hello-world.wav", path)
    notes, clock = Notes(), SystemClock()
    with Endpoint(url, None, 120) as endpoint:
        server = Server(
            RetryingEndpoint(endpoint, clock, EndpointWaker(endpoint, None, clock, 60, notes.say)), "whisper-nano"
        )
        options = TranscriptOptions(ask=Ask(model="whisper-nano", timed=True, language="en"))
        (done,) = Batch(options, [server], 1, clock, notes, spool=folder).run(find([str(path)], folder))
    assert isinstance(done, Done), (kind.name, done)
    assert word_error_rate(SPOKEN["hello-world.wav"]["text"], done.transcript.text) == 0, (kind.name, done)
    (first, *_) = done.transcript.segments or ()
    assert first.start == pytest.approx(kind.shifts[0], abs=0.3), (kind.name, done)


@pytest.mark.exhaustive
@whole
def test_a_package_serves_until_it_is_told_to_end(instance: subprocess.Popen[str], port: int, tmp_path: Path) -> None:
    wait_for_line(instance, "ready")
    with loopback.client(base_url=f"http://127.0.0.1:{port}", timeout=120) as server:
        assert [model["id"] for model in server.get("/v1/models").json()["data"]] == ["whisper-nano"]
        transcripts = {name: transcript(server, name) for name in SPOKEN}
    errors = {name: word_error_rate(said["text"], transcripts[name]) for name, said in SPOKEN.items()}
    assert errors.pop("forty-seconds.wav") < 0.03  # the sentence that vLLM cuts at 30 s may lose a word
    assert set(errors.values()) == {0.0}, transcripts

    for kind in corpus.KINDS:
        if kind.name in REAL_KINDS and not corpus.MISSING:
            assert_transcribed(f"http://127.0.0.1:{port}", kind, tmp_path)

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
