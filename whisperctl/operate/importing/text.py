"""Plain data with remarks -> the text of a YAML file. Pure.

Mappings stand in blocks, but for the smallest ones; lists of scalars in one line. A remark stands in comments above the
key that it is about. What is written reads back as exactly the data, whatever is in a text.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from whisperctl.loading.scalars import key_text, value_text
from whisperctl.spec import Path_

WIDTH = 116
"""Characters of a comment's line, without its indentation."""
_INLINE = ("health_check", "gate")
"""Mappings that are written in one line."""
Remarks = Mapping[Path_, Sequence[str]]


def yaml_text(data: Mapping[str, Any], remarks: Remarks) -> str:
    """The document, with an empty line between its sections."""
    lines: list[str] = []
    for key, value in data.items():
        if lines and isinstance(value, dict | list):
            lines.append("")
        lines += _entry((key,), value, remarks, 0)
    return "\n".join([*lines, ""])


def _entry(path: Path_, value: Any, remarks: Remarks, depth: int) -> Iterator[str]:
    indent = "  " * depth
    yield from _comments(remarks.get(path, ()), indent)
    key = key_text(str(path[-1]))
    if value is MISSING:
        return
    if isinstance(value, dict) and value and not _is_inline(path, value):
        yield f"{indent}{key}:"
        for name, item in value.items():
            yield from _entry((*path, name), item, remarks, depth + 1)
    elif isinstance(value, list) and value and all(isinstance(item, dict) and item for item in value):
        yield f"{indent}{key}:"
        for position, item in enumerate(value):
            yield from _item((*path, position), item, remarks, depth)
    else:
        yield f"{indent}{key}: {value_text(value)}"


def _item(path: Path_, item: Mapping[str, Any], remarks: Remarks, depth: int) -> Iterator[str]:
    """A mapping in a list: its first line gets the dash."""
    yield from _comments(remarks.get(path, ()), "  " * (depth + 1))
    lines = [line for name, value in item.items() for line in _entry((*path, name), value, remarks, depth + 2)]
    first = next(number for number, line in enumerate(lines) if not line.lstrip().startswith("#"))
    at = 2 * depth + 2
    for number, line in enumerate(lines):
        yield f"{line[:at]}- {line[at + 2 :]}" if number == first else line


def _is_inline(path: Path_, value: Mapping[str, Any]) -> bool:
    if any(item is MISSING for item in value.values()):
        return False  # its remark needs a line
    return path[-1] in _INLINE or set(value) == {"value", "secret"}


def _comments(texts: Sequence[str], indent: str) -> Iterator[str]:
    for text in texts:
        for line in textwrap.wrap(" ".join(text.split()), WIDTH - len(indent), break_on_hyphens=False):
            yield f"{indent}# {line}"


MISSING = object()
"""In place of a value that could not be told: only its remark is written."""
