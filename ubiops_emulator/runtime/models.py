"""The names that a package serves its models under: what its main file gives to vLLM's `--served-model-name`.

Contract: reads, never runs, and knows vLLM's option but no package's format. A word after the option that is no literal
is looked for under its own name: `*settings.served_names` means the first literal called `served_names`, be it a
variable, an attribute, a key or an argument. What is not understood has no names.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

OPTION = "--served-model-name"


def served_names(tree: ast.Module) -> list[str]:
    """The words after the first `--served-model-name`, up to the next option or to one that is not understood."""
    literals = _literals(tree)
    return next((names for node in ast.walk(tree) if (names := _after_option(_words(node, literals)))), [])


def _after_option(words: list[str]) -> list[str]:
    if OPTION not in words:
        return []
    names = []
    for word in words[words.index(OPTION) + 1 :]:
        if not word or word.startswith("-"):
            break
        names.append(word)
    return names


def _words(node: ast.AST, literals: dict[str, list[str]]) -> list[str]:
    """The words of a command, a list or one string; empty ones stand for what is not understood."""
    if isinstance(node, ast.List | ast.Tuple):
        return [word for item in node.elts for word in _item(item, literals)]
    return _text(node).split()


def _item(node: ast.AST, literals: dict[str, list[str]]) -> list[str]:
    several = isinstance(node, ast.Starred)
    value = node.value if isinstance(node, ast.Starred) else node
    named = literals.get(_name(value), [])
    if named and (several or len(named) == 1):
        return named
    return [_text(value)]


def _literals(tree: ast.Module) -> dict[str, list[str]]:
    """Every string, and list of strings, that has a name; the first of each name."""
    named: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        for name, value in _named(node):
            if words := _strings(value):
                named.setdefault(name, words)
    return named


def _named(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    match node:
        case ast.Assign(targets=[target], value=value) | ast.AnnAssign(target=target, value=ast.expr() as value):
            yield _name(target), value
        case ast.Dict(keys=keys, values=values):
            yield from ((_text(key), value) for key, value in zip(keys, values, strict=True) if key is not None)
        case ast.keyword(arg=str() as name, value=value):
            yield name, value


def _strings(node: ast.AST) -> list[str]:
    """A literal's strings; none if it holds anything else."""
    items = node.elts if isinstance(node, ast.List | ast.Tuple) else [node]
    words = [_text(item) for item in items]
    return words if all(words) else []


def _name(node: ast.AST) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Subscript(slice=ast.Constant(value=str() as name)):
            return name
    return ""


def _text(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
