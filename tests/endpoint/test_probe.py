"""The probe: waits for what may still come, refuses what will not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.endpoint import tones
from tests.endpoint.fake_vllm import MODEL, TOKEN, FakeVllm, Fault
from tests.endpoint.hand_clock import HandClock
from whisperctl.endpoint.client import Endpoint
from whisperctl.endpoint.probe import Probed, probe
from whisperctl.errors import TimedOut, Unhealthy
from whisperctl.spec import Smoke

SENTENCE = ["ba", "ke", "mo"]


@pytest.fixture
def smoke(tmp_path: Path) -> Smoke:
    audio = tones.write(tmp_path / "hello.wav", [SENTENCE])
    return Smoke(audio=audio, expect="Ba, ke mo!", max_wer=0.1, language="en")


def run(endpoint: Endpoint, clock: HandClock, smoke: Smoke | None = None, **more: Any) -> tuple[Probed, list[str]]:
    lines: list[str] = []
    options: dict[str, Any] = {"served_name": MODEL, "task": "transcription", "timeout": 60.0, **more}
    probed = probe(endpoint, smoke=smoke, clock=clock, listen=lines.append, **options)
    return probed, lines


def test_all_is_well(vllm: FakeVllm, endpoint: Endpoint, clock: HandClock, smoke: Smoke) -> None:
    probed, lines = run(endpoint, clock, smoke)
    assert probed == Probed(seconds=0.0, models=(MODEL,), transcript="ba ke mo", wer=0.0)
    assert lines == ["healthy", f"serves {MODEL}", "heard 'ba ke mo' (word error rate 0.00)"]
    assert vllm.audio_requests[0].fields["language"] == "en"


def test_without_smoke_nothing_is_transcribed(vllm: FakeVllm, endpoint: Endpoint, clock: HandClock) -> None:
    probed, _ = run(endpoint, clock)
    assert (probed.transcript, probed.wer) == (None, None)
    assert not vllm.audio_requests


def test_translation_uses_its_own_route(vllm: FakeVllm, endpoint: Endpoint, clock: HandClock, smoke: Smoke) -> None:
    assert run(endpoint, clock, smoke, task="translation")[0].transcript == "BA KE MO"
    assert vllm.audio_requests[0].path == "/v1/audio/translations"


def test_waits_and_says_each_state_once(vllm: FakeVllm, endpoint: Endpoint, clock: HandClock) -> None:
    vllm.health_faults = [Fault(503), Fault(503), Fault(503), Fault(502, "<html>"), Fault(500, "")]
    vllm.model_faults = [Fault(503)]
    probed, lines = run(endpoint, clock)
    assert (
        lines[:3]
        == [
            "waiting for GET /health: 503 (a fault)",
            "waiting for GET /health: 502 (a web page)",
            "waiting for GET /health: 500",
        ]
        or lines[1] == "waiting for GET /health: 502"
    )
    assert "waiting for GET /v1/models: 503 (a fault)" in lines
    assert probed.seconds == sum(clock.slept) > 0


def test_refused_connections_are_waited_for_until_the_deadline(clock: HandClock) -> None:
    with Endpoint("http://127.0.0.1:9", TOKEN, 5) as nobody, pytest.raises(TimedOut) as error:
        run(nobody, clock, timeout=42.0)
    assert "Timed out after 42 s" in str(error.value)
    assert "GET /health last said: " in str(error.value)
    assert clock.now == pytest.approx(42.0)


@pytest.mark.parametrize(("status", "words"), [(401, "token"), (403, "role"), (404, "port"), (418, "418")])
def test_what_waiting_does_not_change(
    vllm: FakeVllm, endpoint: Endpoint, clock: HandClock, status: int, words: str
) -> None:
    vllm.health_faults = [Fault(status)]
    with pytest.raises(Unhealthy, match="waiting will not change that") as error:
        run(endpoint, clock)
    assert words in str(error.value)
    assert not clock.slept


def test_another_model(endpoint: Endpoint, clock: HandClock) -> None:
    with pytest.raises(Unhealthy, match=f"lists {MODEL}, not openai/whisper-small"):
        run(endpoint, clock, served_name="openai/whisper-small")


def test_something_else_listens(vllm: FakeVllm, endpoint: Endpoint, clock: HandClock) -> None:
    vllm.model_faults = [Fault(200, "hello")]
    with pytest.raises(Unhealthy, match="did not answer with a list of models, but with no JSON object: 200"):
        run(endpoint, clock)


def test_too_many_wrong_words(endpoint: Endpoint, clock: HandClock, smoke: Smoke) -> None:
    wrong = Smoke(audio=smoke.audio, expect="ba ke nu", max_wer=0.2, language=None)
    with pytest.raises(Unhealthy) as error:
        run(endpoint, clock, wrong)
    assert "word error rate of 0.33, allowed are 0.20" in str(error.value)
    assert "expected: ba ke nu\n  heard:    ba ke mo" in str(error.value)


def test_a_server_error_in_the_smoke_is_not_waited_for(
    vllm: FakeVllm, endpoint: Endpoint, clock: HandClock, smoke: Smoke
) -> None:
    vllm.faults = [Fault(500, '{"error": {"message": "CUDA out of memory"}}')]
    with pytest.raises(Unhealthy, match="CUDA out of memory"):
        run(endpoint, clock, smoke)


def test_an_error_body_with_status_200(vllm: FakeVllm, endpoint: Endpoint, clock: HandClock, smoke: Smoke) -> None:
    vllm.faults = [Fault(200, '{"error": {"message": "Invalid audio", "code": 400}}')]
    with pytest.raises(Unhealthy, match="200 with an error in the body: Invalid audio"):
        run(endpoint, clock, smoke)


def test_missing_smoke_audio(endpoint: Endpoint, clock: HandClock, tmp_path: Path) -> None:
    gone = Smoke(audio=tmp_path / "gone.wav", expect="x", max_wer=0.1, language=None)
    with pytest.raises(Unhealthy, match=r"gone.wav cannot be read"):
        run(endpoint, clock, gone)
