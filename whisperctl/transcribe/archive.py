"""Archives: recordings as the tasks of a Dask cluster; what its workers do is in `archive_tasks`.

A task is one recording, whose pieces are sent one after the other; a semaphore of the cluster bounds how many are in
flight at the endpoint, of all runs with the same bound. What a worker returns is a transcript: the client alone writes
it, in one step, and then its line in the ledger. So a killed worker's recordings go to another worker, and after a
killed client or scheduler the next run does what is not there; paid for twice is only what was in flight.

Local paths must lead to the same files everywhere. A lost worker's nanny starts another one, and what it held is done
again; without any worker recordings wait for one, which is said.
"""

from __future__ import annotations

import logging
import os
import threading
from asyncio import CancelledError
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from math import ceil
from typing import Any

import dask
from distributed import Client, LocalCluster, as_completed
from distributed.security import Security

from whisperctl.errors import WhisperctlError
from whisperctl.transcribe.archive_tasks import SILENT, Answered, ArchiveTask, LocalWorker, Place, perform
from whisperctl.transcribe.batch import state
from whisperctl.transcribe.ledger import Source
from whisperctl.transcribe.options import TranscriptOptions
from whisperctl.transcribe.outputs import Output
from whisperctl.transcribe.recordings import Named, Recording
from whisperctl.transcribe.results import Done, Failed, Listener, Result, Skipped, attempted
from whisperctl.transcribe.written import Written

LOCAL = "local"
LEASES = 64
"""Requests in flight in all, unless `--parallelism` says otherwise."""
_LEASE_SECONDS = "10s"
"""After which a killed worker's lease is another's."""
AHEAD = 8
"""Tasks that the cluster has besides those that run, at most: what it has is lost with it, and paid for again."""
_AT_ONCE = 16
"""Recordings handed over in one step, at most: first each is looked at, which of a remote one takes a while."""
_RESTART_SECONDS = "10m"
"""For which a worker of this machine may be away: 15 s are too few where the cores are busy, and it never came back."""
_LOOK_SECONDS = 5.0
"""Between two looks whether there are workers."""
_NO_WORKERS = "The cluster has no workers: what is left waits for one."
_SCHEDULER_GONE = "The cluster's scheduler is gone. What was done is kept: run the same command again."


class Archive:
    """One run on one cluster."""

    def __init__(
        self,
        options: TranscriptOptions,
        places: Sequence[Place],
        leases: int,
        cluster: Any,
        listener: Listener,
        output: Output | None,
    ) -> None:
        """Begin nothing yet.

        Args:
            options: what to make of each recording.
            places: the endpoints, at least one.
            leases: requests in flight at each, of all who use the cluster with the same number.
            cluster: a `distributed.Client`.
            listener: is told how it goes.
            output: where transcripts are written.
        """
        self._client, self._listener, self._leases = cluster, listener, leases
        self._written = Written(options, output)
        self._asked = replace(options, overwrite=False)
        self._threads = int(sum(cluster.nthreads().values()))
        self._places, self._closed = places, dict[Place, str]()
        self._waiting: dict[Any, _Sent] = {}
        self._busy: Counter[Place] = Counter()

    def run(self, recordings: Iterable[Named]) -> Iterator[Result]:
        """Each one's result, as it is done.

        Raises:
            WhisperctlError: the scheduler is gone; what was done is kept.
        """
        rest = iter(recordings)
        done = as_completed(with_results=True, raise_errors=False)  # fetched many at a time: one takes some 50 ms
        try:
            with self._workers_watched():
                yield from self._begin_some(rest, done)
                while self._waiting:
                    yield from self._finish(done.next_batch(), done)
                    yield from self._begin_some(rest, done)
        finally:
            self._client.cancel(list(self._waiting), force=True)

    @contextmanager
    def _workers_watched(self) -> Iterator[None]:
        """Meanwhile say when the cluster has no worker, and when it has one again."""
        over = threading.Event()

        def look() -> None:
            some = True
            while not over.is_set():
                try:
                    now = bool(self._client.nthreads())
                except (OSError, RuntimeError, TimeoutError, CancelledError):
                    return  # the scheduler is gone, which the run itself tells
                if now != some and not over.is_set():
                    some = now
                    self._listener.say("The cluster has workers again." if some else _NO_WORKERS)
                over.wait(_LOOK_SECONDS)

        threading.Thread(target=look, name="workers", daemon=True).start()
        try:
            yield
        finally:
            over.set()

    def _begin_some(self, rest: Iterator[Named], done: Any) -> Iterator[Result]:
        """Hand as many to the cluster as it is to have at once; the results of those that need none."""
        most = min(self._threads, self._leases * len(self._places)) + AHEAD
        while (room := most - len(self._waiting)) > 0:
            looked_at = [attempted(entry, self._to_send) for entry in islice(rest, min(room, _AT_ONCE))]
            self._send([sent for sent in looked_at if isinstance(sent, _Sent)], done)
            for result in looked_at:
                if not isinstance(result, _Sent):
                    self._listener.finished(result)
                    yield result
            if not looked_at:
                return

    def _to_send(self, recording: Recording) -> Skipped | _Sent:
        source = state(recording)
        if not (shapes := self._written.missing(recording, source)):
            return self._written.skipped(recording)
        return _Sent(recording, shapes, source, self._place())

    def _place(self) -> Place:
        """The endpoint that has the fewest recordings.

        Raises:
            WhisperctlError: none takes any more.
        """
        open_ones = [place for place in self._places if place not in self._closed]
        if not open_ones:
            raise WhisperctlError(f"was not tried: {next(iter(self._closed.values()))}")
        place = min(open_ones, key=lambda place: self._busy[place])
        self._busy[place] += 1
        return place

    def _send(self, ready: list[_Sent], done: Any) -> None:
        """Hand these to the cluster, in one step: each for itself takes it some milliseconds."""
        if ready:
            tasks = [
                ArchiveTask(recording=each.recording, options=self._asked, place=each.place, leases=self._leases)
                for each in ready
            ]
            futures = self._client.map(perform, tasks, pure=False, retries=0)
            self._waiting.update(zip(futures, ready, strict=True))
            done.update(futures)

    def _finish(self, ended: list[tuple[Any, Any]], done: Any) -> Iterator[Result]:
        """The results of tasks that have ended, without those that another endpoint is to do.

        Args:
            ended: futures, each with an `Answered`, or with what Dask says instead: of an error its type, itself and
                its traceback.
            done: gets the futures of what is sent again.

        Raises:
            WhisperctlError: the scheduler is gone.
        """
        finished = [(future, answered) for future, answered in ended if not self._is_lost(future, answered)]
        answers = [self._answer(self._waiting.pop(future), answered) for future, answered in finished]
        refused = [sent for sent, answered in answers if self._closes(sent, answered) and answered.has_failed]
        again = refused if len(self._closed) < len(self._places) else []
        self._send([replace(sent, place=self._place()) for sent in again], done)
        for result in self._write([(sent, answered) for sent, answered in answers if sent not in again]):
            if isinstance(result, Done):
                self._listener.advanced(result.transcript.duration or 0.0)
            self._listener.finished(result)
            yield result
        if len(finished) < len(ended):
            raise WhisperctlError(_SCHEDULER_GONE)

    def _is_lost(self, future: Any, answered: Any) -> bool:
        """Whether a task ended because the scheduler did."""
        return not isinstance(answered, Answered) and (self._client.status != "running" or future.status != "error")

    def _answer(self, sent: _Sent, answered: Any) -> tuple[_Sent, Answered]:
        """What a worker says of a recording, an error being its failure."""
        self._busy[sent.place] -= 1
        if not isinstance(answered, Answered):
            answered = Answered(sent.failed(answered[1]), None)
        return sent, answered

    def _closes(self, sent: _Sent, answered: Answered) -> bool:
        """Whether its endpoint gets nothing more: it refuses everybody, or answers nobody while there are others."""
        refused = answered.refused
        if answered.has_failed and set(self._places) - {*self._closed, sent.place}:
            refused = refused or answered.lost
        if refused:
            self._closed.setdefault(sent.place, refused)
        return refused is not None

    def _write(self, answers: list[tuple[_Sent, Answered]]) -> list[Result]:
        """Write the transcripts, then note all of them in one step, which waits for the disk."""
        try:
            with self._written.noting_at_once():
                return [self._result(sent, answered.result) for sent, answered in answers]
        except WhisperctlError as error:
            return [sent.failed(error) for sent, _ in answers]

    def _result(self, sent: _Sent, result: Result) -> Result:
        try:
            if isinstance(result, Done):
                self._written.write(sent.recording, sent.shapes, result.transcript, sent.source)
        except (WhisperctlError, OSError) as error:  # whatever it is, it is this recording's and no other's
            return sent.failed(error)
        return result


@dataclass(frozen=True, slots=True)
class _Sent:
    """A recording that the cluster has."""

    recording: Recording
    shapes: list[str]
    """The formats to write."""
    source: Source
    place: Place

    def failed(self, error: BaseException) -> Failed:
        """Its failure."""
        return Failed(name=self.recording.name, given=self.recording.given, reason=f"{error}".partition("\n")[0])


@contextmanager
def cluster(address: str, leases: int) -> Iterator[Any]:
    """A client of the cluster at `address`; `local` starts one in this machine, with a worker for each core.

    Raises:
        WhisperctlError: nobody answers there.
    """
    logging.getLogger("distributed").setLevel(SILENT)  # what goes wrong is told as results
    if address != LOCAL:
        try:
            with Client(address, timeout=10) as client:
                yield client
        except (OSError, ValueError) as error:
            raise WhisperctlError(f"No Dask scheduler answers at {address}: {error}.") from error
        return
    settings = {
        "distributed.scheduler.locks.lease-timeout": _LEASE_SECONDS,
        "distributed.scheduler.locks.lease-validation-interval": "2s",
        "distributed.deploy.lost-worker-timeout": _RESTART_SECONDS,
    }
    workers = max(2, len(os.sched_getaffinity(0)))
    threads = ceil(leases / workers)
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=threads,
            dashboard_address=None,
            # Without a dashboard, too, its scheduler listens for HTTP: else two archives would want one port.
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            silence_logs=SILENT,
            security=Security.temporary(),  # whoever reaches a scheduler may run code in it
        ) as local,
        Client(local, security=local.security) as client,
    ):
        client.register_plugin(LocalWorker())
        yield client
