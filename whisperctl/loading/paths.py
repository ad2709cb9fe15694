"""Paths into a tree of values, and paths of files as messages show them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from whisperctl.loading.values import Value
from whisperctl.spec import Path_


def normalized(path: Path) -> Path:
    """`env/dev/../../base/x.yaml` as `base/x.yaml`, unless a link on the way makes that another file."""
    short = Path(os.path.normpath(path))
    return short if os.path.realpath(short) == os.path.realpath(path) else path


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
