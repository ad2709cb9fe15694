"""The text of a stack file with single values replaced or added, and every other byte as it was. Pure.

Positions come from the YAML nodes. A value is replaced where it stands; one that the file does not have is added below
the nearest mapping that it has. Each edit is read back and compared: one that would change anything else is not made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from whisperctl.errors import Problem
from whisperctl.loading.document import Malformed, parse
from whisperctl.loading.scalars import key_text, quoted, value_text
from whisperctl.loading.values import plain
from whisperctl.spec import Path_


class NotEditable(Exception):
    """The value cannot be written in place; the text says why."""


def edited(text: str, path: Path_, value: Any) -> str:
    """`text` with `value` at `path`.

    Raises:
        NotEditable: the value comes from an alias, or nothing but a person could write it there.
    """
    root = _composed(text)
    nearest, rest = _nearest(root, path)
    if rest:
        new = _added(text, nearest, rest, value)
    else:
        if not isinstance(nearest.node, yaml.ScalarNode) or nearest.shared:
            raise NotEditable("it stands there as more than a plain value of its own")
        new = (
            text[: nearest.node.start_mark.index]
            + _as_before(nearest.node, value)
            + text[nearest.node.end_mark.index :]
        )
    _check(text, new, path, value)
    return new


def _composed(text: str) -> yaml.Node:
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        raise NotEditable("the file is no YAML document") from None
    if not isinstance(root, yaml.MappingNode):
        raise NotEditable("the file holds no keys and values")
    return root


@dataclass(frozen=True, slots=True)
class _Place:
    """A node, and whether it stands in several places (an anchor and its aliases)."""

    node: yaml.Node
    shared: bool


def _nearest(root: yaml.Node, path: Path_) -> tuple[_Place, Path_]:
    """The deepest node on the way, and what of the path is below it."""
    uses = _uses(root)
    node, shared = root, False
    for position, key in enumerate(path):
        below = _child(node, key)
        if below is None:
            return _Place(node, shared), path[position:]
        node, shared = below, shared or uses[below] > 1
    return _Place(node, shared), ()


def _uses(root: yaml.Node) -> dict[yaml.Node, int]:
    """How often each node is used: an alias is its anchor's node once more."""
    counts: dict[yaml.Node, int] = {}
    stack = [root]
    while stack:
        node = stack.pop()
        counts[node] = counts.get(node, 0) + 1
        if counts[node] == 1:
            stack += _inside(node)
    return counts


def _inside(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from (key, value)
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _child(node: yaml.Node, key: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for name, value in node.value if name.value == key and name.tag.endswith(":str")), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        item: yaml.Node = node.value[key]
        return item
    return None


def _as_before(node: yaml.ScalarNode, value: Any) -> str:
    """The new value in the quotes of the old one."""
    if isinstance(value, str) and node.style == '"':
        return quoted(value.replace("$", "$$"), always=True)
    if isinstance(value, str) and node.style == "'" and value.isprintable():
        return "'" + value.replace("$", "$$").replace("'", "''") + "'"
    if node.style in ("|", ">"):
        raise NotEditable("it is a block of text")
    return value_text(value)


def _added(text: str, nearest: _Place, path: Path_, value: Any) -> str:
    """The value below the nearest mapping that is there."""
    node = nearest.node
    if nearest.shared or not isinstance(node, yaml.MappingNode) or isinstance(path[0], int):
        raise NotEditable("the file has no mapping of its own for it")
    if any(isinstance(key, int) for key in path):
        raise NotEditable("a list is replaced as a whole")
    name, nested = key_text(str(path[0])), value
    for key in reversed(path[1:]):
        nested = {key: nested}
    if node.flow_style:
        end = node.value[-1][1].end_mark.index if node.value else node.start_mark.index + 1
        comma = ", " if node.value else ""
        return f"{text[:end]}{comma}{name}: {value_text(nested)}{text[end:]}"
    return _line_added(text, node, name, path, value)


def _line_added(text: str, node: yaml.MappingNode, name: str, path: Path_, value: Any) -> str:
    """Behind the mapping's last value, with its indentation and the file's line ends."""
    if not node.value:
        raise NotEditable("the mapping is empty")
    newline = "\r\n" if "\r\n" in text else "\n"
    indent = " " * node.value[0][0].start_mark.column
    lines = [f"{indent}{name}: {value_text(value)}"] if len(path) == 1 else [f"{indent}{name}:"]
    for depth, key in enumerate(path[1:], start=1):
        last = f" {value_text(value)}" if depth == len(path) - 1 else ""
        lines.append(f"{indent}{'  ' * depth}{key_text(str(key))}:{last}")
    leaf = _last_leaf(node)
    if isinstance(leaf, yaml.ScalarNode) and leaf.style in ("|", ">"):
        at = text.rfind("\n", 0, node.value[0][0].start_mark.index) + 1  # before: blank lines behind it are its own
        if text[at : node.value[0][0].start_mark.index].strip():
            raise NotEditable("there is no line of its own for it")
        return text[:at] + newline.join(lines) + newline + text[at:]
    end = text.find("\n", leaf.end_mark.index)
    if end < 0:
        return text + newline + newline.join(lines)
    return text[: end + 1] + newline.join(lines) + newline + text[end + 1 :]


def _last_leaf(node: yaml.Node) -> yaml.Node:
    while isinstance(node, yaml.MappingNode | yaml.SequenceNode) and node.value and not node.flow_style:
        last = node.value[-1]
        node = last[1] if isinstance(node, yaml.MappingNode) else last
    return node


def _check(before: str, after: str, path: Path_, value: Any) -> None:
    """Return if the two texts differ in that value alone."""
    try:
        old, new = (plain(parse(text.removeprefix("\ufeff"), "", Path(), _problems())) for text in (before, after))
    except Malformed:
        raise NotEditable("it cannot be written there") from None
    escaped = value.replace("$", "$$") if isinstance(value, str) else value
    if new != _with(old, path, escaped):
        raise NotEditable("it cannot be written there without changing something else")


def _problems() -> list[Problem]:
    return []


def _with(data: Any, path: Path_, value: Any) -> Any:
    """A copy of `data` with the value at `path`."""
    if not path:
        return value
    if isinstance(data, list) and isinstance(path[0], int):
        return [_with(item, path[1:], value) if at == path[0] else item for at, item in enumerate(data)]
    inside: Mapping[str, Any] = data if isinstance(data, dict) else {}
    return {**inside, str(path[0]): _with(inside.get(str(path[0])), path[1:], value)}
