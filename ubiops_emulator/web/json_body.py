"""JSON that can be stored and answered again: what is parsed here can be written out, as UTF-8, without an error.

Contract: pure. Refused with 400 are what JSON lets through and a database or an answer does not: lone surrogates, NUL,
numbers that are not finite, and nesting without an end.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from ubiops_emulator.refusal import invalid

DEEPEST = 100
UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")


def parsed(body: bytes) -> Any:
    """The value of a JSON text.

    Raises:
        Refusal: 400: it is not JSON, or has a value that cannot be kept.
    """
    try:
        value = json.loads(body, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON parse error: {error}") from error
    for text in _strings(value):
        storable(text)
    return value


def storable(text: str) -> str:
    """A text, if it can be kept.

    Raises:
        Refusal: 400: it has a NUL, or half of a pair of surrogates.
    """
    unstorable = UNSTORABLE.search(text)
    if unstorable:
        name = "null characters" if unstorable[0] == "\0" else f"lone surrogates (U+{ord(unstorable[0]):04X})"
        raise invalid(f"JSON parse error: {name} are not allowed in a string")
    return text


def _strings(value: Any) -> Iterator[str]:
    """Every string of a value, the keys of objects too."""
    level = [value]
    for _ in range(DEEPEST):
        level = [part for each in level for part in _parts(each)]
        yield from (part for part in level if isinstance(part, str))
        if not level:
            break
    else:
        raise invalid(f"JSON parse error: more than {DEEPEST} levels of nesting")
    if isinstance(value, str):
        yield value


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, list) else []


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is out of range")
    return number
