"""`ignore_changes`: which fields of which object somebody else sets. Pure.

A path of the stack file is one of fields of a resource: `version.minimum_instances`, `service.NAME.rate_limit`,
`service.rate_limit` for every service, `env.NAME` for a whole variable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from whisperctl.spec import Stack
from whisperctl.state.resources import Address, FieldPath, Kind

_SECTIONS = {
    "deployment": Kind.DEPLOYMENT,
    "version": Kind.VERSION,
    "instance_type_group": Kind.INSTANCE_TYPE_GROUP,
    "service": Kind.SERVICE,
    "env": Kind.ENV_VAR,
}


def ignored_paths(stack: Stack, address: Address) -> tuple[FieldPath, ...]:
    """The fields of the object behind `address` that the stack ignores; `()` among them stands for all of it."""
    return tuple(dict.fromkeys(path for text in stack.ignore_changes for path in _of(stack, text, address)))


def _of(stack: Stack, text: str, address: Address) -> Iterator[FieldPath]:
    section, _, rest = text.partition(".")
    if _SECTIONS.get(section) is not address.kind:
        return
    if address.kind is Kind.ENV_VAR:
        if rest == address.names[2]:
            yield ()
        return
    if address.kind is Kind.SERVICE:
        names = [service.name for service in stack.services if rest.startswith(f"{service.name}.")]
        named = max(names, key=len, default="")
        if named and named != address.names[0]:
            return
        rest = rest.removeprefix(f"{named}.") if named else rest
    head, _, below = rest.partition(".")
    # A label's name may hold dots itself.
    yield (head, below) if head == "labels" and below else tuple(rest.split("."))


def without(fields: Mapping[str, Any], paths: tuple[FieldPath, ...]) -> dict[str, Any]:
    """`fields` without those at `paths`."""
    remaining = dict(fields)
    for path in paths:
        if not path:
            return {}
        name, below = path[0], path[1:]
        inside = remaining.get(name)
        if not below:
            remaining.pop(name, None)
        elif isinstance(inside, Mapping):
            remaining[name] = without(inside, (below,))
    return remaining


def with_theirs(fields: Mapping[str, Any], live: Mapping[str, Any], paths: tuple[FieldPath, ...]) -> dict[str, Any]:
    """`fields` to send, where UbiOps replaces a mapping as a whole: with what `live` has at those of `paths` inside."""
    merged = dict(fields)
    for name, *below in (path for path in paths if path):
        inside, theirs = merged.get(name), live.get(name)
        if below and isinstance(inside, Mapping) and isinstance(theirs, Mapping) and below[0] in theirs:
            merged[name] = {**inside, below[0]: theirs[below[0]]}
    return merged
