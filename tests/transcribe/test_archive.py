"""Recordings as tasks of a Dask cluster: one transcript each, whoever is killed; no token in what is handed around."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.endpoint import tones
from tests.endpoint.fake_vllm import MODEL, TOKEN
from tests.transcribe.bench import Bench, Notes
from whisperctl.endpoint.transcription import Ask
from whisperctl.transcribe import ledger
from whisperctl.transcribe.recordings import find
from whisperctl.transcribe.results import Done, Failed, Result, Skipped
from whisperctl.transcribe.wishes import Wishes

pytest.importorskip("distributed")
from whisperctl.transcribe import archive

RECORDINGS = 1000 if os.environ.get("WHISPERCTL_EXHAUSTIVE") else 90
LEASES = 8


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    os.environ["UBIOPS_API_TOKEN"] = TOKEN  # of the workers, which are started here
    try:
        with archive.cluster(archive.LOCAL, LEASES) as found:
            yield found
    finally:
        del os.environ["UBIOPS_API_TOKEN"]


class Run:
    """One folder of recordings, each of another word, and its archive."""

    def __init__(self, bench: Bench, client: Any, count: int) -> None:
        self.bench, self.client, self.out = bench, client, bench.folder / "out"
        self.out.mkdir()
        recordings = bench.folder / "recordings"
        recordings.mkdir()
        self.words = [tones.VOCABULARY[number % len(tones.VOCABULARY)] for number in range(count)]
        for number, word in enumerate(self.words):
            tones.write(recordings / f"{number:04}.wav", [[word]])
        self.notes = Notes()

    @contextmanager
    def results(self) -> Iterator[Iterator[Result]]:
        wishes = Wishes(ask=Ask(model=MODEL, timed=True, language="es"), folder=self.out)
        place = archive.Place(
            url=self.bench.vllm.url,
            home="http://127.0.0.1",
            timeout=30,
            wake_timeout=60,
            variables=("UBIOPS_API_TOKEN",),
        )
        found = find([str(self.bench.folder / "recordings")], self.bench.folder)
        with ledger.opened(self.out) as kept:
            yield archive.Archive(wishes, place, LEASES, self.client, self.notes, kept).run(found)

    def written(self) -> list[str]:
        return [path.read_text().strip() for path in sorted(self.out.glob("*.txt"))]


def test_a_killed_worker_and_a_stopped_client_lose_nothing(bench: Bench, client: Any) -> None:
    run = Run(bench, client, RECORDINGS)
    with run.results() as results:  # the client stops in the middle
        first = [next(results) for _ in range(RECORDINGS // 3)]
        results.close()  # type: ignore[attr-defined]
    assert all(isinstance(one, Done) for one in first)
    with run.results() as results:
        second = [next(results) for _ in range(RECORDINGS // 2)]
        victim = next(iter(client.run(os.getpid).values()))
        os.kill(victim, signal.SIGKILL)
        second += list(results)
    assert run.written() == run.words
    assert sum(isinstance(one, Skipped) for one in second) == len(first)
    assert not [one for one in second if isinstance(one, Failed)]
    paid = len(bench.vllm.audio_requests)
    assert RECORDINGS <= paid <= RECORDINGS + 2 * (LEASES + archive.AHEAD)  # twice what the cluster had, both times
    assert bench.vllm.most_in_flight <= LEASES


def test_a_refused_token_is_told_once_and_nothing_more_is_sent(bench: Bench, client: Any) -> None:
    bench.vllm.token = "another"
    run = Run(bench, client, 60)
    with run.results() as results:
        told = list(results)
    assert all(isinstance(one, Failed) for one in told)
    assert len(bench.vllm.audio_requests) < 60
    assert any("was not tried" in one.reason for one in told if isinstance(one, Failed))
    assert not run.written()


def test_tasks_hold_no_token(bench: Bench) -> None:
    place = archive.Place(url=bench.vllm.url, home="", timeout=1, wake_timeout=1, variables=("UBIOPS_API_TOKEN",))
    (recording,) = find([str(bench.say("a.wav", [["ba"]]))], bench.folder)
    task = archive.Task(recording=recording, wishes=Wishes(ask=Ask(model=MODEL)), place=place, leases=1)  # type: ignore[arg-type]
    assert TOKEN.encode() not in pickle.dumps(task)
