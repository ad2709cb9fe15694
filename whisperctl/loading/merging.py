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
from whisperctl.files import FileMissing, Unreadable, home_of, refusal
from whisperctl.loading.document import Malformed, read
from whisperctl.loading.paths import normalized
from whisperctl.loading.values import Value, kind

_REFERENCE = re.compile(r"\$(?:(\$)|\{(\{)|\{([^{}]*)(\})?)")
"""`$$`, the start of GitHub's `${{`, or `${` with what follows it, and whether that is closed."""
GITHUB_SYNTAX = "`${{ }}` is the syntax of GitHub's workflows, and is not replaced in a stack file"
_BARE = re.compile(r"\$[A-Za-z_][A-Za-z0-9_]*")
_NAME = re.compile(r"^([A-Za-z_][A-Za-z0-9_]*)(?::([-?])(.*))?$", re.DOTALL)
_LIKE_ANOTHER_SHELL_WORD = re.compile(r"^([A-Za-z_][A-Za-z0-9_]*)(-|:\+|\+|\?|:=|=)", re.DOTALL)
TOKEN = "UBIOPS_API_TOKEN"  # noqa: S105 - the variable's name
"""Never taken but for a secret: it would be published by whatever shows the value."""
ANCHORS = "x-"
"""How keys at the top begin that only hold anchors."""


def merged(path: Path, environ: Mapping[str, str], problems: list[Problem], *, secrets: bool = True) -> Value:
    """The whole tree that `path` declares; without `secrets`, what is missing of secret env vars is no problem.

    Raises:
        Malformed: it, or a file that it extends, cannot be read at all.
    """
    tree = _with_parents(path, str(path), environ, problems, ())
    assert isinstance(tree.data, dict)
    declared = {key: value for key, value in tree.data.items() if not key.startswith(ANCHORS)}
    _note_lost_variables(declared.get("env"), problems)
    return _Substitution(environ, problems, secrets).tree(_without_nulls(replace(tree, data=declared)), ())


def _note_lost_variables(env: Value | None, problems: list[Problem]) -> None:
    """`env: {A: }` is null, which takes away what a part sets; where nothing does, it is a value that was forgotten."""
    for name, value in env.data.items() if env is not None and isinstance(env.data, dict) else ():
        if value.data is None and not value.removes:
            message = "nothing stands here, so that the variable is not set at all"
            hint = f'Write {name}: "" for an empty text, or leave the line out.'
            problems.append(
                Problem(
                    where=value.key or value.mark,
                    path=f"env.{name}",
                    message=message,
                    hint=hint,
                    severity="warning",
                    name="no-value",
                )
            )


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
    if (refused := refusal(target, inside=home_of(target, value.folder))) is not None:
        raise Malformed(_not_extended(parent, target, refused))
    return _over(_with_parents(target, str(target), environ, problems, chain), value)


def _not_extended(parent: Value, target: Path, refused: Unreadable) -> Problem:
    """Why a file is not read, at the line that names it."""
    message, hint = f"{target} is not read: {refused.reason}", refused.hint
    if isinstance(refused, FileMissing):
        message = f"there is no file {target}"
        hint = "The path counts from the folder of the file that it is written in."
    return Problem(where=parent.mark, path="extends", message=message, hint=hint)


def _parent_file(parent: Value, environ: Mapping[str, str], problems: list[Problem]) -> Path | None:
    before = len(problems)
    text = _Substitution(environ, problems).tree(parent, ("extends",)).data
    if any(problem.severity == "error" for problem in problems[before:]):  # what is not there is no second problem
        return None
    if not isinstance(text, str) or not text or "\0" in text:
        message = f"must be the path of one file, not {kind(text)}"
        problems.append(Problem(where=parent.place, path="extends", message=message))
        return None
    return normalized(parent.folder / text)


def _over(below: Value, above: Value) -> Value:
    """`above` merged over `below`."""
    if not (isinstance(below.data, dict) and isinstance(above.data, dict)):
        return above
    entries = dict(below.data)
    for key, value in above.data.items():
        entries[key] = _over(entries[key], value) if key in entries else value
        if value.data is None and key in below.data:
            entries[key] = replace(value, removes=True)
    return replace(above, data=entries)


def _without_nulls(value: Value) -> Value:
    """Null means: not written. In a list it stays, and the schema refuses it."""
    if not isinstance(value.data, dict):
        return value
    entries = {key: _without_nulls(entry) for key, entry in value.data.items() if entry.data is not None}
    return replace(value, data=entries)


class _Substitution:
    """Puts environment variables into string values."""

    def __init__(self, environ: Mapping[str, str], problems: list[Problem], secrets: bool = True) -> None:
        self.environ = environ
        self.problems = problems
        self.secrets = secrets

    def tree(self, value: Value, path: tuple[str, ...], *, secret: bool = False) -> Value:
        """`value` with everything put in; `secret` where it is the value of a secret env var."""
        match value.data:
            case dict(entries):
                hidden = len(path) == 2 and path[0] == "env" and _says_true(entries.get("secret"))
                below = {k: self.tree(v, (*path, k), secret=hidden and k == "value") for k, v in entries.items()}
                return replace(value, data=below)
            case list(items):
                return replace(value, data=[self.tree(v, (*path, str(i))) for i, v in enumerate(items)])
            case str(text) if "$" in text:
                return self.text(value, text, path, secret)
        return value

    def text(self, value: Value, text: str, path: tuple[str, ...], secret: bool) -> Value:
        if _BARE.fullmatch(text):
            self.warn_of_bare_name(value.mark, path)
        reading = _Reading(self, value.mark, path, secret)
        new = _REFERENCE.sub(reading.put_in, text)
        return replace(value, data=new, substituted=new != text, names=tuple(dict.fromkeys(reading.names)))

    def warn_of_bare_name(self, where: Mark, path: tuple[str, ...]) -> None:
        """`$NAME` stays what it is, and a shell reads it otherwise. It may be a password: it is not repeated."""
        message = "without braces no environment variable is put in: this text is taken as it stands"
        hint = "Write ${NAME} for the variable, $$NAME if the text is meant."
        problem = Problem(
            where=where, path=".".join(path), message=message, hint=hint, severity="warning", name="bare-variable"
        )
        self.problems.append(problem)

    def note(self, where: Mark, path: tuple[str, ...], message: str, hint: str) -> None:
        self.problems.append(Problem(where=where, path=".".join(path), message=message, hint=hint))


def _says_true(value: Value | None) -> bool:
    return value is not None and value.data is True


class _Reading:
    """One text, while what its `${NAME}` mean is put in."""

    def __init__(self, substitution: _Substitution, where: Mark, path: tuple[str, ...], secret: bool) -> None:
        self.substitution, self.where, self.path, self.secret = substitution, where, path, secret
        self.names: list[str] = []

    def note(self, message: str, hint: str) -> str:
        self.substitution.note(self.where, self.path, message, hint)
        return ""

    def put_in(self, reference: re.Match[str]) -> str:
        dollar, github, inside, closed = reference.groups()
        if dollar:
            return "$"
        if github:
            hint = "Pass it through `env:` of the job (NAME: ${{ secrets.NAME }}) and write ${NAME} here; "
            return self.note(GITHUB_SYNTAX, hint + "a literal $ is $$.")
        hint = "Write ${NAME}, ${NAME:-default} or ${NAME:?what it is}; a literal $ is $$."
        if not closed:  # what follows is not repeated: it may be a password that happens to hold `${`
            return self.note("`${` is not closed by a `}`, with no other brace between", hint)
        named = _NAME.match(inside)
        if named is not None:
            return self.value_of(*named.groups())
        if other := _LIKE_ANOTHER_SHELL_WORD.match(inside):
            return self.note(f"`${{{other[1]}{other[2]}…}}` is not understood here", hint)
        return self.note(f"`${{{inside}}}` names no variable", hint)

    def value_of(self, name: str, sign: str | None, text: str) -> str:
        """What `${NAME}`, `${NAME:-text}` or `${NAME:?text}` stands for; an empty secret must be meant."""
        self.names.append(name)
        environ = self.substitution.environ
        if name == TOKEN and not self.secret:
            hint = (
                "It would be readable by everyone who may see the project. Only a value with secret: true may hold it."
            )
            return self.note(f"{TOKEN} does not belong here", hint)
        if environ.get(name):
            return self.from_environment(name)
        if sign == "-":
            return text
        if self.secret and not self.substitution.secrets:
            return ""
        if name in environ and sign is None and not self.secret:
            return ""
        why = f": {text}" if sign == "?" and text else ""
        state = "is empty" if name in environ else "is not set"
        hint = (
            f"Set it, or write ${{{name}:-}} if it may be empty."
            if self.secret
            else f"Set it, or write ${{{name}:-default}}."
        )
        return self.note(f"the environment variable {name} {state}{why}", hint)

    def from_environment(self, name: str) -> str:
        """What the variable holds; bytes that are no UTF-8 reach Python as half characters, which nobody can send."""
        value = self.substitution.environ[name]
        try:
            value.encode()
        except UnicodeEncodeError:
            return self.note(f"the environment variable {name} holds no UTF-8 text", "Set it again.")
        return value
