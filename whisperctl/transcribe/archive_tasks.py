"""What a worker of the cluster does: a recording's task, where it is sent to, and the leases that bound how many.

A worker takes the token from its own environment: tasks hold none.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from distributed import Semaphore, WorkerPlugin

from whisperctl.clock import SystemClock
from whisperctl.endpoint.client import Endpoint
from whisperctl.endpoint.readiness import EndpointWaker
from whisperctl.errors import WhisperctlError
from whisperctl.transcribe.batch import Batch
from whisperctl.transcribe.options import TranscriptOptions
from whisperctl.transcribe.pace import MOST
from whisperctl.transcribe.recordings import Recording
from whisperctl.transcribe.results import Failed, Result
from whisperctl.transcribe.retries import RetryingEndpoint
from whisperctl.transcribe.servers import Server

_IDLE_SECONDS = 0.5
"""Seconds for which a worker keeps a lease that it has no use for."""
SILENT = logging.CRITICAL + 1
"""Above what Dask logs, too, when a lease ran out on a busy machine."""


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
class ArchiveTask:
    """One recording, as a worker gets it."""

    recording: Recording
    options: TranscriptOptions
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

    @property
    def has_failed(self) -> bool:
        """Whether there is no transcript."""
        return isinstance(self.result, Failed)


class _Silent:
    """Hears nothing: the client tells of results."""

    def opened(self, recording: Recording, seconds: float | None) -> None: ...
    def advanced(self, seconds: float) -> None: ...
    def finished(self, result: Result) -> None: ...
    def paced(self, level: int) -> None: ...
    def say(self, line: str) -> None: ...


def perform(task: ArchiveTask) -> Answered:
    """Transcribe one recording, in a worker."""
    batch, leases = _batch(task.options, task.place), _leases(task.place.url, task.leases)
    with leases.one():
        answered = Answered(batch.result(task.recording), batch.refused, batch.lost)
    if answered.has_failed:
        _batch.cache_clear()  # what this worker knows of the endpoint may be over by the next task or run
    return answered


@cache
def _batch(options: TranscriptOptions, place: Place) -> Batch:
    """What this worker's threads share: connections, and what the endpoint refuses. Leases bound what is in flight."""
    endpoint, clock = _endpoint(place), SystemClock()
    waker = EndpointWaker(endpoint, None, clock, place.wake_timeout, lambda _line: None)
    server = Server(RetryingEndpoint(endpoint, clock, waker), place.model)
    return Batch(options, [server], MOST, clock, _Silent(), spool=Path(tempfile.gettempdir()))


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

    def __init__(self, semaphore: Semaphore) -> None:
        self._semaphore, self._lock = semaphore, threading.Lock()
        self._idle: list[float] = []
        """When each lease that nobody uses was given back, the latest last."""
        self._watches = self._closed = False

    @contextmanager
    def one(self) -> Iterator[None]:
        """Have a lease meanwhile."""
        with self._lock:
            reused = bool(self._idle)
            if reused:
                self._idle.pop()
        if not reused:
            self._semaphore.acquire()
        try:
            yield
        finally:
            with self._lock:
                self._idle.append(time.monotonic())
                if not self._watches:
                    self._watches = True
                    threading.Thread(target=self._let_go, name="leases", daemon=True).start()

    def close(self) -> None:
        """Ask the scheduler for nothing more: it forgets leases that nobody renews."""
        with self._lock:
            self._closed = True
        self._semaphore.refresh_callback.stop()

    def _let_go(self) -> None:
        """Give back to the cluster what nobody here has used for a while."""
        while True:
            time.sleep(_IDLE_SECONDS)
            with self._lock:
                if self._closed:
                    return
                old = sum(since < time.monotonic() - _IDLE_SECONDS for since in self._idle)
                del self._idle[:old]
                self._watches = bool(self._idle) or bool(old)
                ends = not self._watches
            for _ in range(old):
                self._semaphore.release()
            if ends:
                return


_opened: dict[tuple[str, int], _Leases] = {}
_opening = threading.Lock()


def _leases(url: str, count: int) -> _Leases:
    """This worker's leases of the endpoint at `url`, of which the cluster has `count`.

    A cluster refuses a semaphore's name with another count than the one that it was first used with.
    """
    with _opening:
        if (url, count) not in _opened:
            _opened[url, count] = _Leases(Semaphore(max_leases=count, name=f"whisperctl {count} {url}"))
        return _opened[url, count]


class LocalWorker(WorkerPlugin):
    """A worker of a cluster that this machine has for one run: what goes wrong is told as results, not logged."""

    name = "whisperctl"

    def setup(self, worker: Any) -> None:  # noqa: ARG002
        """Log nothing to the terminal, which is the client's."""
        for logger in ("distributed", "tornado.application"):
            logging.getLogger(logger).setLevel(SILENT)

    def teardown(self, worker: Any) -> None:  # noqa: ARG002
        """Leave the leases alone: the scheduler goes as well."""
        with _opening:
            for leases in _opened.values():
                leases.close()
