"""A request body against a table of fields: unknown, missing, mistyped or out of range is refused, all at once.

Contract: pure. What a field means belongs to the rules; what fields there are, to `shapes`.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ubiops_emulator.refusal import invalid

Problems = list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a request body.

    Attributes:
        kind: what JSON it is: a name in `_KINDS`.
        low, high: bounds of a number, or of a string's length.
        fields: the members of an `object` or of the items of `objects`.
        default: filled in on create; a missing one leaves the field out.
    """

    kind: str
    required: bool = False
    nullable: bool = False
    low: int | None = None
    high: int | None = None
    choices: tuple[str, ...] = ()
    pattern: str | None = None
    hint: str = ""
    create: bool = True
    update: bool = True
    default: Any = ...
    fields: Mapping[str, Field] | None = None


def checked(fields: Mapping[str, Field], body: Any, *, creating: bool, ignore_unknown: bool = False) -> dict[str, Any]:
    """The body with defaults filled (on create).

    Raises:
        Refusal: 400 naming every problem.
    """
    if body is None and not creating:
        body = {}
    if not isinstance(body, dict):
        raise invalid("The request body must be a JSON object")
    problems: Problems = []
    result = _object(fields, body, creating=creating, ignore_unknown=ignore_unknown, path="", problems=problems)
    if problems:
        raise invalid("; ".join(problems))
    return result


def trimmed(value: Any) -> Any:
    """A body without the white space around its strings, as Django REST framework's text fields take them."""
    if isinstance(value, dict):
        return {name: trimmed(item) for name, item in value.items()}
    if isinstance(value, list):
        return [trimmed(item) for item in value]
    return value.strip() if isinstance(value, str) else value


def _object(
    fields: Mapping[str, Field],
    body: dict[str, Any],
    *,
    creating: bool,
    ignore_unknown: bool,
    path: str,
    problems: Problems,
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in body.items():
        field = fields.get(name)
        if field is None:
            if not ignore_unknown:
                problems.append(f"{path}{name}: unknown field")
        elif not (field.create if creating else field.update):
            when = "on create" if creating else "after creation"
            problems.append(f"{path}{name}: this field cannot be set {when}")
        else:
            result[name] = _value(field, value, f"{path}{name}", problems)
    if creating:
        _complete(fields, result, path, problems)
    return result


def _complete(fields: Mapping[str, Field], result: dict[str, Any], path: str, problems: Problems) -> None:
    for name, field in fields.items():
        if name in result or not field.create:
            continue
        if field.required:
            problems.append(f"{path}{name}: this field is required")
        elif field.default is not ...:
            default = field.default
            result[name] = default.copy() if isinstance(default, dict | list) else default


def _value(field: Field, value: Any, path: str, problems: Problems) -> Any:
    if value is None:
        if not field.nullable:
            problems.append(f"{path}: this field may not be null")
        return None
    problem = _KINDS[field.kind](field, value)
    if problem:
        problems.append(f"{path}: {problem}")
    elif field.kind == "object" and field.fields is not None:
        return _object(field.fields, value, creating=True, ignore_unknown=False, path=f"{path}.", problems=problems)
    elif field.kind == "objects" and field.fields is not None:
        return [_item(field.fields, item, f"{path}[{i}]", problems) for i, item in enumerate(value)]
    return value


def _item(fields: Mapping[str, Field], item: Any, path: str, problems: Problems) -> Any:
    if not isinstance(item, dict):
        problems.append(f"{path}: an object is required")
        return item
    return _object(fields, item, creating=True, ignore_unknown=False, path=f"{path}.", problems=problems)


def _string(field: Field, value: Any) -> str | None:
    if not isinstance(value, str):
        return "a string is required"
    low = 0 if field.low is None else field.low
    if len(value) < low:
        return "this field may not be blank" if low == 1 else f"at least {low} characters are required"
    if field.high is not None and len(value) > field.high:
        return f"at most {field.high} characters are allowed"
    if "\x00" in value:
        return "null characters are not allowed"
    if field.choices and value not in field.choices:
        return f'"{value}" is not a valid choice ({", ".join(field.choices)})'
    if field.pattern and not re.fullmatch(field.pattern, value):
        return field.hint or f"must match {field.pattern}"
    return None


def _integer(field: Field, value: Any) -> str | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return "an integer is required"
    return _range(field, value)


def _number(field: Field, value: Any) -> str | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return "a number is required"
    return _range(field, value)


def _range(field: Field, value: float) -> str | None:
    if field.low is not None and value < field.low:
        return f"must be at least {field.low}"
    if field.high is not None and value > field.high:
        return f"must be at most {field.high}"
    return None


def _boolean(_field: Field, value: Any) -> str | None:
    return None if isinstance(value, bool) else "a boolean is required"


def _labels(_field: Field, value: Any) -> str | None:
    if not isinstance(value, dict):
        return "a map of strings is required"
    wrong = sorted(key for key, item in value.items() if not key or not isinstance(item, str))
    return f"labels must be strings: {', '.join(wrong)}" if wrong else None


def _uuid(_field: Field, value: Any) -> str | None:
    if not isinstance(value, str):
        return "a UUID is required"
    try:
        uuid.UUID(value)
    except ValueError:
        return f'"{value}" is not a valid UUID'
    return None


def _date(_field: Field, value: Any) -> str | None:
    try:
        datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return "an ISO-8601 date is required"
    return None


def _strings(_field: Field, value: Any) -> str | None:
    good = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return None if good else "a list of strings is required"


def _mapping(_field: Field, value: Any) -> str | None:
    return None if isinstance(value, dict) else "an object is required"


def _sequence(_field: Field, value: Any) -> str | None:
    return None if isinstance(value, list) else "a list of objects is required"


def _command(_field: Field, value: Any) -> str | None:
    good = isinstance(value, str) or _strings(_field, value) is None
    return None if good else "a string or a list of strings is required"


def _any(_field: Field, _value: Any) -> str | None:
    return None


_KINDS = {
    "str": _string,
    "int": _integer,
    "number": _number,
    "bool": _boolean,
    "labels": _labels,
    "uuid": _uuid,
    "date": _date,
    "strings": _strings,
    "object": _mapping,
    "objects": _sequence,
    "command": _command,
    "any": _any,
}
