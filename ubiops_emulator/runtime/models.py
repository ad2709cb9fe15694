"""The names that a package serves its model under, as far as its source says them in so many words.

Contract: reads, never runs; what it does not understand has no names.
"""

from __future__ import annotations

import ast
import contextlib

CONFIG = "CONFIG"
OPTION = "--served-model-name"


def served_names(tree: ast.Module) -> list[str]:
    """`served_names` of a literal `CONFIG = {...}` at the top level, else the words after `--served-model-name`."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == CONFIG for to in node.targets):
            with contextlib.suppress(ValueError, TypeError, SyntaxError):
                config = ast.literal_eval(node.value)
                names = config.get("served_names") if isinstance(config, dict) else None
                if isinstance(names, list | tuple) and names:
                    return [str(name) for name in names]
    return next((names for node in ast.walk(tree) if (names := _after_option(_words(node)))), [])


def _words(node: ast.AST) -> list[str]:
    """The words of a command: a list's strings up to what is no literal, or the parts of one string."""
    if isinstance(node, ast.List | ast.Tuple):
        return [_text(item) for item in node.elts]
    return _text(node).split()


def _text(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _after_option(words: list[str]) -> list[str]:
    """What follows the option, up to the next one or to a word that is not known."""
    if OPTION not in words:
        return []
    names = []
    for word in words[words.index(OPTION) + 1 :]:
        if not word or word.startswith("-"):
            break
        names.append(word)
    return names
