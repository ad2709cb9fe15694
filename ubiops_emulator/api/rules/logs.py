"""`GET /logs`: a time window, and a query of label and text filters joined by `|`, `and`, `or`."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import Any

from ubiops_emulator.api.call import Call, number, project
from ubiops_emulator.api.log_query import LABELS, parse
from ubiops_emulator.numbers import whole
from ubiops_emulator.refusal import invalid
from ubiops_emulator.store import LogLine

DAY = 86_400 * 10**9
METADATA = [name for name in LABELS if name not in {"deployment_id", "deployment_version_id", "pipeline_id"}]


def index(call: Call) -> list[dict[str, Any]]:
    """List the log lines of a time window that match a query."""
    owner = project(call)
    keep = parse(call.query.get("query", ""))
    limit = number(call, "limit", 1000, 1, 5000)
    start, end = _window(call)
    low, high, backward = (start, end, False) if start <= end else (end, start, True)
    lines = call.store.lines(owner.id, low, high, backward=backward)
    return [_entry(line) for line in islice(filter(keep, lines), limit)]


def _window(call: Call) -> tuple[int, int]:
    query = call.query
    if ("start" in query) != ("end" in query):
        raise invalid("start and end are required together")
    if "start" not in query:
        now = int(call.now * 1e9)
        return now - DAY, now + 1
    return _moment("start", query["start"]), _moment("end", query["end"])


def _moment(name: str, text: str) -> int:
    if (nanoseconds := whole(text)) is not None:
        return nanoseconds
    try:
        date = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError as error:
        raise invalid(f"{name}: an ISO-8601 date or nanoseconds since 1970 are required") from error
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return int(date.timestamp()) * 10**9 + date.microsecond * 1000


def _entry(line: LogLine) -> dict[str, Any]:
    moment = datetime.fromtimestamp(line.ts // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return {
        "timestamp": line.ts,
        "timestamp_str": f"{moment}.{line.ts % 10**9 // 1000:06d}Z",
        "log": line.line,
        "metadata": {name: line.labels.get(name) for name in METADATA},
    }
