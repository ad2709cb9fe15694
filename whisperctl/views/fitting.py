"""Lines of a terminal: folded between words, what goes on further in, so that nothing is cut in the middle of a word.

For people only: JSON, Markdown, transcripts and what is piped stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_COLOUR = re.compile("\x1b\\[[0-9;]*m")
_GAP = re.compile(r'("(?:[^"\\]|\\.)*")| {3,}+(?![=:] )')
"""What keeps the columns of a table apart; not in a quoted value (group 1), whose spaces may be the change;
nor before the `=` and `:` of a plan, whose lines stay under each other."""
_COMMANDS = ("whisperctl ", "$ ")
_STEP = 4
"""Columns that the rest of a line stands further in than its start."""
_NARROWEST = 20
"""Columns below which folding makes nothing easier to read."""


def fitted(text: str, columns: int | None) -> str:
    """`text` with every line that is wider than `columns` folded; as it is where there is no terminal (None).

    A command is left whole, for whoever copies it. A word wider than a whole line is cut, but for a URL or a path.
    """
    if columns is None or columns < _NARROWEST:
        return text
    return "\n".join(part for line in text.split("\n") for part in _folded(line, columns))


def _folded(line: str, columns: int) -> Iterator[str]:
    if _width(line) <= columns:
        yield line
        return
    rest = line.lstrip(" ")
    if rest.startswith(_COMMANDS):
        yield line
        return
    start = " " * (len(line) - len(rest))
    further = " " * min(len(start) + _STEP, columns // 2)
    current, gap = start, ""
    for piece in re.split("( +)", _GAP.sub(lambda gap: gap[1] or "  ", rest)):
        if not piece.strip(" "):
            gap = piece
        elif _width(current + gap + piece) <= columns:
            current += gap + piece
        else:
            if current.strip(" "):
                yield current
            *whole, current = _cut(further + piece, len(further), columns)
            yield from whole
    yield current


def _cut(line: str, indent: int, columns: int) -> list[str]:
    """One word behind an indent, in as many lines as it needs."""
    if _width(line) <= columns or "/" in line or _COLOUR.search(line):
        return [line]
    room = columns - indent
    rest = (line[start : start + room] for start in range(columns, len(line), room))
    return [line[:columns], *(" " * indent + part for part in rest)]


def _width(line: str) -> int:
    return len(_COLOUR.sub("", line))
