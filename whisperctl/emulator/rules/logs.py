"""`GET /logs`: a time window, and a query of label and text filters joined by `|`, `and`, `or`."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from whisperctl.emulator.call import Call, number, project
from whisperctl.emulator.refusal import invalid
from whisperctl.emulator.store import LogLine
from whisperctl.emulator.words import words

DAY = 86_400 * 10**9
LABELS = words(
    "deployment_id deployment_name deployment_version_id deployment_version deployment_version_revision_id instance_id"
    " process_id environment_name environment_tag environment_build_id pipeline_id pipeline_name pipeline_version_id"
    " pipeline_version pipeline_object_name deployment_request_id pipeline_request_id webhook_name system level"
)
METADATA = [name for name in LABELS if name not in {"deployment_id", "deployment_version_id", "pipeline_id"}]
TOKEN = re.compile(
    r"""\s*(?:(?P<text>\|=|!=|\|~|!~)\s*(?P<q1>`[^`]*`|"(?:[^"\\]|\\.)*")
    |(?P<join>\||\band\b|\bor\b)
    |(?P<label>[a-z_]+)\s*(?P<op>=~|!~|!=|=)\s*(?P<q2>`[^`]*`|"(?:[^"\\]|\\.)*"|[\w.-]+))""",
    re.VERBOSE,
)
Test = Callable[[LogLine], bool]


def index(call: Call) -> list[dict[str, Any]]:
    owner = project(call)
    keep = parse(call.query.get("query", ""))
    limit = number(call, "limit", 1000, 1, 5000)
    start, end = _window(call)
    low, high, backward = (start, end, False) if start <= end else (end, start, True)
    lines = call.store.lines(owner.id, low, high, backward=backward)
    return [_entry(line) for line in islice(filter(keep, lines), limit)]


def parse(query: str) -> Test:
    """A test for log lines. `or` binds weaker than `|` and `and`.

    Raises:
        Refusal: 400 for an unknown label or a query that does not parse.
    """
    groups: list[list[Test]] = [[]]
    position, text = 0, query.rstrip()
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            raise invalid(f"query: cannot read {text[position:].strip()[:40]!r}")
        position = match.end()
        if match["join"] == "or":
            groups.append([])
        elif match["text"]:
            groups[-1].append(_text_test(match["text"], _unquoted(match["q1"])))
        elif match["label"]:
            groups[-1].append(_label_test(match["label"], match["op"], _unquoted(match["q2"])))
    return lambda line: any(all(test(line) for test in group) for group in groups)


def _text_test(operator: str, text: str) -> Test:
    if operator == "|=":
        return lambda line: text in line.line
    if operator == "!=":
        return lambda line: text not in line.line
    pattern = _pattern(text)
    if operator == "|~":
        return lambda line: pattern.search(line.line) is not None
    return lambda line: pattern.search(line.line) is None


def _label_test(label: str, operator: str, text: str) -> Test:
    if label not in LABELS:
        raise invalid(f"query: unknown label {label}")

    def value(line: LogLine) -> str:
        found = line.labels.get(label)
        return str(found).lower() if isinstance(found, bool) else str("" if found is None else found)

    if operator == "=":
        return lambda line: value(line) == text
    if operator == "!=":
        return lambda line: value(line) != text
    pattern = _pattern(text)
    if operator == "=~":
        return lambda line: pattern.fullmatch(value(line)) is not None
    return lambda line: pattern.fullmatch(value(line)) is None


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as err:
        raise invalid(f"query: {text!r} is not a regular expression") from err


def _unquoted(text: str) -> str:
    if text.startswith("`"):
        return text[1:-1]
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text


def _window(call: Call) -> tuple[int, int]:
    query = call.query
    if ("start" in query) != ("end" in query):
        raise invalid("start and end are required together")
    if "start" not in query:
        now = int(call.now * 1e9)
        return now - DAY, now + 1
    return _moment("start", query["start"]), _moment("end", query["end"])


def _moment(name: str, text: str) -> int:
    if text.isdigit():
        return int(text)
    try:
        date = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError as err:
        raise invalid(f"{name}: an ISO-8601 date or nanoseconds since 1970 are required") from err
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
