"""Plain lines in which a long log does not bury what happens: an apply that is piped to a file or another program.

A server that fails to start prints some two thousand lines, three times. Of each object's log the first lines are
shown, then its newest once a minute, as in a CI job's folds; the report at the end has the cause and the last lines,
and `whisperctl logs` the whole. With `verbose` nothing is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from whisperctl.apply.events import Event, Message
from whisperctl.clock import Clock
from whisperctl.views.progress import counted
from whisperctl.views.sparse_logs import SAY_EVERY, LogOf, SparseLogs, log_of

SHOWN = 100
"""Log lines of each object that are shown as they come."""


@dataclass(slots=True)
class _Log:
    lines: int = 0
    left_out: int = 0
    said_at: float = 0.0


class LongLogs(SparseLogs):
    """Shows what happens, of each log the first SHOWN lines and then one a minute."""

    def __init__(self, clock: Clock, *, several: bool, color: bool, verbose: bool) -> None:
        super().__init__(clock, several=several, color=color, verbose=verbose)
        self._logs: dict[LogOf, _Log] = {}

    def _is_due(self, event: Message) -> bool:
        log = self._logs.setdefault(log_of(event), _Log())
        now = self.clock.monotonic()
        log.lines += 1
        if self.verbose or log.lines <= SHOWN or now - log.said_at >= SAY_EVERY:
            log.said_at = now
            return True
        log.left_out += 1
        if log.left_out == 1:
            self.show(self._line(event, f"the log goes on; after {SHOWN} lines a line a minute is shown (-v: all)"))
        return False

    def _end(self, event: Event) -> None:
        log = self._logs.pop(log_of(event), None)
        if log is not None and log.left_out:
            text = f"{counted(log.left_out)} not shown: `whisperctl logs` has them"
            self.show(self._line(event, text))
