"""Paths into a tree of values."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from whisperctl.loading.document import Value
from whisperctl.spec import Path_


def dotted(path: Path_) -> str:
    """`service.0.port`, `version.labels.team`."""
    return ".".join(str(step) for step in path)


def below(path: Path_, broken: AbstractSet[Path_]) -> bool:
    """Whether `path`, or something that it lies in, is broken."""
    return any(path[:length] in broken for length in range(1, len(path) + 1))


def value_at(tree: Value, path: Sequence[str | int]) -> Value:
    """The value at `path`.

    Raises:
        LookupError: there is none.
    """
    for step in path:
        inside: Any = tree.data
        tree = inside[step]
    return tree
