"""A quick yes: whether plain data plainly satisfies our schema.

Importing jsonschema costs more than everything else in `whisperctl validate`, and most files are right. What is not
accepted here goes to jsonschema, which alone says what is wrong; a test holds this against it. Only the keywords that
our schema uses are known, and any other is a no.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda data: isinstance(data, str),
    "boolean": lambda data: isinstance(data, bool),
    "integer": lambda data: isinstance(data, int) and not isinstance(data, bool),
    "number": lambda data: isinstance(data, int | float) and not isinstance(data, bool),
    "object": lambda data: isinstance(data, dict),
    "array": lambda data: isinstance(data, list),
}
_SILENT = frozenset(
    {"$schema", "$id", "$defs", "title", "description", "default", "examples", "properties", "patternProperties"}
)
"""Of `patternProperties` only the keys for anchors, which are gone before: with one of them the answer is a no."""


def accepts(schema: Mapping[str, Any], data: Any) -> bool:
    """Whether `data` satisfies `schema`; False also when that cannot be told quickly."""
    return _Root(schema).fits(schema, data)


class _Root:
    """The whole schema, for its `$ref`s."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.definitions: Mapping[str, Any] = schema.get("$defs", {})

    def fits(self, schema: Mapping[str, Any], data: Any) -> bool:
        return all(keyword in _SILENT or self.holds(schema, keyword, limit, data) for keyword, limit in schema.items())

    def holds(self, schema: Mapping[str, Any], keyword: str, limit: Any, data: Any) -> bool:
        match keyword:
            case "$ref":
                return self.fits(self.definitions[limit.removeprefix("#/$defs/")], data)
            case "anyOf":
                return any(self.fits(branch, data) for branch in limit)
            case "type":
                return any(_TYPES[name](data) for name in ([limit] if isinstance(limit, str) else limit))
            case "items":
                return not isinstance(data, list) or all(self.fits(limit, item) for item in data)
            case "required" | "propertyNames" | "additionalProperties":
                return not isinstance(data, dict) or self.mapping_holds(schema, keyword, limit, data)
        return _scalar_holds(keyword, limit, data)

    def mapping_holds(self, schema: Mapping[str, Any], keyword: str, limit: Any, data: Mapping[str, Any]) -> bool:
        match keyword:
            case "required":
                return data.keys() >= set(limit)
            case "propertyNames":
                return all(self.fits(limit, name) for name in data)
        known = schema.get("properties", {})
        others = limit or {"enum": []}
        return all(self.fits(known.get(name, others), value) for name, value in data.items())


def _scalar_holds(keyword: str, limit: Any, data: Any) -> bool:
    match keyword:
        case "const":
            return isinstance(data, str) and bool(data == limit)
        case "enum":
            return isinstance(data, str) and data in limit
        case "minLength" | "maxLength" | "pattern":
            return not isinstance(data, str) or _text_holds(keyword, limit, data)
        case "minimum" | "maximum" | "exclusiveMinimum":
            return _TYPES["number"](data) and _number_holds(keyword, limit, data)
    return False


def _text_holds(keyword: str, limit: Any, data: str) -> bool:
    match keyword:
        case "minLength":
            return len(data) >= int(limit)
        case "maxLength":
            return len(data) <= int(limit)
    return re.search(limit, data) is not None


def _number_holds(keyword: str, limit: Any, data: float) -> bool:
    match keyword:
        case "minimum":
            return data >= float(limit)
        case "maximum":
            return data <= float(limit)
    return data > float(limit)
