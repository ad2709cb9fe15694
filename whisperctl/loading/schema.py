"""A tree of values against the JSON Schema: every violation as a problem a newcomer can act on.

The one place that knows jsonschema. It gives back what is left when everything wrong is taken out, so that the
semantic checks can still say what they find: all problems at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any

from whisperctl.assets import shipped
from whisperctl.errors import Problem
from whisperctl.loading.document import resolve
from whisperctl.loading.explain import explain
from whisperctl.loading.fast_path import accepts
from whisperctl.loading.paths import below, value_at
from whisperctl.loading.values import Value, plain
from whisperctl.spec import Path_


@cache
def schema_text() -> str:
    """The schema as it is shipped."""
    return (shipped("schemas") / "stack.schema.json").read_text(encoding="utf-8")


@cache
def _schema() -> Any:
    return json.loads(schema_text())


def known_fields(section: str) -> Mapping[str, Any]:
    """The keys of a section of a stack file, such as `version`; of `service` those of one service."""
    schema: dict[str, Any] = _schema()
    fields: Mapping[str, Any] = (schema["$defs"] if section == "service" else schema["properties"])[section][
        "properties"
    ]
    return fields


@cache
def _validator() -> Any:
    from jsonschema.validators import Draft202012Validator

    return Draft202012Validator(_schema())


@cache
def _schema_of_parts() -> Any:
    return _without_required(_schema())


def _without_required(schema: Any) -> Any:
    """What another file may still add is not asked for."""
    if isinstance(schema, dict):
        return {key: _without_required(value) for key, value in schema.items() if not _asks(key, value)}
    return [_without_required(item) for item in schema] if isinstance(schema, list) else schema


def _asks(key: str, value: Any) -> bool:
    return key == "required" and isinstance(value, list)


@cache
def _validator_of_parts() -> Any:
    from jsonschema.validators import Draft202012Validator

    return Draft202012Validator(_schema_of_parts())


def is_whole(tree: Value) -> bool:
    """Whether a part has everything that a stack needs but the stack's name."""
    return accepts(_schema(), {**plain(tree), "stack": "part"})


def check(tree: Value, problems: list[Problem], *, part: bool = False) -> set[Path_]:
    """Add every violation in `tree` to `problems`, take what is wrong out of it, and return the paths taken out.

    A `part`, which others extend, may lack what is required of a stack.
    """
    broken: set[Path_] = set()
    if accepts(_schema_of_parts() if part else _schema(), plain(tree)):
        return broken
    validator = _validator_of_parts() if part else _validator()
    while True:
        errors = list(validator.iter_errors(plain(tree)))
        if any(_coerce(tree, error) for error in errors):
            continue  # one at a time: what was put in may itself be out of range
        fresh = {path: problem for error in errors for path, problem in explain(tree, error)}
        fresh = {path: problem for path, problem in fresh.items() if not below(path, broken)}
        if not fresh:
            return broken
        problems.extend(fresh.values())
        broken |= fresh.keys()
        for path in fresh:
            _remove(tree, path)


def _remove(tree: Value, path: Path_) -> None:
    """Take out the nearest thing that can be left out: a list item would shift its neighbours."""
    while path and isinstance(path[-1], int):
        path = path[:-1]
    with suppress(LookupError):  # it went with something around it
        holder: Any = value_at(tree, path[:-1]).data
        del holder[path[-1]]


def _coerce(tree: Value, error: Any) -> bool:
    """`port: ${PORT}` is text to YAML; where a number is wanted, what was put in counts as if written there."""
    value = value_at(tree, error.absolute_path)
    if error.validator == "anyOf" and isinstance(value.data, dict | list):
        return any(_coerce(tree, inner) for inner in error.context)
    if not (value.substituted and isinstance(value.data, str)):
        return False
    expected = _expected_types(error)
    read = resolve(value.data)
    if isinstance(read, str) or read is None or not expected & _types_of(read):
        return False
    *parent, last = error.absolute_path
    holder: Any = value_at(tree, parent).data
    holder[last] = replace(value, data=read, substituted=False)
    return True


def _expected_types(error: Any) -> set[str]:
    schemas = error.validator_value if error.validator == "anyOf" else [error.schema]
    expected: set[str] = set()
    for schema in schemas:
        types = schema.get("type", [])
        expected |= {types} if isinstance(types, str) else set(types)
    return expected


def _types_of(data: Any) -> set[str]:
    match data:
        case bool():
            return {"boolean"}
        case int():
            return {"integer", "number"}
        case _:
            return {"number"}
