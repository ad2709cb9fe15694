"""Text that others wrote (build logs, reasons of a failure), made fit to print: it steers no terminal and no CI job.

What is ours is not cleaned here. This module must not import anything of the package.
"""

from __future__ import annotations

import os
import re

_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])?")
"""Colours, cursor movements, titles and links of a terminal."""
_COMMAND = re.compile(r"(^|[\r\n])(\s*):(?=:)")


def printable_lines(text: str) -> list[str]:
    """The lines of `text` without escape sequences; of a line that was written over, what stood there last."""
    return [_printable(line) for line in re.split(r"\r*\n", text.rstrip("\r\n"))]


def _printable(line: str) -> str:
    last = _ESCAPE.sub("", line).rpartition("\r")[2]
    return "".join(char if char.isprintable() or char == "\t" else "\ufffd" for char in last)


def harmless(text: str) -> str:
    """`text` without workflow commands if a GitHub runner reads along, else as it is.

    The runner obeys a line that begins with `::`, spaces before it or not, and `##[` anywhere. A space in between
    is seen by people, and tells nothing to the runner.
    """
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return text
    return _COMMAND.sub(r"\1\2: ", text).replace("##[", "# #[")
