"""What the endpoint's JSON looks like, as far as we read it: checked where it comes in, so that nothing else has to.

One table: the kind of answer -> its fields. What it does not name is vLLM's business, and so is what only adds to the
text: a language, a duration or times of another kind count as not given. vLLM writes some numbers as texts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple


class Field(NamedTuple):
    """One field of an object."""

    fits: Callable[[Any], bool]
    word: str
    needed: bool = False
    """Whether it is never missing or null."""


def number(value: Any) -> float | None:
    """A finite number, also one that vLLM wrote as a text; None for anything else."""
    try:
        parsed = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return parsed if math.isfinite(parsed) else None


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _time(value: Any) -> bool:
    return number(value) is not None


MODELS, TRANSCRIPT = "models", "transcript"
_NEEDED: Mapping[str, Mapping[str, Field]] = {
    MODELS: {"data": Field(lambda value: isinstance(value, list), "list of models", needed=True)},
    TRANSCRIPT: {"text": Field(_text, "text", needed=True)},
}
"""Of the answer itself."""
_ITEMS: Mapping[str, tuple[str, str, Mapping[str, Field]]] = {
    MODELS: ("data", "model", {"id": Field(_text, "text", needed=True)}),
    TRANSCRIPT: (
        "segments", "segment",
        {"start": Field(_time, "time"), "end": Field(_time, "time"), "text": Field(_text, "text")},
    ),
}  # fmt: skip
"""Of the objects in a list of it: the list's name, the word for one, its fields."""


def misfit(kind: str, body: Any) -> str | None:
    """What is wrong with an answer of that kind, in words that follow `answered 200 with`; None if nothing is."""
    if not isinstance(body, dict):
        return "no JSON object"
    return next(_wrong(kind, body), None)


def _wrong(kind: str, body: Mapping[str, Any]) -> Iterator[str]:
    yield from _wrong_fields(_NEEDED[kind], body, "an object")
    name, word, fields = _ITEMS[kind]
    items = body.get(name)
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict):
            yield from _wrong_fields(fields, item, f"a {word}")
        else:
            yield f"a {word} that is no object: {item!r:.60}"


def _wrong_fields(fields: Mapping[str, Field], item: Mapping[str, Any], what: str) -> Iterator[str]:
    for name, field in fields.items():
        value = item.get(name)
        if value is None:
            if field.needed:
                yield f"{what} without `{name}`"
        elif not field.fits(value):
            yield f"{what} whose {name} is no {field.word}: {value!r:.60}"
