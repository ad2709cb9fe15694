"""Python files of a package: templates, modules that run and are checked as they are, with one value put in.

The line that ends in `# whisperctl:config` holds a value to develop with; rendered, it holds the stack's as a literal,
so that nothing in a stack can become code. Comments are for whoever reads the template: a package has none of them, so
that a better comment in a later whisperctl is no new revision.
"""

from __future__ import annotations

import io
import re
import tokenize
from functools import cache
from typing import Any

from whisperctl.assets import shipped

_MARKED = re.compile(r"^(?P<code>(?P<name>\w+)(?:: [^=]+)? = .*?) +# whisperctl:config$", re.MULTILINE)


def rendered(file: str, value: Any = None) -> bytes:
    """The template `file`, with `value` (of mappings, lists and scalars) where its marked line is, if it has one."""
    before, name, after = _template(file)
    return (f"{before}{name} = {literal(value)}{after}" if name else before).encode()


@cache
def _template(file: str) -> tuple[str, str, str]:
    """What stands before the marked line, the name that the line assigns to, and what stands after it."""
    source = (shipped("templates") / file).read_text(encoding="utf-8")
    marked = _MARKED.search(source)
    code = without_comments(source)
    if marked is None:
        return code, "", ""
    before, after = code.split(f"\n{marked['code']}\n")
    return f"{before}\n", marked["name"], f"\n{after}"


def without_comments(source: str) -> str:
    """Python code without its comments, and without the lines that held nothing else."""
    lines = source.splitlines(keepends=True)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            code = lines[row - 1][:column].rstrip()
            lines[row - 1] = f"{code}\n" if code else ""
    return "".join(lines)


def literal(data: Any, indent: str = "") -> str:
    """`data`, of mappings, lists and scalars, as a Python literal with an entry a line.

    ASCII only: which characters count as printable, and how `pprint` breaks lines, differ between Python versions.
    """
    inner = indent + "    "
    match data:
        case dict() if data:
            lines = [f"{inner}{key!a}: {literal(value, inner)},\n" for key, value in data.items()]
            return "{\n" + "".join(lines) + indent + "}"
        case list() if data:
            return "[\n" + "".join(f"{inner}{literal(item, inner)},\n" for item in data) + indent + "]"
        case _:
            return ascii(data)
