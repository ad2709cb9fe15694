"""A stack applied on the real emulator, twice (so that there is something to go back to), put back before each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.harness import loopback
from tests.harness.operator import Operator
from ubiops_emulator import testing
from ubiops_emulator.testing import Emulator
from whisperctl.control.api import Api

STACK = """\
apiVersion: whisperctl/v1
stack: speech
model: {{name: openai/whisper-small, revision: 973afd24965f72e36ca33b3055d56a652f456b4d}}
vllm: {{version: 0.32.0, max_model_len: {length}}}
environment: {{requirements: [{requirement}]}}
deployment:
  name: speech
  labels: {{team: audio}}
instance_type_group: {{name: 12288 MB + NVIDIA Tesla T4, gpu: T4}}
version:
  name: v1
  minimum_instances: 1
  maximum_instances: 2
  labels: {{openai-compatible: "true", openai-model-names: openai/whisper-small}}
env:
  WHISPER_TASK: transcription
  HF_TOKEN: {{value: hunter2-hf-secret, secret: true}}
service: {{name: speech-door, port: 8080}}
rollout: {{timeout: 60}}
"""
FIRST = STACK.format(length=400, requirement="httpx")
SECOND = STACK.format(length=448, requirement="anyio")


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with testing.running("--speed", "1000", "--runtime", "none", data=tmp_path_factory.mktemp("operate")) as started:
        yield started


@pytest.fixture(scope="session")
def control(emulator: Emulator) -> Iterator[httpx.Client]:
    """The emulator's own calls: journal, faults, snapshots."""
    headers = {"Authorization": f"Token {emulator.token}"}
    with loopback.client(base_url=f"{emulator.root}/_emulator", headers=headers, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def applied(emulator: Emulator, control: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Snapshots: `empty`, and `twice` with FIRST and then SECOND applied."""
    control.post("/snapshot", json={"name": "empty"}).raise_for_status()
    operator = Operator(tmp_path_factory.mktemp("setup"), emulator)
    for text in (FIRST, SECOND):
        operator.write(text)
        operator.good("apply", "--yes")
    control.post("/snapshot", json={"name": "twice"}).raise_for_status()


def restored(control: httpx.Client, name: str) -> None:
    """Put a snapshot back, without faults and journal."""
    control.delete("/faults").raise_for_status()
    control.post("/restore", json={"name": name}).raise_for_status()
    control.delete("/journal").raise_for_status()


@pytest.fixture
def operator(emulator: Emulator, control: httpx.Client, applied: None, tmp_path: Path) -> Operator:
    """In a folder with SECOND, as it was applied."""
    restored(control, "twice")
    made = Operator(tmp_path, emulator)
    made.write(SECOND)
    return made


@pytest.fixture
def newcomer(emulator: Emulator, control: httpx.Client, applied: None, tmp_path: Path) -> Operator:
    """In an empty folder, with an empty project."""
    restored(control, "empty")
    return Operator(tmp_path, emulator)


@pytest.fixture
def api(emulator: Emulator) -> Iterator[Api]:
    made = Api(emulator.host, "demo", emulator.token)
    yield made
    made.rest.session.close()


def writes(control: httpx.Client) -> list[str]:
    """What changed something since the journal was cleared: `PATCH /projects/…`."""
    entries = control.get("/journal").json()
    asked = [f"{entry['method']} {entry['path']}" for entry in entries if entry["method"] not in ("GET", "HEAD")]
    return [entry for entry in asked if "/_emulator/" not in entry]
