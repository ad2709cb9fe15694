"""The main job on real parts: the demo's stack file, applied to an emulated UbiOps, is an endpoint that transcribes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.conftest import SAMPLES, SPOKEN, surroundings, whisperctl
from tests.real.family import descendants, remaining
from ubiops_emulator import testing
from ubiops_emulator.testing import Emulator

SHORT = sorted(name for name in SPOKEN if name != "forty-seconds.wav")
AUDIO = "hola-mundo.wav"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with testing.running("--speed", "1000", data=tmp_path_factory.mktemp("emulator")) as started:
        yield started


@pytest.fixture(scope="module")
def environment(emulator: Emulator) -> dict[str, str]:
    """What a person exports to work with the emulator."""
    exported = {"UBIOPS_API_HOST": emulator.host, "UBIOPS_PROJECT": "demo", "UBIOPS_API_TOKEN": emulator.token}
    return {**surroundings(), **exported}


@pytest.fixture(scope="module")
def applied(spec: Path, emulator: Emulator, environment: dict[str, str]) -> Iterator[dict[str, object]]:
    """The live stack, as the JSON that apply ends with; destroyed afterwards."""
    apply = whisperctl("apply", "--yes", "--format", "json", spec, environment=environment)
    assert apply.returncode == 0, apply.stderr
    [stack] = json.loads(apply.stdout)["stacks"]
    server = descendants(emulator.process.pid)
    assert len(server) >= 4, "two supervisors, the front end and its engine"
    yield stack
    destroy = whisperctl("destroy", "--yes", spec, environment=environment)
    assert destroy.returncode == 0, destroy.stderr
    left = whisperctl("plan", "--destroy", "--detailed-exitcode", spec, environment=environment)
    assert left.returncode == 0, left.stdout
    assert remaining(server) == []


@pytest.fixture(scope="module")
def snippets(applied: dict[str, object], spec: Path, environment: dict[str, str]) -> str:
    """What `whisperctl curl` prints to be copied."""
    assert applied["outcome"] == "succeeded"
    printed = whisperctl("curl", spec, environment=environment)
    assert printed.returncode == 0, printed.stderr
    return printed.stdout


@pytest.mark.usefixtures("applied")
def test_a_second_plan_is_empty(spec: Path, environment: dict[str, str]) -> None:
    plan = whisperctl("plan", "--detailed-exitcode", "--format", "json", spec, environment=environment)

    assert plan.returncode == 0, plan.stdout + plan.stderr
    assert json.loads(plan.stdout)["stacks"][0]["changes"] == []


@pytest.mark.usefixtures("applied")
def test_a_second_apply_does_nothing(spec: Path, environment: dict[str, str]) -> None:
    apply = whisperctl("apply", "--yes", "--format", "json", spec, environment=environment)

    assert apply.returncode == 0, apply.stderr
    assert json.loads(apply.stdout)["stacks"][0]["operations"] == []


@pytest.mark.usefixtures("applied")
@pytest.mark.parametrize("name", SHORT)
def test_transcribe_prints_what_is_said(name: str, spec: Path, environment: dict[str, str]) -> None:
    heard = whisperctl("transcribe", "-f", spec, SAMPLES / name, environment=environment)

    assert heard.returncode == 0, heard.stderr
    assert heard.stdout.strip() == SPOKEN[name]["text"]


@pytest.mark.usefixtures("applied")
def test_translate_is_in_english(spec: Path, environment: dict[str, str]) -> None:
    heard = whisperctl("transcribe", "-f", spec, "--translate", SAMPLES / AUDIO, environment=environment)

    assert heard.returncode == 0, heard.stderr
    assert heard.stdout.strip() == "hello world one two three"


@pytest.mark.usefixtures("applied")
def test_subtitles_cover_a_recording_longer_than_the_window(
    spec: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    recording = SAMPLES / "forty-seconds.wav"
    done = whisperctl("transcribe", "-f", spec, "--format", "srt", "-o", tmp_path, recording, environment=environment)

    assert done.returncode == 0, done.stderr
    subtitles = (tmp_path / "forty-seconds.srt").read_text()
    assert subtitles.startswith("1\n00:00:00,")
    assert "river empty" in subtitles
    assert "00:00:38," in subtitles


@pytest.mark.usefixtures("applied")
def test_smoke_passes(spec: Path, environment: dict[str, str]) -> None:
    smoke = whisperctl("smoke", spec, environment=environment)

    assert smoke.returncode == 0, smoke.stdout + smoke.stderr


def test_the_curl_snippet_works_as_it_is_printed(snippets: str, environment: dict[str, str]) -> None:
    shell = snippets.partition("# Python")[0]
    heard = subprocess.run(["bash", "-euc", shell], env=environment, capture_output=True, text=True, check=False)

    assert heard.returncode == 0, heard.stderr
    assert json.loads(heard.stdout)["text"].strip() == SPOKEN["hello-world.wav"]["text"]


def test_the_python_snippet_works_as_it_is_printed(snippets: str, environment: dict[str, str]) -> None:
    program = "# Python" + snippets.partition("# Python")[2]
    command = [sys.executable, "-c", program]
    heard = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert heard.returncode == 0, heard.stderr
    assert heard.stdout.strip() == SPOKEN["hello-world.wav"]["text"]


def test_the_service_wants_the_token(snippets: str, environment: dict[str, str]) -> None:
    without = {**environment, "UBIOPS_API_TOKEN": "Token 0123456789"}
    shell = snippets.partition("# Python")[0]
    heard = subprocess.run(["bash", "-euc", shell], env=without, capture_output=True, text=True, check=False)

    assert heard.returncode == 22  # curl's, for an HTTP error
    assert "text" not in heard.stdout
