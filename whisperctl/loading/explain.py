"""A violation of the schema -> a problem that a newcomer can act on: where, what, and what to write instead.

A message quotes values as they are written, never what an environment variable held, and never the text of an env var.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from whisperctl.errors import Problem
from whisperctl.loading.document import MAX_DIGITS, resolve
from whisperctl.loading.paths import dotted, value_at
from whisperctl.loading.renamed_keys import MOVED
from whisperctl.loading.values import Value, kind, shown
from whisperctl.spec import Path_

MISSING = "this key is required"

HINTS = {
    "vllm.version": 'Pin one exact release in quotes, such as version: "0.19.1".',
    "stack": "Use lowercase letters, digits, dashes and dots; start and end with a letter or digit.",
    "name": "Use lowercase letters, digits, dashes and dots; start and end with a letter or digit.",
    "base": "Write NAME or NAME:TAG, such as ubiops-ubuntu24-04-python3-12.",
    "apt": "Name a Debian package, such as ffmpeg or ffmpeg=7.1.",
    "language": "Write a code such as en, es or de, or leave it out: then the model tells by itself.",
    "version.health_check.path": "It starts with a slash, as in /health.",
    "env": "Use letters, digits and underscores; start with a letter and end with a letter or digit.",
}


PRINTABLE = r"^[^\x00-\x08"
ONE_LINE = r"^[^\x00-\x1f"
"""How the schema's patterns for printable text begin."""


def explain(tree: Value, error: Any) -> Iterator[tuple[Path_, Problem]]:
    """What one violation means for whoever wrote the file; `error` is jsonschema's ValidationError."""
    path: Path_ = tuple(error.absolute_path)
    value = value_at(tree, path)
    if "propertyNames" in error.absolute_schema_path:
        yield _bad_key(value, path, error)
        return
    match error.validator:
        case "additionalProperties":
            yield from _unknown(value, path, error)
        case "required":
            yield from _missing(value, path, error)
        case "anyOf":
            yield from _no_form(tree, value, path, error)
        case _:
            message, hint = _wrong(value, path, error)
            yield path, _problem(value, path, message, hint)


def _problem(value: Value, path: Path_, message: str, hint: str = "") -> Problem:
    return Problem(where=value.place, path=dotted(path), message=message, hint=hint)


def _unknown(value: Value, path: Path_, error: Any) -> Iterator[tuple[Path_, Problem]]:
    known: Mapping[str, Any] = error.schema["properties"]
    assert isinstance(value.data, dict)
    for key, entry in value.data.items():
        if key in known:
            continue
        where = entry.key or entry.mark
        full = (*path, key)
        yield full, Problem(where=where, path=dotted(full), message="this key is not known", hint=_nearest(key, known))


def _nearest(key: str, known: Mapping[str, Any]) -> str:
    if key in MOVED:
        return MOVED[key]
    near = get_close_matches(key, known, n=1, cutoff=0.6)
    return f"Did you mean `{near[0]}`?" if near else "Known here: " + ", ".join(sorted(known)) + "."


def _missing(value: Value, path: Path_, error: Any) -> Iterator[tuple[Path_, Problem]]:
    assert isinstance(value.data, dict)
    for key in error.validator_value:
        if key not in value.data:
            full = (*path, key)
            about = error.schema["properties"][key].get("description", "")
            hint = HINTS.get(dotted(full), "") or about
            yield full, Problem(where=value.place, path=dotted(full), message=MISSING, hint=hint)


def _bad_key(value: Value, path: Path_, error: Any) -> tuple[Path_, Problem]:
    key = str(error.instance)
    assert isinstance(value.data, dict)
    full = (*path, key)
    hint = HINTS["env"] + " At most 64." if path == ("env",) else "Use 1 to 256 printable characters."
    where = value.data[key].key or value.data[key].mark
    return full, Problem(where=where, path=dotted(full), message="this name is not allowed", hint=hint)


def _no_form(tree: Value, value: Value, path: Path_, error: Any) -> Iterator[tuple[Path_, Problem]]:
    """Follow the branch whose type fits; without one, name the forms."""
    fitting = [
        [inner for inner in error.context if inner.schema_path[0] == index]
        for index, branch in enumerate(error.validator_value)
        if _fits(branch, value.data)
    ]
    if fitting:
        for inner in fitting[0]:
            yield from explain(tree, inner)
        return
    forms = " or ".join(branch.get("title", "") for branch in error.validator_value)
    message, hint = _wrong_type(value, path, forms)
    yield path, _problem(value, path, message, hint)


def _fits(branch: Mapping[str, Any], data: Any) -> bool:
    expected = "object" if "$ref" in branch else branch.get("type")
    match data:
        case dict():
            return expected == "object"
        case list():
            return expected == "array"
        case str():
            return expected == "string"
        case bool():
            return False
        case int():
            return expected == "integer"
    return False


WORDS = {
    "string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false",
    "object": "a mapping", "array": "a list",
}  # fmt: skip


def _wrong(value: Value, path: Path_, error: Any) -> tuple[str, str]:
    limit = error.validator_value
    in_message = _value_in_message(value, path)
    match error.validator:
        case "type":
            types = [limit] if isinstance(limit, str) else limit
            message, hint = _wrong_type(value, path, " or ".join(WORDS[name] for name in types))
            return message, hint or _keys(error.schema)
        case "enum":
            return f"{in_message} is not one of {', '.join(limit)}", _near_choice(value.data, limit)
        case "const":
            return f"must be `{limit}`, not {in_message}", ""
        case "minimum" | "exclusiveMinimum":
            least = "at least" if error.validator == "minimum" else "more than"
            return f"{in_message} is too small: {least} {limit}", ""
        case "maximum":
            return f"{in_message} is too large: at most {limit}", ""
        case "maxLength":
            return f"is {len(str(value.data))} characters long: at most {limit}", ""
        case "minLength":
            return "must not be empty", ""
        case _:
            return _wrong_pattern(value, path, str(limit))


def _keys(schema: Mapping[str, Any]) -> str:
    keys = schema.get("properties")
    return f"Its keys: {', '.join(keys)}." if keys else ""


def _wrong_type(value: Value, path: Path_, expected: str) -> tuple[str, str]:
    text = value.written
    if value.substituted:
        return f"must be {expected}, and what {_value_in_message(value, path)} stands for is not", ""
    if isinstance(value.data, bool | int | float) and "text" in expected and text is not None:
        if path[:1] == ("env",):
            return f"must be {expected}, and YAML reads this as {kind(value.data)}", "Write it in quotes."
        return f"must be {expected}, and YAML reads `{text}` as {shown(value.data)}", f'Write it in quotes: "{text}".'
    if isinstance(value.data, str) and value.quoted and not isinstance(resolve(value.data), str):
        return f"must be {expected}, not text", "Leave out the quotes."
    if isinstance(value.data, str) and "number" in expected and is_number(value.data):
        return f"must be {expected}; YAML takes this for text", f"Write {int(value.data)}."
    return f"must be {expected}, not {kind(value.data)}", ""


def is_number(text: str) -> bool:
    """Whether text is digits only, and no more of them than any field takes."""
    return text.isdecimal() and len(text) <= MAX_DIGITS


def _wrong_pattern(value: Value, path: Path_, pattern: str) -> tuple[str, str]:
    if pattern.startswith(PRINTABLE):
        return "holds characters that cannot be printed", "Only tabs and line ends are allowed besides printable text."
    if pattern.startswith(ONE_LINE):
        return "must be one line of printable text", ""
    key = next((str(step) for step in reversed(path) if isinstance(step, str)), "")
    return f"{_value_in_message(value, path)} is not allowed here", HINTS.get(dotted(path)) or HINTS.get(key, "")


def _near_choice(data: Any, choices: Sequence[str]) -> str:
    if not isinstance(data, str):
        return ""
    upper = {choice.upper(): choice for choice in choices}
    inside = [choice for name, choice in upper.items() if name in data.upper().split()]
    near = inside or [upper[name] for name in get_close_matches(data.upper(), upper, n=1)]
    return f"Did you mean `{near[0]}`?" if near else ""


def _value_in_message(value: Value, path: Path_) -> str:
    """The value as written: never what an environment variable held, never the text of an env var."""
    if path[:1] == ("env",) or value.written is None:
        return "this"
    text = "".join(character if character.isprintable() else repr(character)[1:-1] for character in value.written)
    return f"`{text if len(text) <= 60 else text[:57] + '…'}`"
