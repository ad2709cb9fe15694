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
from asyncio import CancelledError
from collections.abc import Iterable, Iterator
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
from whisperctl.transcribe.ledger import Ledger, Source
from whisperctl.transcribe.recordings import Missing, Named, Recording, looks_recorded
from whisperctl.transcribe.results import Done, Failed, Listener, PassedOver, Result
from whisperctl.transcribe.retries import Patient
from whisperctl.transcribe.wishes import Wishes
from whisperctl.transcribe.written import Written

LOCAL = "local"
LEASES = 64
"""Requests in flight in all, unless `--parallelism` says otherwise."""
_LEASE_SECONDS = "10s"
"""After which a killed worker's lease is another's."""
AHEAD = 8
"""Tasks that the cluster has besides those that run, at most: what it has is lost with it, and paid for again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where the workers send to; holds no secret."""

    url: str
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


class _Silent:
    """Hears nothing: the client tells of results."""

    def opened(self, recording: Recording, seconds: float | None) -> None: ...
    def heard(self, seconds: float) -> None: ...
    def finished(self, result: Result) -> None: ...
    def paced(self, level: int) -> None: ...
    def say(self, line: str) -> None: ...


def perform(task: Task) -> Answered:
    """Transcribe one recording, in a worker."""
    semaphore, clock = _semaphore(task.place.url, task.leases), SystemClock()
    semaphore.acquire()
    try:
        endpoint = _endpoint(task.place)
        alarm = Alarm(endpoint, None, clock, task.place.wake_timeout, lambda _line: None)
        patient = Patient(endpoint, clock, alarm)
        batch = Batch(task.wishes, patient, 1, clock, _Silent(), spool=Path(tempfile.gettempdir()))
        (result,) = batch.run([task.recording])
        return Answered(result, batch.refused)
    finally:
        semaphore.release()


@cache
def _endpoint(place: Place) -> Endpoint:
    """This worker's endpoint, with its connections."""
    token = next((os.environ[name] for name in place.variables if os.environ.get(name)), None)
    if place.variables and token is None:
        raise WhisperctlError(f"The worker's environment has no {' or '.join(place.variables)}.")
    bare = token.strip().removeprefix("Token ").strip() if token else None
    return Endpoint(place.url, bare, place.timeout, home=place.home)


@cache
def _semaphore(url: str, leases: int) -> Any:
    from distributed import Semaphore

    return Semaphore(max_leases=leases, name=f"whisperctl {url}")


class Archive:
    """One run on one cluster."""

    def __init__(
        self, wishes: Wishes, place: Place, leases: int, cluster: Any, listener: Listener, ledger: Ledger | None
    ) -> None:
        """Begin nothing yet.

        Args:
            wishes: what to make of each recording, with an output folder.
            place: the endpoint.
            leases: requests in flight at it, of all who use the cluster.
            cluster: a `distributed.Client`.
            listener: is told how it goes.
            ledger: of the output folder.
        """
        self._client, self._listener, self._place, self._leases = cluster, listener, place, leases
        self._written = Written(wishes, ledger)
        self._asked = replace(wishes, folder=None, overwrite=False)
        self._threads = int(sum(cluster.nthreads().values()))
        self._refused: str | None = None
        self._waiting: dict[Any, tuple[Recording, list[str], Source]] = {}

    def run(self, found: Iterable[Named]) -> Iterator[Result]:
        """Each one's result, as it is done.

        Raises:
            WhisperctlError: the scheduler is gone; what was done is kept.
        """
        from distributed import as_completed

        rest = iter(found)
        done = as_completed()
        try:
            for one in rest:
                yield from self._begin(one, done)
                if len(self._waiting) >= self._ahead():
                    break
            while self._waiting:
                yield self._finish(next(done))
                for one in rest:
                    yield from self._begin(one, done)
                    if len(self._waiting) >= self._ahead():
                        break
        finally:
            self._client.cancel(list(self._waiting), force=True)

    def _ahead(self) -> int:
        """Recordings that the scheduler has at once, at most."""
        return min(self._threads, self._leases) + AHEAD

    def _begin(self, one: Named, done: Any) -> Iterator[Result]:
        """Hand `one` to the cluster; its result, if it needs none."""
        try:
            settled = self._settled(one)
        except (WhisperctlError, OSError) as error:
            settled = Failed(name=one.name, given=one.given, reason=str(error))
        if isinstance(settled, tuple):
            recording, shapes, source = settled
            task = Task(recording=recording, wishes=self._asked, place=self._place, leases=self._leases)
            future = self._client.submit(perform, task, pure=False, retries=0)
            self._waiting[future] = (recording, shapes, source)
            done.add(future)
        else:
            self._listener.finished(settled)
            yield settled

    def _settled(self, one: Named) -> Result | tuple[Recording, list[str], Source]:
        if isinstance(one, Missing):
            return Failed(name=one.name, given=one.given, reason=one.reason)
        if one.folder is not None and not looks_recorded(one):
            return PassedOver(recording=one)
        source = state(one)
        if not (shapes := self._written.missing(one, source)):
            return self._written.skipped(one)
        if self._refused:
            raise WhisperctlError(f"was not tried: {self._refused}")
        return one, shapes, source

    def _finish(self, future: Any) -> Result:
        recording, shapes, source = self._waiting.pop(future)
        result = self._result(future, recording, shapes, source)
        if isinstance(result, Done):
            self._listener.heard(result.transcript.duration or 0.0)
        self._listener.finished(result)
        return result

    def _result(self, future: Any, recording: Recording, shapes: list[str], source: Source) -> Result:
        try:
            answered: Answered = future.result()  # one whose worker was killed before it could tell is done again
            self._refused = self._refused or answered.refused
            if isinstance(answered.result, Done):
                self._written.write(recording, shapes, answered.result.transcript, source)
        except (Exception, CancelledError) as error:  # whatever it is, it is this recording's and no other's
            if isinstance(error, CancelledError) or self._client.status != "running":
                raise WhisperctlError(
                    "The cluster's scheduler is gone. What was done is kept: run the same command again."
                ) from error
            return Failed(name=recording.name, given=recording.given, reason=f"{error}".partition("\n")[0])
        return answered.result


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
    logging.getLogger("distributed").setLevel(logging.ERROR)
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
            silence_logs=logging.ERROR,
            security=Security.temporary(),  # whoever reaches a scheduler may run code in it
        ) as local,
        Client(local, security=local.security) as client,
    ):
        yield client
