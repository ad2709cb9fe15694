"""Plain values -> their text in a stack file, so that they read back as what they are. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

from whisperctl.loading.document import resolve

_PLAIN = re.compile(r"[A-Za-z0-9./(][A-Za-z0-9 ._/+()-]*(?<! )")


class Reference(str):
    """`${NAME}`: every other `$` is written so that it stays one."""

    __slots__ = ()


def value_text(value: Any) -> str:
    """A value in one line: mappings and lists in YAML's flow style."""
    match value:
        case dict():
            return "{" + ", ".join(f"{key_text(str(key))}: {value_text(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(value_text(item) for item in value) + "]"
        case str():
            return quoted(value if isinstance(value, Reference) else value.replace("$", "$$"))
        case _:
            return json.dumps(value)


def key_text(key: str) -> str:
    """A key: in keys no variable is put in."""
    return quoted(key)


def quoted(text: str, always: bool = False) -> str:
    """`text` as YAML reads it back: plain where that is safe, else in double quotes."""
    if not always and _PLAIN.fullmatch(text) and resolve(text) == text:
        return text
    # JSON's quotes are YAML's, but for characters that it leaves as they are and YAML does not read.
    return "".join(c if c.isprintable() else _escape(c) for c in json.dumps(text, ensure_ascii=False))


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
