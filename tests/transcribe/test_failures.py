"""One failure is one line: whatever is odd about a recording or an answer, the other recordings are transcribed."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from tests.endpoint import tones
from tests.endpoint.fake_vllm import Fault
from tests.transcribe.bench import Bench, texts
from whisperctl.transcribe.results import Done, Failed


def header(rate: int, channels: int) -> bytes:
    """A WAV header that says so."""
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * 2, 2, 16)
    return b"RIFF\x24\x08\0\0WAVEfmt \x10\0\0\0" + form + b"data\0\x08\0\0" + bytes(2048)


@pytest.mark.parametrize(
    ("rate", "channels", "reason"),
    [
        (0, 1, "is broken: its WAV header says 0 samples a second."),
        (16000, 0, "is broken: its WAV header counts no channels."),
    ],
)
def test_a_header_that_cannot_be(bench: Bench, rate: int, channels: int, reason: str) -> None:
    (bench.folder / "odd.wav").write_bytes(header(rate, channels))
    first, odd, last = bench.run(bench.say("a.wav", [["ba"]]), bench.folder / "odd.wav", bench.say("b.wav", [["be"]]))
    assert texts([first, last]) == ["ba", "be"]
    assert isinstance(odd, Failed)
    assert odd.reason == reason


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"text": "a", "segments": ["b"]}, "a segment that is no object: 'b'"),
        ({"text": "a", "segments": [{"start": float("nan"), "end": 1, "text": "a"}]}, "whose start is no time: nan"),
        ({"text": "a", "segments": [{"start": 0, "end": [], "text": "a"}]}, "whose end is no time: []"),
        ({"text": "a", "segments": [{"start": 0, "end": "1e999", "text": "a"}]}, "whose end is no time: '1e999'"),
        ({"text": None}, "200 without a transcript"),
        ([], "200 without a transcript"),
        (7, "200 without a transcript"),
    ],
)
def test_an_odd_answer_is_that_recordings_failure(bench: Bench, body: object, reason: str) -> None:
    bench.vllm.faults = [Fault(200, json.dumps(body))]
    odd, other = bench.run(bench.say("a.wav", [["ba"]]), bench.say("b.wav", [["be"]]), parallelism=1)
    assert isinstance(odd, Failed)
    assert reason in odd.reason
    assert "\n" not in odd.reason
    assert texts([other]) == ["be"]


@pytest.mark.parametrize("segments", [None, [], [{"start": None, "end": None, "text": " ba"}], {"0": "x"}])
def test_missing_times_are_those_of_the_piece(bench: Bench, segments: object) -> None:
    bench.vllm.faults = [Fault(200, json.dumps({"text": "ba", "language": 5, "duration": "x", "segments": segments}))]
    (done,) = bench.run(bench.say("a.wav", [["ba"]]), shape="verbose_json", language="en")
    assert isinstance(done, Done)
    assert [one.text for one in done.transcript.segments or ()] == ["ba"]


def test_a_login_page_and_a_gateways_limit_are_called_so(bench: Bench) -> None:
    bench.vllm.faults = [Fault(200, "<!doctype html><html>log in</html>"), Fault(413, "")]
    login, limit = bench.run(bench.say("a.wav", [["ba"]]), bench.say("b.wav", [["be"]]), parallelism=1)
    assert isinstance(login, Failed)
    assert "200 without a transcript: a web page, such as a login." in login.reason
    assert isinstance(limit, Failed)
    assert "413: something on the way refuses bodies of that size, not vLLM; see its body limit" in limit.reason


@pytest.mark.parametrize("status", [401, 403])
def test_after_a_refused_token_nothing_more_is_sent(bench: Bench, status: int) -> None:
    bench.vllm.faults = [Fault(status, '{"detail": "Invalid token."}')] * 100
    files = [bench.say(f"{number}.wav", tones.sentences_of(40)) for number in range(6)]
    results = bench.run(*files, parallelism=2, language="en")
    reasons = [one.reason for one in results if isinstance(one, Failed)]
    assert len(reasons) == 6
    assert f"{status} (Invalid token.)" in reasons[0]
    assert "was not tried: the endpoint answered" in reasons[-1]
    assert len(bench.vllm.audio_requests) <= 2


def test_a_piece_that_fails_is_the_reason_and_not_its_neighbours(bench: Bench) -> None:
    """Pieces that are given up for it are not what is told, and the run goes on."""
    good = {"text": "x", "segments": [{"start": 0, "end": 28, "text": "x"}]}
    bench.vllm.faults = [Fault(200, json.dumps(good)), Fault(400, '{"error": {"message": "no"}}')]
    long, short = bench.run(
        bench.say("long.wav", tones.sentences_of(100)), bench.say("b.wav", [["be"]]), parallelism=1, language="en"
    )
    assert isinstance(long, Failed)
    assert "400 (no)" in long.reason
    assert texts([short]) == ["be"]


def test_an_unreadable_file_and_a_folder_in_disguise(bench: Bench) -> None:
    path = bench.folder / "a.wav"
    path.write_bytes(b"RIFF....WAVE")
    (failed,) = bench.run(path)
    assert isinstance(failed, Failed)
    (gone, url) = bench.run(Path("nowhere.wav"), "https://example.com/a.mp3")
    assert isinstance(gone, Failed)
    assert isinstance(url, Failed)
    assert gone.reason == "no such file"
    assert url.reason == "is a URL, not a file: download it first"
