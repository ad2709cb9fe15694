"""What a version's instances say in their logs while they start: failed starts, and the last lines.

Only reads. A log that cannot be read decides nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from whisperctl.apply.job import Job
from whisperctl.apply.polling import PAUSE_EACH
from whisperctl.clock import latest_moment
from whisperctl.control.api import Json
from whisperctl.errors import ApiError, Unhealthy
from whisperctl.state.resources import Address

LOG_LINES = 20
FAILED_START = "ServerFailed: "
"""In the log of a package whose server did not come up: the exception that it raises (templates/deployment.py)."""
WORDS = "Its last log lines:"
"""Follows in that exception's text, with the server's own lines indented below."""
MOST_FAILED_STARTS = 3
"""After as many there is no point in waiting: UbiOps would start the instance again and again."""
FIRST_LOOK, LOOK_EVERY = 5.0, 15.0
"""Seconds before the log is first searched for failed starts, and between two searches."""


class Starts:
    """The server's failed starts since this was made, as the instances' logs tell: each is said, too many are an error.

    UbiOps restarts an instance whose package does not start, for ever and without a word.
    """

    def __init__(self, job: Job, address: Address) -> None:
        self.job, self.address = job, address
        self.since, self.failed = int(job.clock.time() * 1e9), 0
        self.next_look = job.clock.monotonic() + FIRST_LOOK

    def look(self) -> None:
        """Search the log, now and then.

        Raises:
            Unhealthy: the server has failed to start MOST_FAILED_STARTS times; with the log lines of the last time.
        """
        clock = self.job.clock
        if clock.monotonic() < self.next_look:
            return
        self.next_look = clock.monotonic() + LOOK_EVERY + PAUSE_EACH * clock.waits
        failures = self._failures()
        if not failures:
            return
        reason = self._text(failures[:1]).partition(FAILED_START)[2].partition("\n")[0].strip()
        if len(failures) >= MOST_FAILED_STARTS:
            raise Unhealthy(
                f"{self.address}: the server failed to start {MOST_FAILED_STARTS} times: {reason}"
                + self._last_words(failures[0]["timestamp"])
                + "\n  `whisperctl logs` shows more. Mend the cause and apply again."
            )
        if len(failures) > self.failed:
            self.failed = len(failures)
            self.job.say(self.address, f"the server failed to start and is started again: {reason}")

    def _failures(self) -> list[Json]:
        """Log entries of the failures, newest first; none also when the log cannot be read: that decides nothing."""
        query = f"{own_lines(self.job)} |= `{FAILED_START}`"
        return self._entries(query, latest_moment(self.job.clock), self.since, MOST_FAILED_STARTS)

    def _last_words(self, failed_at: int) -> str:
        """What the server itself said last before the failure of that nanosecond."""
        entries = self._entries(own_lines(self.job), failed_at, latest_moment(self.job.clock), 500)
        lines = self._text(entries).partition(WORDS)[2].splitlines()[1:]
        said = list(itertools.takewhile(lambda line: line.startswith("  ") or not line, lines))[-LOG_LINES:]
        return "\n  The server's last log lines:\n" + "\n".join(f"    {line[2:]}" for line in said) if said else ""

    def _text(self, entries: Sequence[Json]) -> str:
        return "\n".join(line for entry in entries for line in self.job.foreign(entry["log"]))

    def _entries(self, query: str, start: int, end: int, limit: int) -> list[Json]:
        try:
            return self.job.api.logs(query, start, end, limit)
        except ApiError:
            return []


def own_lines(job: Job) -> str:
    """The query for what the instances of the version print."""
    return lines_of(job.deployment, job.version)


def lines_of(deployment: str, version: str) -> str:
    """The query for what the instances of a version print."""
    return f"| deployment_name=`{deployment}` and deployment_version=`{version}`"


def last_logs(job: Job) -> str:
    """The end of the version's log, as part of a message; empty when there is none."""
    now = job.clock.time()
    try:
        entries = job.api.logs(own_lines(job), latest_moment(job.clock), int((now - 3600) * 1e9), LOG_LINES)
    except ApiError as error:
        return f"\n  (no logs: {error.reason})"
    lines = [line for entry in reversed(entries) for line in job.foreign(entry["log"])]
    return "\n  The last log lines:\n" + "\n".join(f"    {line}" for line in lines) if lines else ""
