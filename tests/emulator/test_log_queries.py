"""The query language of `GET /logs`."""

from __future__ import annotations

import pytest

from ubiops_emulator.api.log_query import parse
from ubiops_emulator.refusal import Refusal
from ubiops_emulator.store import LogLine

LINES = {
    "a": LogLine(1, "vLLM started on port 8080", {"deployment_name": "w", "level": "info", "system": False}),
    "b": LogLine(2, "error: out of memory", {"deployment_name": "w", "level": "error", "system": False}),
    "c": LogLine(3, "Build finished", {"deployment_name": "x", "environment_tag": "t.1", "system": True}),
}


@pytest.mark.parametrize(
    ("query", "matching"),
    [
        ("", "abc"),
        ("| deployment_name=`w`", "ab"),
        ('| deployment_name="w"', "ab"),
        ("deployment_name=w", "ab"),
        ("| deployment_name!=`w`", "c"),
        ("| deployment_name=`w` and level=`error`", "b"),
        ("| deployment_name=`w` | level=`info`", "a"),
        ("| level=`error` or environment_tag=`t.1`", "bc"),
        ("| deployment_name=`w` and level=`info` or system=`true`", "ac"),
        ("| system=`false`", "ab"),
        ("| deployment_name=~`w|x`", "abc"),
        ("| environment_tag=~`t.*`", "c"),
        ("| environment_tag!~`.+`", "ab"),
        ("|= `memory`", "b"),
        ('|= "memory" | deployment_name="w"', "b"),
        ("!= `memory` | deployment_name=`w`", "a"),
        (r"|~ `port \d+`", "a"),
        ("!~ `[Bb]uild` |= `:`", "b"),
        ('|= "say \\"x\\""', ""),
        ("| instance_id=``", "abc"),
    ],
)
def test_queries(query: str, matching: str) -> None:
    test = parse(query)
    assert "".join(key for key, line in LINES.items() if test(line)) == matching


@pytest.mark.parametrize(
    "query", ["| nonsense=`x`", "| deployment_name", "|~ `(`", "| deployment_name=`x", "{app=`x`}"]
)
def test_wrong_queries_are_refused(query: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse(query)
    assert caught.value.status == 400
    assert caught.value.text.startswith("query:")
