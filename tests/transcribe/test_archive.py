"""Recordings as tasks of a Dask cluster: one transcript each, whoever is killed; no token in what is handed around."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.endpoint import tones
from tests.endpoint.fake_vllm import MODEL, TOKEN, serving
from tests.endpoint.project import until
from tests.transcribe.bench import Bench, Notes
from whisperctl.endpoint.transcription import Ask
from whisperctl.transcribe import outputs
from whisperctl.transcribe.options import TranscriptOptions
from whisperctl.transcribe.recordings import Recording, find
from whisperctl.transcribe.results import Done, Failed, Result, Skipped

pytest.importorskip("distributed")
from distributed import LocalCluster

from tests.transcribe import archive_run
from whisperctl.transcribe import archive, archive_tasks

MANY = 1000
WORKER_DIES, CLIENT_DIES = MANY // 5, MANY * 7 // 10
"""Transcripts that are written when it is killed: between them the worker is replaced."""
LEASES = archive_run.LEASES
IN_FLIGHT = LEASES + archive.AHEAD
"""Recordings that a cluster has at once: what a kill may have paid for twice."""


@pytest.fixture(autouse=True, scope="module")
def _token() -> Iterator[None]:
    """In this process' environment, which workers that are started here have, too."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("UBIOPS_API_TOKEN", TOKEN)
        yield


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with archive.cluster(archive.LOCAL, LEASES) as cluster:
        yield cluster


class Run:
    """One folder of recordings, each of one word, and its archive."""

    def __init__(self, bench: Bench, count: int) -> None:
        self.bench, self.out, self.recordings = bench, bench.folder / "out", bench.folder / "recordings"
        self.out.mkdir()
        self.recordings.mkdir()
        self.words = [tones.VOCABULARY[number % len(tones.VOCABULARY)] for number in range(count)]
        spoken = {word: tones.write(bench.folder / f"{word}.wav", [[word]]) for word in set(self.words)}
        for number, word in enumerate(self.words):
            (self.recordings / f"{number:04}.wav").hardlink_to(spoken[word])
        self.notes = Notes()

    @contextmanager
    def results(self, client: Any, leases: int = LEASES) -> Iterator[Iterator[Result]]:
        """A run in this process."""
        options = TranscriptOptions(ask=Ask(model=MODEL, timed=True, language="es"))
        places = [archive_run.place(self.bench.vllm.url)]
        recordings = find([str(self.recordings)], self.bench.folder)
        with outputs.opened(self.out) as output:
            yield archive.Archive(options, places, leases, client, self.notes, output).run(recordings)

    def start(self, address: str = archive.LOCAL) -> subprocess.Popen[str]:
        """A run as a process of its own, once its cluster is up."""
        command = [sys.executable, "-m", "tests.transcribe.archive_run", self.bench.vllm.url]
        command += [str(self.recordings), str(self.out), address]
        # However little time Dask gives a worker to come back: the run gives it more.
        environment = {**os.environ, "DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "1ms"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n", process.communicate()
        return process

    def written(self) -> list[str]:
        return [path.read_text().strip() for path in sorted(self.out.glob("*.txt"))]

    def until_written(self, count: int) -> None:
        until(lambda: len(list(self.out.glob("*.txt"))) >= count, 120)


def children(pid: int) -> list[int]:
    """The processes that `pid` has started."""
    ran = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(line.split()[0]) for line in ran.stdout.splitlines() if "dask worker" in line or "spawn_main" in line]


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_killed_worker_and_a_killed_client_lose_nothing(bench: Bench) -> None:
    """The scheduler is the client's, and killed with it; what runs the workers ends by itself."""
    run = Run(bench, MANY)
    with run.start() as first:
        run.until_written(WORKER_DIES)
        workers = children(first.pid)
        os.kill(workers[0], signal.SIGKILL)
        run.until_written(CLIENT_DIES)
        again = children(first.pid)
        assert len(again) == len(workers)
        workers += again
        first.kill()
    until(lambda: not any(runs(worker) for worker in workers))
    done = len(run.written())
    assert CLIENT_DIES <= done < MANY
    with run.start() as second:
        assert second.communicate(timeout=120) == ("", "")
    assert second.returncode == 0
    assert run.written() == run.words
    assert {path.name for path in run.out.iterdir() if path.suffix != ".txt"} == {".whisperctl.sqlite"}
    assert MANY <= len(bench.vllm.audio_requests) <= MANY + 2 * IN_FLIGHT
    assert bench.vllm.most_in_flight <= LEASES


def test_what_a_worker_had_done_counts_after_its_death(bench: Bench, client: Any) -> None:
    """Dask forgets that a task is done when whoever did it dies; the client has its transcript by then."""
    run = Run(bench, 12)
    with run.results(client) as results:
        first = next(results)
        until(lambda: len(bench.vllm.audio_requests) == 12 and not bench.vllm.in_flight)
        client.restart_workers(list(client.nthreads()))
        rest = list(results)
    assert all(isinstance(one, Done) for one in [first, *rest])
    assert run.written() == run.words


def test_a_cluster_without_workers_is_told_of(bench: Bench) -> None:
    run = Run(bench, 3)
    alone: Any = LocalCluster
    with (
        alone(n_workers=0, dashboard_address=None, scheduler_kwargs={"dashboard_address": "127.0.0.1:0"}) as cluster,
        cluster.get_client() as client,
        run.results(client) as results,
    ):

        def helps() -> None:
            until(lambda: run.notes.lines)
            cluster.scale(1)

        threading.Thread(target=helps).start()
        assert all(isinstance(one, Done) for one in results)
    assert run.notes.lines[0] == "The cluster has no workers: what is left waits for one."


def test_a_stopped_client_leaves_what_is_not_done_to_the_next(bench: Bench, client: Any) -> None:
    run = Run(bench, 40)
    with run.results(client) as results:
        first = [next(results) for _ in range(15)]
        results.close()  # type: ignore[attr-defined]
    assert all(isinstance(one, Done) for one in first)
    with run.results(client) as results:
        second = list(results)
    assert run.written() == run.words
    assert sum(isinstance(one, Skipped) for one in second) >= len(first)  # those written with the last one, too
    assert 40 <= len(bench.vllm.audio_requests) <= 40 + IN_FLIGHT


def test_a_killed_scheduler_is_told_and_loses_nothing(bench: Bench, tmp_path: Path) -> None:
    run = Run(bench, 60)
    port = free_port()
    with cluster_of_its_own(tmp_path, port) as scheduler:
        with run.start(f"tcp://127.0.0.1:{port}") as client:
            run.until_written(20)
            scheduler.kill()
            printed = client.communicate(timeout=60)
        assert client.returncode == 1
        assert "The cluster's scheduler is gone" in printed[1]
    done = len(run.written())
    address = f"tcp://127.0.0.1:{port}"
    with cluster_of_its_own(tmp_path, port), archive.cluster(address, LEASES) as again, run.results(again) as results:
        assert not [one for one in results if isinstance(one, Failed)]
    assert run.written() == run.words
    assert 60 <= len(bench.vllm.audio_requests) <= 60 + IN_FLIGHT
    assert done >= 20


@contextmanager
def cluster_of_its_own(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A scheduler and a worker, as somebody else starts them."""
    dask = [sys.executable, "-m", "dask"]
    at = ["--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    work = [f"tcp://127.0.0.1:{port}", "--nthreads", "4", "--no-dashboard", "--death-timeout", "20"]
    out = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*dask, "scheduler", *at], cwd=folder, **out) as scheduler:  # type: ignore[call-overload]
        until(lambda: answers(port))
        with subprocess.Popen([*dask, "worker", *work, "--local-directory", str(folder)], **out) as worker:  # type: ignore[call-overload]
            try:
                yield scheduler
            finally:
                worker.terminate()
                scheduler.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_a_refused_token_is_told_once_and_nothing_more_is_sent(bench: Bench, client: Any) -> None:
    bench.vllm.token = "another"
    run = Run(bench, 60)
    with run.results(client) as results:
        outcomes = list(results)
    assert all(isinstance(one, Failed) for one in outcomes)
    assert len(bench.vllm.audio_requests) < 60
    assert any("was not tried" in one.reason for one in outcomes if isinstance(one, Failed))
    assert not run.written()


def test_two_endpoints_share_the_recordings(bench: Bench, client: Any) -> None:
    run = Run(bench, 40)
    with serving() as other, outputs.opened(run.out) as output:
        options = TranscriptOptions(ask=Ask(model=MODEL, timed=True, language="es"))
        places = [archive_run.place(one.url) for one in (bench.vllm, other)]
        recordings = find([str(run.recordings)], bench.folder)
        results = list(archive.Archive(options, places, LEASES, client, run.notes, output).run(recordings))
        assert min(len(one.audio_requests) for one in (bench.vllm, other)) >= 10
    assert all(isinstance(one, Done) for one in results)
    assert run.written() == run.words


def test_one_that_refuses_leaves_its_recordings_to_the_other(bench: Bench, client: Any) -> None:
    run = Run(bench, 40)
    with serving() as other, outputs.opened(run.out) as output:
        other.token = "another"
        options = TranscriptOptions(ask=Ask(model=MODEL, timed=True, language="es"))
        places = [archive_run.place(one.url) for one in (bench.vllm, other)]
        recordings = find([str(run.recordings)], bench.folder)
        list(archive.Archive(options, places, LEASES, client, run.notes, output).run(recordings))
        assert len(other.audio_requests) <= IN_FLIGHT
    assert run.written() == run.words


def test_two_that_refuse_fail_each_recording(bench: Bench, client: Any) -> None:
    run = Run(bench, 20)
    with serving() as other, outputs.opened(run.out) as output:
        other.token = bench.vllm.token = "another"
        options = TranscriptOptions(ask=Ask(model=MODEL, timed=True, language="es"))
        places = [archive_run.place(one.url) for one in (bench.vllm, other)]
        recordings = find([str(run.recordings)], bench.folder)
        results = list(archive.Archive(options, places, LEASES, client, run.notes, output).run(recordings))
    assert [type(one) for one in results] == [Failed] * 20


def test_a_worker_that_was_refused_once_asks_again_in_the_next_run(bench: Bench, client: Any) -> None:
    """Also where that run has another `--parallelism`."""
    run = Run(bench, 12)
    bench.vllm.token = "another"
    with run.results(client) as results:
        assert all(isinstance(one, Failed) for one in results)
    bench.vllm.token = TOKEN
    with run.results(client, LEASES + 1) as results:
        assert all(isinstance(one, Done) for one in results)
    assert run.written() == run.words


@pytest.mark.parametrize("others", [1, 0], ids=["another", "no other"])
def test_recordings_of_an_endpoint_that_cannot_be_woken(bench: Bench, client: Any, others: int) -> None:
    """Another endpoint takes them; where there is none, each is told."""
    run = Run(bench, 4)
    with serving() as lost, outputs.opened(run.out) as output:
        lost.asleep = True
        places = [replace(archive_run.place(lost.url), wake_timeout=0.5), archive_run.place(bench.vllm.url)]
        options = TranscriptOptions(ask=Ask(model=MODEL, timed=True, language="es"))
        named = find([str(run.recordings)], bench.folder)
        results = list(archive.Archive(options, places[: 1 + others], LEASES, client, run.notes, output).run(named))
        assert all(lost.url in one.reason for one in results if isinstance(one, Failed)), results
    assert len([one for one in results if isinstance(one, Done)]) == 4 * others
    assert run.written() == run.words[: 4 * others]


def test_tasks_hold_no_token(bench: Bench) -> None:
    place = archive_run.place(bench.vllm.url)
    (recording,) = find([str(bench.say("a.wav", [["ba"]]))], bench.folder)
    assert isinstance(recording, Recording)
    options = TranscriptOptions(ask=Ask(model=MODEL))
    task = archive_tasks.ArchiveTask(recording=recording, options=options, place=place, leases=1)
    assert TOKEN.encode() not in pickle.dumps(task)
