"""Plain lines in which build logs fold: for the log viewers of GitHub Actions and GitLab CI.

Groups do not nest and would take in the lines of what runs beside a build, so a log is held and printed as one group
when its build ends. Meanwhile its newest line is said once a minute: a job is not silent while it builds, and one that
is killed leaves a trace.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from whisperctl.apply.events import Event, Message
from whisperctl.clock import Clock
from whisperctl.output import clean, workflow_command
from whisperctl.views.progress import counted
from whisperctl.views.sparse_logs import SAY_EVERY, LogOf, SparseLogs, log_of


@dataclass(slots=True)
class Log:
    """The lines of one build so far."""

    title: str
    begun: int
    """Seconds since 1970."""
    said_at: float
    lines: list[str] = field(default_factory=list)


Fold = Callable[[Log, int], str]
"""A log as one group that ends now, in seconds since 1970."""


class Folds(SparseLogs):
    """Holds each build's log, and prints it as a group."""

    def __init__(self, fold: Fold, clock: Clock, *, several: bool, color: bool, verbose: bool) -> None:
        super().__init__(clock, several=several, color=color, verbose=verbose)
        self.fold = fold
        self._open: dict[LogOf, Log] = {}

    def _is_due(self, event: Message) -> bool:
        """Hold a line of a log; whether it is to be said as well."""
        now = self.clock.monotonic()
        new = Log(title=f"{self.prefix(event)}{event.address}", begun=int(self.clock.time()), said_at=now)
        log = self._open.setdefault(log_of(event), new)
        log.lines.append(event.text)
        if now - log.said_at < SAY_EVERY:
            return False
        log.said_at = now
        return True

    def _end(self, event: Event) -> None:
        self._print(self._open.pop(log_of(event), None))

    def _print(self, log: Log | None) -> None:
        if log is not None:
            workflow_command(self.fold(log, int(self.clock.time())), sys.stderr)

    def close(self) -> None:
        """Print what is held: of builds that were cut off."""
        with self._lock:
            while self._open:
                self._print(self._open.popitem()[1])


def github(log: Log, _now: int) -> str:
    """A group of GitHub Actions."""
    return f"::group::{_title(log)}\n{_body(log)}\n::endgroup::"


def gitlab(log: Log, now: int) -> str:
    """A collapsed section of GitLab CI."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", f"{log.title}_{log.begun}".strip("["))
    start = f"\x1b[0Ksection_start:{log.begun}:{name}[collapsed=true]\r\x1b[0K{_title(log)}"
    return f"{start}\n{_body(log)}\n\x1b[0Ksection_end:{now}:{name}\r\x1b[0K"


def _title(log: Log) -> str:
    return f"{clean(log.title)}: {counted(len(log.lines))}"


def _body(log: Log) -> str:
    return "\n".join(clean(f"| {line}") for line in log.lines)
