"""A package's code -> the `vllm serve` command that it runs, read and never executed. Pure, on text.

Follows plain assignments, `os.getenv` (with the version's env vars), concatenation and f-strings; what a call or a
condition decides stays unknown. Nothing here knows whisperctl's own format.
"""

from __future__ import annotations

import ast
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DEEPEST = 20
"""Names that lead to names, before a value counts as unknown."""
_MODULES = ("vllm.entrypoints.openai.api_server", "vllm.entrypoints.api_server")
"""What is run with `python -m` in place of `vllm serve`."""
CommandWord = str | None
"""A word of a command; None where the code decides it when it runs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """How a server is started."""

    model: str | None = None
    options: Mapping[str, Sequence[CommandWord]] = field(default_factory=dict)
    """Long option, with its dashes -> its words; none of a bare one."""


def command_of(source: str, environ: Mapping[str, str]) -> Command | None:
    """The server's command in `source`, the one with most words if there are several; None if there is none.

    Args:
        source: Python, such as the `deployment.py` of a package.
        environ: what `os.getenv` gives there.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    reading = _Reading(_assigned(tree), environ)
    commands = [words for node in ast.walk(tree) if (words := _served(reading, node)) is not None]
    return parsed(max(commands, key=len)) if commands else None


def parsed(words: Sequence[CommandWord]) -> Command:
    """The words behind `vllm serve`: a model, and options in any spelling."""
    model: str | None = None
    options: dict[str, list[CommandWord]] = {}
    name = ""
    for word in words:
        if word is not None and word.startswith("--"):
            head, equals, value = word.partition("=")
            name = "--" + head.removeprefix("--").replace("_", "-")
            options.setdefault(name, []).extend([value] if equals else [])
        elif name:
            options[name].append(word)
        elif model is None:
            model = word
    named = options.pop("--model", [])
    return Command(model=model or (named[0] if named else None), options=options)


def _served(reading: _Reading, node: ast.AST) -> list[CommandWord] | None:
    """What stands behind `vllm serve` in a list, a text of one line, or neither: None."""
    if isinstance(node, ast.List | ast.Tuple | ast.BinOp):
        value = reading.value(node)
        words = [None if item is None else str(item) for item in value] if isinstance(value, list) else []
    elif isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        words = _split(reading.value(node))
    else:
        return None
    return _behind(words)


def _split(text: Any) -> list[CommandWord]:
    if not isinstance(text, str) or not ("vllm serve " in text or any(module in text for module in _MODULES)):
        return []
    try:
        return list(shlex.split(text.replace("\\\n", " "), comments=True))
    except ValueError:
        return []


def _behind(words: Sequence[CommandWord]) -> list[CommandWord] | None:
    for at, word in enumerate(words[:6]):
        is_ours = at > 0 and word == "serve" and (words[at - 1] is None or str(words[at - 1]).endswith("vllm"))
        if is_ours or word in _MODULES:
            return list(words[at + 1 :])
    return None


def _assigned(tree: ast.AST) -> dict[str, ast.expr]:
    """Name or `self.name` -> what it is set to; nothing of one that is set to several things."""
    values: dict[str, ast.expr] = {}
    several: set[str] = set()
    for name, value in _assignments(tree):
        if name in values and ast.dump(values[name]) != ast.dump(value):
            several.add(name)
        values[name] = value
    return {name: value for name, value in values.items() if name not in several}


def _assignments(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            yield from ((name, node.value) for target in node.targets if (name := _name(target)))
        elif isinstance(node, ast.AnnAssign) and node.value is not None and (name := _name(node.target)):
            yield name, node.value


def _name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=ast.Name(id=owner), attr=name):
            return f"{owner}.{name}"
    return ""


@dataclass(frozen=True, slots=True)
class _Reading:
    """What expressions stand for."""

    names: Mapping[str, ast.expr]
    environ: Mapping[str, str]

    def value(self, node: ast.expr, depth: int = 0) -> Any:
        """The value of an expression; None for what only running it would tell."""
        if depth > DEEPEST:
            return None
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name() | ast.Attribute():
                known = self.names.get(_name(node))
                return None if known is None else self.value(known, depth + 1)
            case ast.JoinedStr(values=parts):
                return self._joined(parts, depth + 1)
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return self._items(items, depth + 1)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return _sum(self.value(left, depth + 1), self.value(right, depth + 1))
            case ast.BoolOp(op=ast.Or(), values=values):
                return next((first for item in values if (first := self.value(item, depth + 1))), None)
            case ast.Call() | ast.Subscript():
                return self._looked_up(node, depth + 1)
        return None

    def _joined(self, parts: Sequence[ast.expr], depth: int) -> str | None:
        texts = [
            self.value(part.value if isinstance(part, ast.FormattedValue) else part, depth)  #
            for part in parts
        ]
        return None if None in texts else "".join(map(str, texts))

    def _items(self, items: Sequence[ast.expr], depth: int) -> list[Any]:
        values: list[Any] = []
        for item in items:
            if isinstance(item, ast.Starred):
                more = self.value(item.value, depth)
                values += more if isinstance(more, list) else [None]
            else:
                values.append(self.value(item, depth))
        return values

    def _looked_up(self, node: ast.Call | ast.Subscript, depth: int) -> Any:
        """`os.getenv(NAME, default)`, `os.environ.get(…)`, `os.environ[NAME]`, and `str(…)` or `int(…)` around one."""
        match node:
            case ast.Call(func=ast.Name(id="str" | "int" | "float"), args=[inside]):
                return self.value(inside, depth)
            case ast.Subscript(value=where, slice=key) if _dotted(where) in ("os.environ", "environ"):
                return self.environ.get(str(self.value(key, depth)))
            case ast.Call(func=where, args=[key, *default]) if _dotted(where) in _GETENV:
                name = str(self.value(key, depth))
                return self.environ.get(name) or (self.value(default[0], depth) if default else None)
        return None


_GETENV = ("os.getenv", "getenv", "os.environ.get", "environ.get")


def _dotted(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=above, attr=name):
            return f"{_dotted(above)}.{name}"
    return ""


def _sum(left: Any, right: Any) -> Any:
    if isinstance(left, str) and isinstance(right, str):
        return left + right
    if isinstance(left, list) or isinstance(right, list):
        return (left if isinstance(left, list) else [None]) + (right if isinstance(right, list) else [None])
    return None
