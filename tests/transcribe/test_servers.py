"""Several endpoints for one run: pieces go where there is room, and elsewhere when an endpoint is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.endpoint import stacks, tones
from tests.endpoint.fake_vllm import MODEL, TOKEN, FakeVllm, Fault, serving
from tests.endpoint.hand_clock import HandClock
from tests.transcribe.bench import Bench, texts
from whisperctl.cli.transcript_options import checked
from whisperctl.endpoint.client import Endpoint
from whisperctl.endpoint.transcription import Ask
from whisperctl.errors import WhisperctlError
from whisperctl.transcribe.batch import Batch
from whisperctl.transcribe.options import TranscriptOptions
from whisperctl.transcribe.pace import Pace
from whisperctl.transcribe.recordings import find
from whisperctl.transcribe.results import Failed, Result
from whisperctl.transcribe.slots import Slots

WORDS = tones.VOCABULARY[:24]


@pytest.fixture
def other() -> Iterator[FakeVllm]:
    with serving() as vllm:
        yield vllm


def run(bench: Bench, other: FakeVllm) -> list[Result]:
    """Each word a recording, with the test's server and another."""
    for number, word in enumerate(WORDS):
        tones.write(bench.folder / f"{number:02}.wav", [[word]])
    with Endpoint(other.url, TOKEN, 30) as endpoint:
        servers = [bench.server(), Bench(other, endpoint, bench.folder).server()]
        options = TranscriptOptions(ask=Ask(model="named otherwise", language="es"))
        batch = Batch(options, servers, 2, bench.clock, bench.notes, spool=bench.folder)
        return list(batch.run(find([str(bench.folder / "*.wav")], bench.folder)))


def test_two_share_the_work(bench: Bench, other: FakeVllm) -> None:
    assert texts(run(bench, other)) == WORDS
    sent = [len(vllm.audio_requests) for vllm in (bench.vllm, other)]
    assert sum(sent) == len(WORDS)
    assert min(sent) >= 4
    assert {one.fields["model"] for one in bench.vllm.audio_requests} == {MODEL}


def test_one_that_cannot_be_woken_leaves_its_part_to_the_other(bench: Bench, other: FakeVllm) -> None:
    other.health_faults = [Fault(503)] * 10_000
    other.faults = [Fault(503)] * 10_000
    assert texts(run(bench, other)) == WORDS
    assert len([line for line in bench.notes.lines if "gets no more" in line]) == 1


def test_one_that_refuses_leaves_its_part_to_the_other(bench: Bench, other: FakeVllm) -> None:
    other.token = "another"
    assert texts(run(bench, other)) == WORDS
    assert len(other.audio_requests) <= 2
    assert [line for line in bench.notes.lines if "gets no more" in line] == bench.notes.lines
    assert len(bench.notes.lines) == 1
    assert TOKEN not in bench.notes.lines[0]


def test_one_that_breaks_leaves_its_part_to_the_other(bench: Bench, other: FakeVllm) -> None:
    other.faults = [Fault(0)] * 1000
    assert texts(run(bench, other)) == WORDS
    assert "gets no more" in bench.notes.lines[0]


def test_where_all_refuse_all_fail(bench: Bench, other: FakeVllm) -> None:
    bench.vllm.token = other.token = "another"
    results = run(bench, other)
    assert all(isinstance(one, Failed) for one in results)
    assert len(bench.vllm.audio_requests) + len(other.audio_requests) <= 6
    assert any("was not tried" in one.reason for one in results if isinstance(one, Failed))


def test_the_one_with_the_most_room_is_next() -> None:
    slots = Slots([Pace(2), Pace(4)], HandClock())
    assert sorted(slots.take() for _ in range(6)) == [0, 0, 1, 1, 1, 1]
    slots.give_back(1)
    assert slots.take() == 1
    slots.give_back(0)
    assert slots.close(0)
    slots.give_back(1)
    assert slots.take() == 1
    assert not slots.close(1)


def test_other_models_are_refused(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    both = [stacks.stack(one), stacks.stack(two, model="openai/whisper-base")]
    with pytest.raises(WhisperctlError, match="openai/whisper-base at"):
        checked(both, TranscriptOptions(ask=Ask(model=MODEL)))
    assert checked([both[0], both[0]], TranscriptOptions(ask=Ask(model=MODEL, language="es"))).ask.timed
