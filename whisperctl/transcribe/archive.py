"""Archives: recordings as the tasks of a Dask cluster. The only module here that knows Dask.

A task is one recording, whose pieces are sent one after the other; a semaphore of the cluster bounds how many are in
flight at the endpoint, whoever uses the cluster. What a worker returns is a transcript: the client alone writes it, in
one step, and then its line in the ledger. So a killed worker's recordings go to another worker, and after a killed
client or scheduler the next run does what is not there; paid for twice is only what was in flight.

A worker takes the token from its own environment: tasks hold none. Local paths must lead to the same files everywhere.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any

from whisperctl.clock import SystemClock
from whisperctl.endpoint.client import Endpoint
from whisperctl.endpoint.readiness import Alarm
from whisperctl.errors import WhisperctlError
from whisperctl.transcribe.batch import Batch, state
from whisperctl.transcribe.ledger import Source
from whisperctl.transcribe.outputs import Output
from whisperctl.transcribe.pace import MOST
from whisperctl.transcribe.recordings import Missing, Named, Recording, looks_recorded
from whisperctl.transcribe.results import Done, Failed, Listener, PassedOver, Result
from whisperctl.transcribe.retries import Patient
from whisperctl.transcribe.servers import Server
from whisperctl.transcribe.wishes import Wishes
from whisperctl.transcribe.written import Written

LOCAL = "local"
LEASES = 64
"""Requests in flight in all, unless `--parallelism` says otherwise."""
_LEASE_SECONDS = "10s"
"""After which a killed worker's lease is another's."""
_KEPT = 0.5
"""Seconds for which a worker keeps a lease that it has no use for."""
AHEAD = 8
"""Tasks that the cluster has besides those that run, at most: what it has is lost with it, and paid for again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where the workers send to; holds no secret."""

    url: str
    model: str
    """The endpoint's name for the model."""
    home: str
    """Address of the API that named it."""
    timeout: float
    wake_timeout: float
    variables: tuple[str, ...]
    """Environment variables that may hold the token, the first one first; none for a public service."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One recording, as a worker gets it."""

    recording: Recording
    wishes: Wishes
    place: Place
    leases: int


@dataclass(frozen=True, slots=True)
class Answered:
    """What a worker returns."""

    result: Result
    refused: str | None
    """Why nothing more is to be sent."""
    lost: str | None = None
    """Why the endpoint answered nobody any more."""


class _Silent:
    """Hears nothing: the client tells of results."""

    def opened(self, recording: Recording, seconds: float | None) -> None: ...
    def heard(self, seconds: float) -> None: ...
    def finished(self, result: Result) -> None: ...
    def paced(self, level: int) -> None: ...
    def say(self, line: str) -> None: ...


def perform(task: Task) -> Answered:
    """Transcribe one recording, in a worker."""
    batch, leases = _batch(task.wishes, task.place), _leases(task.place.url, task.leases)
    with leases.one():
        answered = Answered(batch.result(task.recording), batch.refused, batch.lost)
    if isinstance(answered.result, Failed):
        _batch.cache_clear()  # what this worker knows of the endpoint may be over by the next task or run
    return answered


@cache
def _batch(wishes: Wishes, place: Place) -> Batch:
    """What this worker's threads share: connections, and what the endpoint refuses. Leases bound what is in flight."""
    endpoint, clock = _endpoint(place), SystemClock()
    alarm = Alarm(endpoint, None, clock, place.wake_timeout, lambda _line: None)
    server = Server(Patient(endpoint, clock, alarm), place.model)
    return Batch(wishes, [server], MOST, clock, _Silent(), spool=Path(tempfile.gettempdir()))


@cache
def _endpoint(place: Place) -> Endpoint:
    """This worker's endpoint, with its connections."""
    token = next((os.environ[name] for name in place.variables if os.environ.get(name)), None)
    if place.variables and token is None:
        raise WhisperctlError(f"The worker's environment has no {' or '.join(place.variables)}.")
    bare = token.strip().removeprefix("Token ").strip() if token else None
    return Endpoint(place.url, bare, place.timeout, home=place.home)


class _Leases:
    """This worker's leases of the cluster's semaphore, kept for a moment: getting one takes as long as a short file."""

    def __init__(self, semaphore: Any) -> None:
        self._semaphore, self._lock = semaphore, threading.Lock()
        self._idle: list[float] = []
        """When each lease that nobody uses was given back, the latest last."""
        self._watches = False

    @contextmanager
    def one(self) -> Iterator[None]:
        """Have a lease meanwhile."""
        with self._lock:
            kept = bool(self._idle) and bool(self._idle.pop())
        if not kept:
            self._semaphore.acquire()
        try:
            yield
        finally:
            with self._lock:
                self._idle.append(time.monotonic())
                if not self._watches:
                    self._watches = True
                    threading.Thread(target=self._let_go, name="leases", daemon=True).start()

    def _let_go(self) -> None:
        """Give back to the cluster what nobody here has used for a while."""
        while True:
            time.sleep(_KEPT)
            with self._lock:
                old = sum(since < time.monotonic() - _KEPT for since in self._idle)
                del self._idle[:old]
                self._watches = bool(self._idle) or bool(old)
                ends = not self._watches
            for _ in range(old):
                self._semaphore.release()
            if ends:
                return


@cache
def _leases(url: str, count: int) -> _Leases:
    from distributed import Semaphore

    return _Leases(Semaphore(max_leases=count, name=f"whisperctl {url}"))


class Archive:
    """One run on one cluster."""

    def __init__(
        self,
        wishes: Wishes,
        places: Sequence[Place],
        leases: int,
        cluster: Any,
        listener: Listener,
        output: Output | None,
    ) -> None:
        """Begin nothing yet.

        Args:
            wishes: what to make of each recording.
            places: the endpoints, at least one.
            leases: requests in flight at each, of all who use the cluster.
            cluster: a `distributed.Client`.
            listener: is told how it goes.
            output: where transcripts are written.
        """
        self._client, self._listener, self._leases = cluster, listener, leases
        self._written = Written(wishes, output)
        self._asked = replace(wishes, overwrite=False)
        self._threads = int(sum(cluster.nthreads().values()))
        self._places, self._closed = places, dict[Place, str]()
        self._waiting: dict[Any, _Sent] = {}

    def run(self, recordings: Iterable[Named]) -> Iterator[Result]:
        """Each one's result, as it is done.

        Raises:
            WhisperctlError: the scheduler is gone; what was done is kept.
        """
        from distributed import as_completed

        rest = iter(recordings)
        done = as_completed(with_results=True, raise_errors=False)  # fetched many at a time: one takes some 50 ms
        try:
            yield from self._begin_some(rest, done)
            while self._waiting:
                future, answered = next(done)
                yield from self._finish(future, answered, done)
                yield from self._begin_some(rest, done)
        finally:
            self._client.cancel(list(self._waiting), force=True)

    def _begin_some(self, rest: Iterator[Named], done: Any) -> Iterator[Result]:
        """Hand as many to the cluster as it is to have at once; the results of those that need none."""
        most = min(self._threads, self._leases * len(self._places)) + AHEAD
        while len(self._waiting) < most and (one := next(rest, None)) is not None:
            try:
                settled = self._settled(one)
            except (WhisperctlError, OSError) as error:
                settled = Failed(name=one.name, given=one.given, reason=str(error))
            if isinstance(settled, _Sent):
                self._send(settled, done)
            else:
                self._listener.finished(settled)
                yield settled

    def _settled(self, one: Named) -> Result | _Sent:
        if isinstance(one, Missing):
            return Failed(name=one.name, given=one.given, reason=one.reason)
        if one.folder is not None and not looks_recorded(one):
            return PassedOver(recording=one)
        source = state(one)
        if not (shapes := self._written.missing(one, source)):
            return self._written.skipped(one)
        return _Sent(one, shapes, source, self._place())

    def _place(self) -> Place:
        """The endpoint that has the fewest recordings.

        Raises:
            WhisperctlError: none takes any more.
        """
        open_ones = [place for place in self._places if place not in self._closed]
        if not open_ones:
            raise WhisperctlError(f"was not tried: {next(iter(self._closed.values()))}")
        busy = Counter(sent.place for sent in self._waiting.values())
        return min(open_ones, key=lambda place: busy[place])

    def _send(self, sent: _Sent, done: Any) -> None:
        task = Task(recording=sent.recording, wishes=self._asked, place=sent.place, leases=self._leases)
        future = self._client.submit(perform, task, pure=False, retries=0)
        self._waiting[future] = sent
        done.add(future)

    def _finish(self, future: Any, answered: Any, done: Any) -> Iterator[Result]:
        """The result of a task that has ended; none if its endpoint refuses everybody and another one is to do it."""
        sent = self._waiting.pop(future)
        result, refused = self._result(future, answered, sent)
        lost = answered.lost if isinstance(answered, Answered) and isinstance(result, Failed) else None
        if lost and set(self._places) - {*self._closed, sent.place}:
            refused = refused or lost
        if refused:
            self._closed.setdefault(sent.place, refused)
            if isinstance(result, Failed) and len(self._closed) < len(self._places):
                self._send(replace(sent, place=self._place()), done)
                return
        if isinstance(result, Done):
            self._listener.heard(result.transcript.duration or 0.0)
        self._listener.finished(result)
        yield result

    def _result(self, future: Any, answered: Any, sent: _Sent) -> tuple[Result, str | None]:
        """The result of a task, and why its endpoint takes no more.

        Args:
            future: of the task.
            answered: an `Answered`, or what Dask says instead: of an error its type, itself and its traceback.
            sent: what the task was for.
        """
        if self._client.status != "running" or future.status not in ("finished", "error"):
            raise WhisperctlError("The cluster's scheduler is gone. What was done is kept: run the same command again.")
        if not isinstance(answered, Answered):
            return self._failed(sent, answered[1]), None
        try:
            if isinstance(answered.result, Done):
                self._written.write(sent.recording, sent.shapes, answered.result.transcript, sent.source)
        except (WhisperctlError, OSError) as error:  # whatever it is, it is this recording's and no other's
            return self._failed(sent, error), None
        return answered.result, answered.refused

    def _failed(self, sent: _Sent, error: BaseException) -> Failed:
        return Failed(name=sent.recording.name, given=sent.recording.given, reason=f"{error}".partition("\n")[0])


@dataclass(frozen=True, slots=True)
class _Sent:
    """A recording that the cluster has."""

    recording: Recording
    shapes: list[str]
    """The formats to write."""
    source: Source
    place: Place


@contextmanager
def cluster(address: str, leases: int) -> Iterator[Any]:
    """A client of the cluster at `address`; `local` starts one in this machine, with a worker for each core.

    Raises:
        WhisperctlError: Dask is not installed, or nobody answers there.
    """
    try:
        import dask
        from distributed import Client, LocalCluster
        from distributed.security import Security
    except ImportError as error:
        raise WhisperctlError("--cluster needs Dask.\n  `pip install 'whisperctl-ubiops[archive]'`.") from error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what goes wrong is told as results
    settings = {"distributed.scheduler.locks.lease-timeout": _LEASE_SECONDS}
    if address != LOCAL:
        try:
            with Client(address, timeout=10) as client:
                yield client
        except (OSError, ValueError) as error:
            raise WhisperctlError(f"No Dask scheduler answers at {address}: {error}.") from error
        return
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
            silence_logs=logging.CRITICAL,
            security=Security.temporary(),  # whoever reaches a scheduler may run code in it
        ) as local,
        Client(local, security=local.security) as client,
    ):
        yield client
