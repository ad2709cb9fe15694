"""What a rollout promises, on real servers: who asks ten times a second all through it notices nothing.

A good one (another flag) and a bad one (spoilt weights that fail the gate), one after the other on one stack.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.harness.sweeps import whole
from tests.harness.traffic import Answers, asking
from tests.real.conftest import SAMPLES, SPOKEN, surroundings
from ubiops_emulator import testing
from ubiops_emulator.testing import Emulator

RECORDING = SAMPLES / "hello-world.wav"
WORDS = SPOKEN[RECORDING.name]["text"]
BAKE_SECONDS = 5
APPLY_SECONDS = 1800.0
"""A start takes a minute on two cores of one's own, and ten where others want them, too."""


class Line:
    """The demo's stack as a line of versions, in a folder of its own with its model beside it."""

    def __init__(self, spec: Path, folder: Path, emulator: Emulator) -> None:
        """Copy the demo's model, and begin with its stack file."""
        self.file, self.folder, self.emulator = folder / "stack.yaml", folder, emulator
        self.environment: Mapping[str, str] = {**surroundings(), **emulator.environ}
        self.document: dict[str, Any] = yaml.safe_load(spec.read_text())
        self.model = spec.parent / self.document["model"]["name"]
        shutil.copytree(self.model, folder / "model")
        self.document["model"]["name"] = "./model"
        self.document["rollout"] |= {
            "strategy": "blue_green",
            "bake": BAKE_SECONDS,
            # Two servers and a client share this machine's cores with other tests: only words are judged.
            "gate": {"max_wer_increase": 0.0, "max_latency_ratio": 100},
        }
        self.document["rollout"]["smoke"] |= {"audio": str(RECORDING)}
        self.write()

    def write(self) -> None:
        self.file.write_text(yaml.safe_dump(self.document))

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run one command; what it says is in files meanwhile, so that it can be read if it never ends."""
        out, err = self.folder / "stdout.txt", self.folder / "stderr.txt"
        command = [sys.executable, "-m", "whisperctl", *arguments, str(self.file)]
        with out.open("w") as stdout, err.open("w") as stderr:
            code = subprocess.run(
                command, env=self.environment, stdout=stdout, stderr=stderr, timeout=APPLY_SECONDS, check=False
            ).returncode
        return code, out.read_text(), err.read_text()

    def url(self) -> str:
        """Where the stack's service answers."""
        listed = httpx.get(
            f"{self.emulator.host}/projects/{self.emulator.project}/services/{self.document['service']['name']}",
            headers={"Authorization": f"Token {self.emulator.token}"},
            trust_env=False,
        )
        return str(listed.raise_for_status().json()["endpoint"])

    def history(self) -> dict[str, str]:
        code, out, err = self.run("history", "--format", "json")
        assert code == 0, err
        return {row["version"]: row["state"] for row in json.loads(out)["versions"]}


@pytest.fixture(scope="module")
def line(spec: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A line whose first version serves."""
    folder = tmp_path_factory.mktemp("rollout")
    with testing.running("--speed", "1000", data=folder / "emulator") as emulator:
        (folder / "stack").mkdir()
        fresh = Line(spec, folder / "stack", emulator)
        code, _, err = fresh.run("apply", "--yes")
        assert code == 0, err
        yield fresh


def asked_during_apply(line: Line) -> tuple[int, str, Answers]:
    """Apply while a client asks: the exit code, what was said, and what the client heard."""
    model = line.document["model"]["served_name"]
    with asking(line.url(), line.emulator.token, model, RECORDING, WORDS) as answers:
        code, out, err = line.run("apply", "--yes")
    sys.stderr.write(f"{answers}\n")
    return code, out + err, answers


@whole  # three starts of vLLM, and minutes of requests on two cores
def test_nobody_notices_a_rollout_nor_one_that_fails(line: Line) -> None:
    [first] = line.history()
    line.document["vllm"]["max_num_seqs"] = 32
    line.write()
    code, said, answers = asked_during_apply(line)
    assert code == 0, said
    assert (answers.errors, answers.wrong) == ([], []), said
    states = line.history()
    [second] = states.keys() - {first}
    assert states == {first: "sleeps", second: "serves"}

    spoil(line.folder / "model" / "model.safetensors")
    code, said, answers = asked_during_apply(line)
    assert code == 1, said
    assert "did not pass its gate" in said
    assert (answers.errors, answers.wrong) == ([], []), said
    states = line.history()
    [third] = states.keys() - {first, second}
    assert states == {first: "sleeps", second: "serves", third: "failed"}
    for command in ("plan", "status"):
        _, out, err = line.run(command)
        assert f"the last rollout to {third} failed at its gate" in out + err, out + err


def spoil(weights: Path) -> None:
    """Mix what the encoder hears: every time step of it is heard at another place."""
    from safetensors.numpy import load_file, save_file  # comes with vLLM

    tensors = load_file(weights)
    name = "model.encoder.conv1.weight"
    tensors[name] = tensors[name][::-1].copy()
    save_file(tensors, weights, metadata={"format": "pt"})
