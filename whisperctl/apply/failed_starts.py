"""What a version's instances say in their logs while they start: the lines as they come, failed starts, their cause.

Only reads. A log that cannot be read decides nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from whisperctl.apply.context import ApplyContext
from whisperctl.apply.polling import PAUSE_EACH
from whisperctl.clock import latest_moment
from whisperctl.control.api import Api, Json
from whisperctl.errors import ApiError, Unhealthy
from whisperctl.output import blank
from whisperctl.serving.failures import Cause, first_cause
from whisperctl.state.resources import Address
from whisperctl.untrusted import printable_lines

LOG_LINES = 20
PAGE = 5000
"""Lines that UbiOps gives at most in one answer."""
FAILED_START = "ServerFailed: "
"""In the log of a package whose server did not come up: the exception that it raises (templates/deployment.py)."""
WORDS = "Its last log lines:"
"""Follows in that exception's text, with the server's own lines indented below."""
MOST_FAILED_STARTS = 3
"""After as many there is no point in waiting: UbiOps would start the instance again and again."""
FIRST_LOOK, LOOK_EVERY = 2.0, 5.0
"""Seconds before the log is first read, and between two readings."""


class Starts:
    """The starts since this was made, as the instances' logs tell: each line is told, too many failures are an error.

    UbiOps restarts an instance whose package does not start, for ever and without a word.
    """

    def __init__(self, context: ApplyContext, address: Address) -> None:
        self.context, self.address = context, address
        self.since, self.failed = int(context.clock.time() * 1e9), 0
        self.shown_until = self.since
        self.next_look = context.clock.monotonic() + FIRST_LOOK

    def look(self) -> None:
        """Tell what is new in the log, now and then, and search it for failed starts.

        Raises:
            Unhealthy: the server has failed to start MOST_FAILED_STARTS times; with the cause of the last time.
        """
        clock = self.context.clock
        if clock.monotonic() < self.next_look:
            return
        self.next_look = clock.monotonic() + LOOK_EVERY + PAUSE_EACH * clock.waits
        if not self._tell_new_lines():
            return
        failures = self._failures()
        if not failures:
            return
        reason = self._text(failures[:1]).partition(FAILED_START)[2].partition("\n")[0].strip()
        cause = self._cause(failures)
        if len(failures) >= MOST_FAILED_STARTS:
            raise Unhealthy(
                f"{self.address}: the server failed to start {MOST_FAILED_STARTS} times: {reason}"
                + cause_text(cause)
                + self._last_words(failures[0]["timestamp"])
                + "\n  `whisperctl logs --instance` shows the rest. Mend the cause and apply again."
            )
        if len(failures) > self.failed:
            self.failed = len(failures)
            why = f"{reason} {cause.error}" if cause else reason
            self.context.say(self.address, f"the server failed to start and is started again: {why}")

    def _tell_new_lines(self) -> bool:
        """Tell the lines since the last look; whether there were any."""
        entries = self._entries(own_lines(self.context), self.shown_until, latest_moment(self.context.clock), PAGE)
        for entry in entries:
            self.shown_until = max(self.shown_until, int(entry["timestamp"]) + 1)
            for line in self.context.redacted(entry["log"]):
                self.context.log(self.address, line)
        return bool(entries)

    def _failures(self) -> list[Json]:
        """Log entries of the failures, newest first; none also when the log cannot be read: that decides nothing."""
        query = f"{own_lines(self.context)} |= `{FAILED_START}`"
        return self._entries(query, latest_moment(self.context.clock), self.since, MOST_FAILED_STARTS)

    def _cause(self, failures: Sequence[Json]) -> Cause | None:
        """Of the newest failure: what stands between the one before and it."""
        begun = int(failures[1]["timestamp"]) + 1 if len(failures) > 1 else self.since
        context, failed = self.context, int(failures[0]["timestamp"])
        return read_cause(context.api, context.deployment, context.version, begun, failed, context.redacted)

    def _last_words(self, failed_at: int) -> str:
        """What the server itself said last before the failure of that nanosecond."""
        entries = self._entries(own_lines(self.context), failed_at, latest_moment(self.context.clock), 500)
        lines = self._text(entries).partition(WORDS)[2].splitlines()[1:]
        last = list(itertools.takewhile(lambda line: line.startswith("  ") or not line, lines))[-LOG_LINES:]
        return "\n  The server's last log lines:\n" + "\n".join(f"    {line[2:]}" for line in last) if last else ""

    def _text(self, entries: Sequence[Json]) -> str:
        return "\n".join(line for entry in entries for line in self.context.redacted(entry["log"]))

    def _entries(self, query: str, start: int, end: int, limit: int) -> list[Json]:
        try:
            return self.context.api.logs(query, start, end, limit)
        except ApiError:
            return []


def own_lines(context: ApplyContext) -> str:
    """The query for what the instances of the version print."""
    return lines_of(context.deployment, context.version)


def lines_of(deployment: str, version: str) -> str:
    """The query for what the instances of a version print."""
    return f"| deployment_name=`{deployment}` and deployment_version=`{version}`"


def _redacted(text: object) -> list[str]:
    """The lines that a program on UbiOps printed, without known secrets and fit to be shown."""
    return printable_lines(blank(str(text)))


def read_cause(
    api: Api,
    deployment: str,
    version: str,
    since: int,
    until: int,
    redact: Callable[[object], list[str]] = _redacted,
) -> Cause | None:
    """Why a start failed, by what the instances logged between two moments; None where that tells nothing.

    Args:
        api: the control plane.
        deployment: the deployment's name.
        version: the version's name.
        since: when the start began, in nanoseconds since 1970.
        until: when it had failed.
        redact: makes text of a program on UbiOps fit to be shown.
    """
    try:
        newest_first = api.logs(lines_of(deployment, version), until + 1, since, PAGE)
    except ApiError:
        return None
    texts = (line for entry in reversed(newest_first) for line in redact(entry["log"]))
    return first_cause(texts)


def last_failure(api: Api, deployment: str, version: str, since: int, until: int) -> Cause | None:
    """Why the newest failed start in a span of nanoseconds failed, with its own error where the log tells no other."""
    query = f"{lines_of(deployment, version)} |= `{FAILED_START}`"
    try:
        failures = api.logs(query, until, since, 2)
    except ApiError:
        return None
    if not failures:
        return None
    begun = int(failures[1]["timestamp"]) + 1 if len(failures) > 1 else since
    cause = read_cause(api, deployment, version, begun, int(failures[0]["timestamp"]))
    reason = "\n".join(_redacted(failures[0]["log"])).partition(FAILED_START)[2].partition("\n")[0].strip()
    return cause or Cause(error=reason)


def cause_text(cause: Cause | None) -> str:
    """The cause as part of a message; empty where it is not known."""
    if cause is None:
        return ""
    return f"\n  The cause: {cause.error}" + (f"\n  {cause.advice}" if cause.advice else "")


def last_logs(context: ApplyContext, since: int) -> str:
    """The cause, and the end of the version's log since that nanosecond, as part of a message; empty without a log."""
    now = latest_moment(context.clock)
    cause = read_cause(context.api, context.deployment, context.version, since, now, context.redacted)
    try:
        entries = context.api.logs(own_lines(context), now, since, LOG_LINES)
    except ApiError as error:
        return f"{cause_text(cause)}\n  (no logs: {error.reason})"
    lines = [line for entry in reversed(entries) for line in context.redacted(entry["log"])]
    shown = "\n  The last log lines:\n" + "\n".join(f"    {line}" for line in lines) if lines else ""
    return cause_text(cause) + shown
