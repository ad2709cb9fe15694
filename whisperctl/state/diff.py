"""State × State → changes of fields. Pure, stupid, and the one place that knows deepdiff.

Only what the desired side names is compared: fields set elsewhere, server-filled defaults and foreign labels are never
a difference, nor is what UbiOps keeps in another form: the order of a set, and white space around a text where it has
been seen to take that off.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from whisperctl.state.resources import UNORDERED


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldChange:
    """One field that differs; a missing value is None."""

    path: str
    """UbiOps' names, dotted: `labels.team`."""
    before: Any
    after: Any
    names: tuple[str, ...] = ()
    """The environment variables that the desired value was made of."""


def differing_fields(
    live: Mapping[str, Any], desired: Mapping[str, Any], *, trims: Container[str] = ()
) -> tuple[FieldChange, ...]:
    """What must change in `live` so that it holds everything that `desired` names, in the order of the paths.

    `trims`: the fields from whose texts UbiOps takes white space off the ends.
    """
    given, after = normal(live), normal(desired)
    before = {field: _seen_through(given.get(field), value, field in trims, field) for field, value in after.items()}
    if before == after:
        return ()
    from deepdiff import DeepDiff

    changes: list[FieldChange] = []
    for level in (level for levels in DeepDiff(before, after, view="tree").values() for level in levels):
        path = _through_mappings(after, level.path(output_format="list"))
        changes.append(FieldChange(path=".".join(path), before=_at(before, path), after=_at(after, path)))
    return tuple({change.path: change for change in sorted(changes, key=lambda change: change.path)}.values())


def normal(value: Any) -> Any:
    """`value` with whole floats as integers and tuples as lists: JSON does not tell them apart."""
    match value:
        case Mapping():
            return {str(key): normal(item) for key, item in value.items()}
        case list() | tuple():
            return [normal(item) for item in value]
        case float() if value.is_integer():
            return int(value)
        case _:
            return value


def is_trimmed(live: Any, desired: Any) -> bool | None:
    """Whether texts of `desired` with white space around them stand without it in `live`; None where there are none."""
    match live, desired:
        case Mapping(), Mapping():
            answers = [is_trimmed(live.get(key), value) for key, value in desired.items()]
            return None if set(answers) <= {None} else True in answers
        case str(), str() if desired != desired.strip() and live in (desired, desired.strip()):
            return live != desired
        case _:
            return None


def _seen_through(live: Any, desired: Any, trims: bool, key: str = "") -> Any:
    """`live` cut to the keys that `desired` names, and `desired` itself where both mean the same to UbiOps.

    A key that is missing is None.
    """
    match live, desired:
        case dict(), dict():
            return {key: _seen_through(live.get(key), value, trims, key) for key, value in desired.items()}
        case str(), str() if trims and live == desired.strip():
            return desired
        case list(), list() if key in UNORDERED and sorted(map(str, live)) == sorted(map(str, desired)):
            return desired
        case _:
            return live


def _through_mappings(value: Any, keys: list[Any]) -> list[str]:
    """The start of `keys` that leads through mappings alone.

    A list and a masked value are one value: an index, or an attribute, says nothing about what was meant.
    """
    path: list[str] = []
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            break
        path.append(key)
        value = value[key]
    return path


def _at(value: Any, path: list[str]) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value
