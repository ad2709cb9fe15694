"""The smoke checks against the test server: each passes, fails and is skipped for its own reason."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.endpoint import stacks, tones
from tests.endpoint.fake_vllm import MODEL, TOKEN, FakeVllm, Fault
from whisperctl.cli.sample import sample
from whisperctl.clock import SystemClock
from whisperctl.endpoint.client import Endpoint
from whisperctl.endpoint.smoke import Sample, SmokeCheck, SmokeTest
from whisperctl.errors import WhisperctlError
from whisperctl.views import smoke

SENTENCE = ["ba", "ke", "mo"]
HEALTHY = {"status": "completed", "result": json.dumps({"status": "healthy", "model": MODEL})}
NEEDS_AUDIO = 8


class Run:
    """One smoke run; keyword arguments of `stacks.write` shape the stack."""

    def __init__(self, endpoint: Endpoint, tmp_path: Path) -> None:
        self.endpoint, self.folder = endpoint, tmp_path
        audio = tones.write(tmp_path / "say \"it\" 'now'.wav", [SENTENCE])
        self.sample: Sample | None = Sample(audio=audio, expect="Ba ke mo.", max_wer=0.1, language="es")
        self.answer: dict[str, Any] = HEALTHY
        self.task: Any = "transcription"

    def __call__(self, **more: str) -> dict[str, SmokeCheck]:
        smoke = SmokeTest(
            stacks.stack(self.folder, **more),
            self.endpoint,
            token=TOKEN,
            task=self.task,
            sample=self.sample,
            direct=lambda _timeout: self.answer,
            clock=SystemClock(),
        )
        return {check.name: check for check in smoke.checks()}


@pytest.fixture
def run(endpoint: Endpoint, tmp_path: Path) -> Run:
    return Run(endpoint, tmp_path)


def verdicts(checks: dict[str, SmokeCheck]) -> dict[str, str]:
    return {name: check.verdict for name, check in checks.items()}


def test_everything_passes(run: Run, vllm: FakeVllm) -> None:
    checks = run()
    skipped = set() if shutil.which("curl") else {"curl"}
    assert {name for name, verdict in verdicts(checks).items() if verdict != "ok"} == skipped, checks
    assert list(checks) == [
        "health",
        "models",
        "transcription, json",
        "transcription, text",
        "transcription, verbose_json",
        "language, detected",
        "language, given",
        "translation",
        "curl",
        "OpenAI SDK",
        "deployment request",
    ]
    assert checks["transcription, json"].wer == 0.0
    assert checks["language, detected"].detail == "es"
    assert checks["translation"].transcript == "BA KE MO"
    agents = [one.headers["user-agent"].split("/")[0] for one in vllm.audio_requests]
    assert agents.count("curl") == (1 if shutil.which("curl") else 0)
    bearer = [one for one in vllm.audio_requests if one.headers["authorization"].startswith("Bearer ")]
    assert [one.headers["user-agent"].split("/")[0] for one in bearer] == ["OpenAI"]


def test_without_audio_the_rest_still_runs(run: Run) -> None:
    run.sample = None
    checks = run()
    assert [name for name, verdict in verdicts(checks).items() if verdict == "ok"] == [
        "health",
        "models",
        "deployment request",
    ]
    assert "--audio FILE --expect TEXT" in checks["curl"].detail
    assert smoke.summary(list(checks.values())) == f"11 checks: 3 ok, 0 failed, {NEEDS_AUDIO} skipped"


def test_wrong_words_fail(run: Run) -> None:
    assert run.sample is not None
    run.sample = Sample(audio=run.sample.audio, expect="nu nu nu", max_wer=0.5, language="es")
    checks = run()
    assert checks["transcription, json"].verdict == "failed"
    assert "word error rate 1.00, allowed 0.50: heard 'ba ke mo', expected 'nu nu nu'" in checks["OpenAI SDK"].detail
    assert not smoke.passed(list(checks.values()))


def test_without_expectation_nothing_is_judged(run: Run) -> None:
    assert run.sample is not None
    run.sample = Sample(audio=run.sample.audio, expect=None, max_wer=0.0, language=None)
    checks = run()
    assert checks["transcription, json"].wer is None
    assert checks["language, given"].detail == "es; “ba ke mo”"


def test_what_the_model_cannot_do_is_skipped(run: Run) -> None:
    checks = run(model="openai/whisper-large-v3-turbo")
    assert checks["translation"].verdict == "skipped"
    assert "was not trained for it" in checks["translation"].detail


def test_what_the_release_cannot_do_is_skipped(run: Run, vllm: FakeVllm) -> None:
    vllm.version = "0.10.1"
    checks = run(version="0.10.1.1")
    assert checks["transcription, verbose_json"].detail == "vLLM 0.10.1.1 has no verbose_json; 0.12 and later do"
    assert "takes English" in checks["language, detected"].detail
    assert checks["language, given"].verdict == "ok"


def test_translation_as_default_route(run: Run) -> None:
    run.task = "translation"
    checks = run()
    assert checks["translation, json"].transcript == "BA KE MO"
    assert checks["translation"].verdict == "skipped"
    assert checks["OpenAI SDK"].transcript == "BA KE MO"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"status": "failed", "error_message": "boom"}, "ended as failed: boom"),
        ({"status": "completed", "result": '{"status": "unhealthy"}'}, "unhealthy"),
        ({"status": "completed", "result": None}, "request() answered None"),
    ],
)
def test_deployment_request_that_is_not_well(run: Run, answer: dict[str, Any], words: str) -> None:
    run.answer = answer
    check = run()["deployment request"]
    assert check.verdict == "failed"
    assert words in check.detail


def test_failing_server_fails_each_check_and_tells_no_token(run: Run, vllm: FakeVllm) -> None:
    vllm.faults = [Fault(500, json.dumps({"error": {"message": f"no {TOKEN}"}}))] * 20
    checks = run()
    assert verdicts(checks)["OpenAI SDK"] == verdicts(checks)["curl"] == "failed"
    shown = smoke.as_json("s", "u", list(checks.values())) + smoke.as_lines(list(checks.values()))
    assert "no (token)" in shown
    assert TOKEN not in shown


def test_another_language_than_declared(run: Run) -> None:
    assert run.sample is not None
    run.sample = Sample(audio=run.sample.audio, expect=None, max_wer=0.0, language="de")
    assert run()["language, detected"].detail == "heard as language es, it is de."


def test_reports(run: Run) -> None:
    checks = list(run().values())
    document = json.loads(smoke.as_json("tones", "http://x", checks))
    assert document["passed"] is True
    assert [one["name"] for one in document["checks"]] == [check.name for check in checks]
    lines = smoke.as_lines(checks).splitlines()
    assert len(lines) == 12
    assert len({line.index("ok") for line in lines[:-1] if "  ok  " in line}) == 1
    wide = smoke.for_terminal(checks, 200, color=False).splitlines()
    assert (len(wide), wide[-1]) == (13, lines[-1])
    narrow = smoke.for_terminal(checks, 60, color=False).splitlines()
    assert max(map(len, narrow)) <= 60
    heads = [line for line in narrow if not line.startswith(" ")]
    begins = [f"{check.name}: {check.verdict}" for check in checks]
    assert all(head.startswith(begin) for head, begin in zip(heads, begins, strict=False))


def test_a_file_of_authorities_that_is_missing_fails_the_sdks_check_alone(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent.pem")
    checks = run()
    assert [name for name, check in checks.items() if check.verdict == "failed"] == ["OpenAI SDK"]
    assert checks["OpenAI SDK"].detail.startswith("SSL_CERT_FILE names the CA file /nonexistent.pem: No such file")


def test_a_reason_to_skip_is_told_once(run: Run) -> None:
    run.sample = None
    lines = smoke.as_lines(list(run().values())).splitlines()
    assert [line for line in lines if "no audio" in line] == [next(line for line in lines if "skipped" in line)]
    assert "  as transcription, json" in lines[3]


def test_a_recording_that_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    """For `smoke` and `bench`: a pipe that nobody writes to would be waited for."""
    os.mkfifo(tmp_path / "pipe")
    declared = stacks.stack(tmp_path)
    for path, kind in ((tmp_path / "pipe", "pipe"), (Path("/dev/zero"), "device")):
        with pytest.raises(WhisperctlError, match=f"{path} cannot be read: it is a {kind}, not a file"):
            sample(declared, path, None)
