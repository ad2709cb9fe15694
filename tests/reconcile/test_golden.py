"""The tutorial's stack planned, applied, changed in ten ways, drifted and destroyed: every step's output, kept."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.program import Ran
from tests.harness.project import Project

GOLDEN = Path(__file__).parent.parent / "golden" / "plan"
TUTORIAL = Path(__file__).parent.parent.parent / "specs" / "whisper-small-t4.yaml"
NOT_ALWAYS_SAID = ("waiting for ", "is up after", "waking an instance", ": |")
MASKS = [
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "ID"),
    (r"\b[0-9a-f]{64}\b", "DIGEST"),
    (r"(vllm-[\d.]+)-[0-9a-f]{12}", r"\1-CONTENT"),
    (r'"fingerprint": "[0-9a-f]+"', '"fingerprint": "FINGERPRINT"'),
    (r"http://127\.0\.0\.1:\d+", "http://127.0.0.1:PORT"),
    (r"\(\d+(\.\d+)? s\)", "(SECONDS)"),
    (r'"expected_seconds": \d+', '"expected_seconds": SECONDS'),
    (r"about \d+ (s|min), as long as the last one took", "10 to 15 minutes"),  # not told of a build within a second
    (r"about \d+ (s|min)", "about SECONDS"),
    (r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)", "TIME"),
    (r"\S+@\S+", "SOMEBODY"),
]
CHANGES: list[tuple[str, str, str]] = [
    ("awake", "minimum_instances: 0", "minimum_instances: 1"),
    ("more-instances", "maximum_instances: 1", "maximum_instances: 4"),
    ("description", "description: Whisper small with vLLM", 'description: "For the \\"meetings\\" team 🎙️"'),
    ("label", "model-type: speech-to-text", "model-type: speech-to-text\n    team: speech"),
    ("env-var-changed", 'MAX_MODEL_LEN: "448"', 'MAX_MODEL_LEN: "300"'),
    ("secret-added", 'MAX_MODEL_LEN: "300"', 'MAX_MODEL_LEN: "300"\n  HF_TOKEN: {value: "${HF_TOKEN}", secret: true}'),
    ("rate-limit", "port: 8080", "port: 8080\n  rate_limit: 600"),
    ("package", "max_model_len: 448", "max_model_len: 224"),
    ("environment", "[build-essential, python3-dev, ffmpeg]", "[build-essential, python3-dev, ffmpeg, git]"),
    ("version-renamed", "name: v1", "name: v2"),
]


def masked(text: str) -> str:
    for pattern, mask in MASKS:
        text = re.sub(pattern, mask, text)
    return text


def shown(ran: Ran) -> str:
    """stdout as it is, then stderr's lines in an order that does not depend on which thread was quicker."""
    said = {line for line in masked(ran.err).splitlines() if not any(part in line for part in NOT_ALWAYS_SAID)}
    return f"{masked(ran.out)}--- exit {ran.code}; stderr, sorted:\n" + "\n".join(sorted(said)) + "\n"


def test_the_tutorials_stack_from_nothing_to_nothing(
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    golden: Callable[[Path, str], None],
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "stack.yaml"
    file.write_text(TUTORIAL.read_text())
    shutil.copytree(TUTORIAL.parent / "samples", file.parent / "samples")

    def step(name: str, *args: str) -> Ran:
        ran = project.cli(*args, HF_TOKEN="hf_canary")
        golden(GOLDEN / f"{name}.txt", shown(ran))
        return ran

    step("01-plan", "plan")
    step("02-plan-markdown", "plan", "--format", "markdown")
    assert step("03-apply", "apply", "--yes").code == 0
    assert step("04-plan-unchanged", "plan", "--detailed-exitcode").code == 0
    for number, (name, before, after) in enumerate(CHANGES, 10):
        assert before in file.read_text()
        file.write_text(file.read_text().replace(before, after, 1))
        assert step(f"{number}-{name}", "plan", "--detailed-exitcode").code == 2
        ran = project.cli("apply", "--yes", HF_TOKEN="hf_canary")
        assert ran.code == 0, ran.err
    project.api().update_version("whisper-vllm", "v2", {"maximum_instances": 2})
    project.api().update_service("whisper-service", {"authentication_required": False, "rate_limit": None})
    assert step("30-drift", "drift").code == 2
    step("31-plan-json", "plan", "--format", "json")
    step("32-plan-destroy", "plan", "--destroy")
    assert step("33-destroy", "destroy", "--yes").code == 0
    assert step("34-destroy-again", "destroy", "--yes").code == 0
