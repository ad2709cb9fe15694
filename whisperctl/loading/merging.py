"""One stack file with everything it extends -> one tree of values, `${NAME}` put in.

Mappings merge, lists and scalars replace, null removes. Every value keeps the place where it is really written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from whisperctl.errors import Mark, Problem
from whisperctl.loading.document import Malformed, Value, kind, read

_REFERENCE = re.compile(r"\$(?:(\$)|\{(\{)|\{([^{}]*)(\})?)")
"""`$$`, the start of GitHub's `${{`, or `${` with what follows it, and whether that is closed."""
GITHUB_SYNTAX = "`${{ }}` is the syntax of GitHub's workflows, and is not replaced in a stack file"
_BARE = re.compile(r"\$[A-Za-z_][A-Za-z0-9_]*")
_NAME = re.compile(r"^([A-Za-z_][A-Za-z0-9_]*)(:-(.*))?$", re.DOTALL)


def merged(path: Path, environ: Mapping[str, str], problems: list[Problem]) -> Value:
    """The whole tree that `path` declares.

    Raises:
        Malformed: it, or a file that it extends, cannot be read at all.
    """
    tree = _with_parents(path, str(path), environ, problems, ())
    assert isinstance(tree.data, dict)
    return _Substitution(environ, problems).tree(_without_nulls(tree), ())


def _with_parents(
    path: Path, name: str, environ: Mapping[str, str], problems: list[Problem], seen: tuple[str, ...]
) -> Value:
    value = read(path, name, problems)
    assert isinstance(value.data, dict)
    parent = value.data.pop("extends", None)
    if parent is None or parent.data is None:
        return value
    target = _parent_file(parent, environ, problems)
    if target is None:
        return value
    chain = (*seen, os.path.realpath(path))
    if os.path.realpath(target) in chain:
        raise Malformed(Problem(where=parent.mark, path="extends", message=f"{target} extends itself in the end"))
    if not target.exists():
        hint = "The path counts from the folder of the file that it is written in."
        raise Malformed(Problem(where=parent.mark, path="extends", message=f"there is no file {target}", hint=hint))
    return _over(_with_parents(target, str(target), environ, problems, chain), value)


def _parent_file(parent: Value, environ: Mapping[str, str], problems: list[Problem]) -> Path | None:
    text = _Substitution(environ, problems).tree(parent, ("extends",)).data
    if not isinstance(text, str) or not text or "\0" in text:
        message = f"must be the path of one file, not {kind(text)}"
        problems.append(Problem(where=parent.place, path="extends", message=message))
        return None
    return parent.folder / text


def _over(below: Value, above: Value) -> Value:
    """`above` merged over `below`."""
    if not (isinstance(below.data, dict) and isinstance(above.data, dict)):
        return above
    entries = dict(below.data)
    for key, value in above.data.items():
        entries[key] = _over(entries[key], value) if key in entries else value
    return replace(above, data=entries)


def _without_nulls(value: Value) -> Value:
    """Null means: not written. In a list it stays, and the schema refuses it."""
    if not isinstance(value.data, dict):
        return value
    kept = {key: _without_nulls(entry) for key, entry in value.data.items() if entry.data is not None}
    return replace(value, data=kept)


class _Substitution:
    """Puts environment variables into string values."""

    def __init__(self, environ: Mapping[str, str], problems: list[Problem]) -> None:
        self.environ = environ
        self.problems = problems

    def tree(self, value: Value, path: tuple[str, ...]) -> Value:
        match value.data:
            case dict(entries):
                return replace(value, data={k: self.tree(v, (*path, k)) for k, v in entries.items()})
            case list(items):
                return replace(value, data=[self.tree(v, (*path, str(i))) for i, v in enumerate(items)])
            case str(text) if "$" in text:
                if _BARE.fullmatch(text):
                    self.warn_of_bare_name(value.mark, path)
                new = _REFERENCE.sub(lambda found: self.put_in(found, value.mark, path), text)
                return replace(value, data=new, substituted=new != text)
        return value

    def put_in(self, found: re.Match[str], where: Mark, path: tuple[str, ...]) -> str:
        dollar, github, inside, closed = found.groups()
        if dollar:
            return "$"
        if github:
            hint = "Pass it through `env:` of the job (NAME: ${{ secrets.NAME }}) and write ${NAME} here; "
            self.note(where, path, GITHUB_SYNTAX, hint + "a literal $ is $$.")
            return ""
        hint = "Write ${NAME} or ${NAME:-default}; a literal $ is $$."
        if not closed:  # what follows is not repeated: it may be a password that happens to hold `${`
            self.note(where, path, "`${` is not closed by a `}`, with no other brace between", hint)
            return ""
        named = _NAME.match(inside)
        if named is None:
            self.note(where, path, f"`${{{inside}}}` names no variable", hint)
            return ""
        name, has_default, default = named.groups()
        if self.environ.get(name) or (name in self.environ and not has_default):
            return self.text(name, where, path)
        if has_default:
            return str(default)
        hint = f"Set it, or write ${{{name}:-default}}."
        self.note(where, path, f"the environment variable {name} is not set", hint)
        return ""

    def text(self, name: str, where: Mark, path: tuple[str, ...]) -> str:
        """What the variable holds; bytes that are no UTF-8 reach Python as half characters, which nobody can send."""
        value = self.environ[name]
        try:
            value.encode()
        except UnicodeEncodeError:
            self.note(where, path, f"the environment variable {name} holds no UTF-8 text", "Set it again.")
            return ""
        return value

    def warn_of_bare_name(self, where: Mark, path: tuple[str, ...]) -> None:
        """`$NAME` stays what it is, and a shell reads it otherwise. It may be a password: it is not repeated."""
        message = "without braces no environment variable is put in: this text is taken as it stands"
        hint = "Write ${NAME} for the variable, $$NAME if the text is meant."
        self.problems.append(Problem(where=where, path=".".join(path), message=message, hint=hint, severity="warning"))

    def note(self, where: Mark, path: tuple[str, ...], message: str, hint: str) -> None:
        self.problems.append(Problem(where=where, path=".".join(path), message=message, hint=hint))
