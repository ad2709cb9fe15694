"""A tree of values against the JSON Schema: every violation as a problem a newcomer can act on.

The one place that knows jsonschema. It gives back what is left when everything wrong is taken out, so that the
semantic checks can still say what they find: all problems at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from difflib import get_close_matches
from functools import cache
from typing import Any

from whisperctl.errors import Problem
from whisperctl.loading.document import Value, kind, plain, resolve, shown
from whisperctl.loading.quick import accepts
from whisperctl.shipped import shipped
from whisperctl.spec import Path_

HINTS = {
    "vllm.version": 'Pin one exact release in quotes, such as version: "0.19.1".',
    "stack": "Use lowercase letters, digits, dashes and dots; start and end with a letter or digit.",
    "name": "Use lowercase letters, digits, dashes and dots; start and end with a letter or digit.",
    "env": "Use letters, digits and underscores; start with a letter and end with a letter or digit.",
}


PRINTABLE = r"^[^\x00-\x08"
ONE_LINE = r"^[^\x00-\x1f"
"""How the schema's patterns for printable text begin."""


@cache
def schema_text() -> str:
    """The schema as it is shipped."""
    return (shipped("schemas") / "stack.schema.json").read_text(encoding="utf-8")


@cache
def _schema() -> Any:
    return json.loads(schema_text())


@cache
def _validator() -> Any:
    from jsonschema.validators import Draft202012Validator

    return Draft202012Validator(_schema())


def check(tree: Value, problems: list[Problem]) -> set[Path_]:
    """Add every violation in `tree` to `problems`, take what is wrong out of it, and return the paths taken out."""
    broken: set[Path_] = set()
    if accepts(_schema(), plain(tree)):
        return broken
    while True:
        errors = list(_validator().iter_errors(plain(tree)))
        if any(_coerce(tree, error) for error in errors):
            continue  # one at a time: what was put in may itself be out of range
        fresh = {path: problem for error in errors for path, problem in _explain(tree, error)}
        fresh = {path: problem for path, problem in fresh.items() if not below(path, broken)}
        if not fresh:
            return broken
        problems.extend(fresh.values())
        broken |= fresh.keys()
        for path in fresh:
            _remove(tree, path)


def below(path: Path_, broken: AbstractSet[Path_]) -> bool:
    """Whether `path`, or something that it lies in, is broken."""
    return any(path[:length] in broken for length in range(1, len(path) + 1))


def _value(tree: Value, path: Sequence[str | int]) -> Value:
    """The value at `path`, which came from this very tree."""
    for step in path:
        inside: Any = tree.data
        tree = inside[step]
    return tree


def _remove(tree: Value, path: Path_) -> None:
    """Take out the nearest thing that can be left out: a list item would shift its neighbours."""
    while path and isinstance(path[-1], int):
        path = path[:-1]
    parent = _value(tree, path[:-1]).data if path else None
    if isinstance(parent, dict):
        parent.pop(str(path[-1]), None)


def _coerce(tree: Value, error: Any) -> bool:
    """`port: ${PORT}` is text to YAML; where a number is wanted, what was put in counts as if written there."""
    value = _value(tree, error.absolute_path)
    if error.validator == "anyOf" and isinstance(value.data, dict | list):
        return any(_coerce(tree, inner) for inner in error.context)
    if not (value.substituted and isinstance(value.data, str)):
        return False
    wanted = _wanted_types(error)
    read = resolve(value.data)
    if isinstance(read, str) or read is None or not wanted & _types_of(read):
        return False
    *parent, last = error.absolute_path
    holder: Any = _value(tree, parent).data
    holder[last] = Value(read, value.mark, value.folder, value.key, value.written)
    return True


def _wanted_types(error: Any) -> set[str]:
    schemas = error.validator_value if error.validator == "anyOf" else [error.schema]
    wanted: set[str] = set()
    for schema in schemas:
        types = schema.get("type", [])
        wanted |= {types} if isinstance(types, str) else set(types)
    return wanted


def _types_of(data: Any) -> set[str]:
    match data:
        case bool():
            return {"boolean"}
        case int():
            return {"integer", "number"}
        case _:
            return {"number"}


def _explain(tree: Value, error: Any) -> Iterator[tuple[Path_, Problem]]:
    path: Path_ = tuple(error.absolute_path)
    value = _value(tree, path)
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
    from whisperctl.loading.moved import MOVED

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
            yield full, Problem(where=value.place, path=dotted(full), message="this key is required", hint=hint)


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
            yield from _explain(tree, inner)
        return
    forms = " or ".join(branch.get("title", "") for branch in error.validator_value)
    message, hint = _wrong_type(value, path, forms)
    yield path, _problem(value, path, message, hint)


def _fits(branch: Mapping[str, Any], data: Any) -> bool:
    wanted = "object" if "$ref" in branch else branch.get("type")
    match data:
        case dict():
            return wanted == "object"
        case list():
            return wanted == "array"
        case str():
            return wanted == "string"
        case bool():
            return False
        case int():
            return wanted == "integer"
    return False


WORDS = {
    "string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false",
    "object": "a mapping", "array": "a list",
}  # fmt: skip


def _wrong(value: Value, path: Path_, error: Any) -> tuple[str, str]:
    limit = error.validator_value
    said = _said(value, path)
    match error.validator:
        case "type":
            types = [limit] if isinstance(limit, str) else limit
            return _wrong_type(value, path, " or ".join(WORDS[name] for name in types))
        case "enum":
            return f"{said} is not one of {', '.join(limit)}", _near_choice(value.data, limit)
        case "const":
            return f"must be `{limit}`, not {said}", ""
        case "minimum" | "exclusiveMinimum":
            least = "at least" if error.validator == "minimum" else "more than"
            return f"{said} is too small: {least} {limit}", ""
        case "maximum":
            return f"{said} is too large: at most {limit}", ""
        case "maxLength":
            return f"is {len(str(value.data))} characters long: at most {limit}", ""
        case "minLength":
            return "must not be empty", ""
        case _:
            return _wrong_pattern(value, path, str(limit))


def _wrong_type(value: Value, path: Path_, wanted: str) -> tuple[str, str]:
    text = value.written
    if value.substituted:
        return f"must be {wanted}, and what {_said(value, path)} stands for is not", ""
    if isinstance(value.data, bool | int | float) and "text" in wanted and text is not None:
        if path[:1] == ("env",):
            return f"must be {wanted}, and YAML reads this as {kind(value.data)}", "Write it in quotes."
        return f"must be {wanted}, and YAML reads `{text}` as {shown(value.data)}", f'Write it in quotes: "{text}".'
    if isinstance(value.data, str) and value.quoted and not isinstance(resolve(value.data), str):
        return f"must be {wanted}, not text", "Leave out the quotes."
    if isinstance(value.data, str) and "number" in wanted and value.data.isdecimal():
        return f"must be {wanted}; YAML takes this for text", f"Write {int(value.data)}."
    return f"must be {wanted}, not {kind(value.data)}", ""


def _wrong_pattern(value: Value, path: Path_, pattern: str) -> tuple[str, str]:
    if pattern.startswith(PRINTABLE):
        return "holds characters that cannot be printed", "Only tabs and line ends are allowed besides printable text."
    if pattern.startswith(ONE_LINE):
        return "must be one line of printable text", ""
    key = next((str(step) for step in reversed(path) if isinstance(step, str)), "")
    return f"{_said(value, path)} is not allowed here", HINTS.get(dotted(path)) or HINTS.get(key, "")


def _near_choice(data: Any, choices: Sequence[str]) -> str:
    if not isinstance(data, str):
        return ""
    upper = {choice.upper(): choice for choice in choices}
    inside = [choice for name, choice in upper.items() if name in data.upper().split()]
    near = inside or [upper[name] for name in get_close_matches(data.upper(), upper, n=1)]
    return f"Did you mean `{near[0]}`?" if near else ""


def _said(value: Value, path: Path_) -> str:
    """The value as written: never what an environment variable held, never the text of an env var."""
    if path[:1] == ("env",) or value.written is None:
        return "this"
    text = "".join(character if character.isprintable() else repr(character)[1:-1] for character in value.written)
    return f"`{text if len(text) <= 60 else text[:57] + '…'}`"


def dotted(path: Path_) -> str:
    """`services.0.port`, `version.labels.team`."""
    return ".".join(str(step) for step in path)
