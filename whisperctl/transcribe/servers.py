"""The endpoints that share a run's pieces: each goes where there is room, and elsewhere if that endpoint is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from whisperctl.clock import Clock
from whisperctl.endpoint.transcription import Ask
from whisperctl.errors import Interrupted, Unreachable, WhisperctlError
from whisperctl.transcribe.asking import Asker
from whisperctl.transcribe.pace import Pace
from whisperctl.transcribe.results import Listener
from whisperctl.transcribe.retries import RetryingEndpoint
from whisperctl.transcribe.slots import Slots
from whisperctl.transcribe.uploads import Encoding

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Server:
    """One endpoint."""

    retrying: RetryingEndpoint
    """Sends requests."""
    model: str
    """Its name for the model."""


class Servers:
    """Some endpoints; safe to share between threads."""

    def __init__(
        self,
        servers: Sequence[Server],
        parallelism: int | None,
        clock: Clock,
        listener: Listener,
        *,
        needs_times: bool,
        encoding: Encoding,
    ) -> None:
        """Send nothing yet.

        Args:
            servers: at least one.
            parallelism: how many requests each has in flight at most; None finds that out.
            clock: times them.
            listener: is told how it goes.
            needs_times: whether segments are wanted for themselves.
            encoding: of what is sent.
        """
        self._servers, self._listener = servers, listener
        self._slots = Slots([Pace(parallelism) for _ in servers], clock, listener.paced)
        self._askers = [
            Asker(one.retrying, listener.say, needs_times=needs_times, encoding=encoding) for one in servers
        ]
        self._lock, self._left = threading.Lock(), set[int]()
        self._clock, self._thread = clock, threading.local()
        self.lost: str | None = None
        """Why an endpoint answered nobody any more, if one did."""
        for number, one in enumerate(servers):
            one.retrying.tell(partial(self._seen, number))

    @property
    def most(self) -> int:
        """Requests that will ever be in flight."""
        return self._slots.most

    @property
    def refused(self) -> str | None:
        """Why nothing more is sent to any of them, or None."""
        reasons = [asker.refused for number, asker in enumerate(self._askers) if number not in self._left]
        return reasons[0] if all(reasons) else None

    def slot(self) -> Slot:
        """A slot of the endpoint that has the most room, as soon as there is one.

        Raises:
            Interrupted: `stop` was called.
        """
        return Slot(self, self._slots.take(), self._clock.monotonic())

    def stop(self) -> None:
        """Let nobody wait, and send nothing more."""
        self._slots.stop()
        for one in self._servers:
            one.retrying.stop()

    def ask(self, slot: Slot, ask: Ask, send: Callable[[Asker, Ask], T]) -> T:
        """What `send` gets from the endpoint of `slot`, or from another one if that answers nobody any more.

        Raises:
            WhisperctlError: what the only endpoint, or the last one, failed with.
        """
        while True:
            number = slot.number
            asker = self._askers[number]
            self._thread.taken = slot.taken
            try:
                return send(asker, replace(ask, model=self._servers[number].model))
            except Interrupted:
                raise
            except WhisperctlError as error:
                lost = isinstance(error, Unreachable) or self._servers[number].retrying.is_lost
                if lost:
                    self.lost = f"{error}"
                if not (asker.refused or lost) or not self._slots.close(number):
                    raise
                self._leave(number, error)
            slot.give_back()
            slot.number, slot.taken = self._slots.take(), self._clock.monotonic()

    def give_back(self, number: int) -> None:
        """Let somebody else have a slot of that endpoint."""
        self._slots.give_back(number)

    def _seen(self, number: int, begun: float, status: int) -> None:
        """Count a request from when its slot was taken: on a busy machine it is sent later, and the slot is in use."""
        taken, self._thread.taken = getattr(self._thread, "taken", None), None
        self._slots.seen(number, begun if taken is None else taken, status)

    def _leave(self, number: int, error: WhisperctlError) -> None:
        with self._lock:
            known = number in self._left
            self._left.add(number)
        if not known:
            self._listener.say(f"{self._servers[number].retrying.endpoint.url} gets no more: {error}")


@dataclass(slots=True)
class Slot:
    """Leave to have one request in flight."""

    servers: Servers
    number: int
    """Of the endpoint; -1 once it was given back."""
    taken: float
    """Seconds, when it was taken."""

    def give_back(self) -> None:
        """Let somebody else have it; a second time does nothing."""
        number, self.number = self.number, -1
        if number >= 0:
            self.servers.give_back(number)
