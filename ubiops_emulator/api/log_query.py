"""The query language of UbiOps' log endpoints: `{label="x"} |= "text"` parsed into tests of one log line."""

from __future__ import annotations

import re
from collections.abc import Callable

from ubiops_emulator.refusal import invalid
from ubiops_emulator.store import LogLine

LABELS = (
    "deployment_id deployment_name deployment_version_id deployment_version deployment_version_revision_id instance_id"
    " process_id environment_name environment_tag environment_build_id pipeline_id pipeline_name pipeline_version_id"
    " pipeline_version pipeline_object_name deployment_request_id pipeline_request_id webhook_name system level"
).split()


TOKEN = re.compile(
    r"""\s*(?:(?P<text>\|=|!=|\|~|!~)\s*(?P<q1>`[^`]*`|"(?:[^"\\]|\\.)*")
    |(?P<join>\||\band\b|\bor\b)
    |(?P<label>[a-z_]+)\s*(?P<op>=~|!~|!=|=)\s*(?P<q2>`[^`]*`|"(?:[^"\\]|\\.)*"|[\w.-]+))""",
    re.VERBOSE,
)


Test = Callable[[LogLine], bool]


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
        given = line.labels.get(label)
        return str(given).lower() if isinstance(given, bool) else str("" if given is None else given)

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
    except re.error as error:
        raise invalid(f"query: {text!r} is not a regular expression") from error


def _unquoted(text: str) -> str:
    if text.startswith("`"):
        return text[1:-1]
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
