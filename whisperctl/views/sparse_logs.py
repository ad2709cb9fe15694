"""Plain lines that show of each object's log only what is due, however long it is."""

from __future__ import annotations

from abc import abstractmethod

from whisperctl.apply.events import Event, Message, OperationStarted
from whisperctl.clock import Clock
from whisperctl.state.resources import Address
from whisperctl.views.progress import EventLines, about

SAY_EVERY = 60.0
"""Seconds between the lines said of a log of which not all are shown."""
LogOf = tuple[str, Address]
"""The stack and the object whose log it is."""


def log_of(event: Event) -> LogOf:
    """The log that a line belongs to, or that ends with its operation."""
    return event.stack, about(event)


class SparseLogs(EventLines):
    """Says what happens; of logs what `_is_due`."""

    def __init__(self, clock: Clock, *, several: bool, color: bool, verbose: bool) -> None:
        super().__init__(several=several, color=color, verbose=verbose)
        self.clock = clock

    def __call__(self, event: Event) -> None:
        """Say what happened, but a line of a log only now and then."""
        with self._lock:
            if isinstance(event, Message):
                if event.level == "log" and not self._is_due(event):
                    return
            elif not isinstance(event, OperationStarted):
                self._end(event)
            super().__call__(event)

    @abstractmethod
    def _is_due(self, event: Message) -> bool:
        """Whether this line of a log is said."""

    @abstractmethod
    def _end(self, event: Event) -> None:
        """Before it is said that an operation ended: its log, if there was one, is complete."""
