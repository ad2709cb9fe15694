"""Secrets stay where they are hidden: their values, and the token, stand nowhere else in the file.

A value is not shown in any message; what is said names the variable that it belongs to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from whisperctl.errors import Problem
from whisperctl.loading.checks.finding import Finding, warning
from whisperctl.loading.paths import dotted
from whisperctl.loading.values import Value
from whisperctl.loading.warnings import WarningName
from whisperctl.output import COMMON, looks_secret, tokens_in
from whisperctl.spec import Path_, Stack
from whisperctl.spellings import SHORTEST, pattern

FREE = (("apiVersion",), ("acknowledge",), ("ignore_changes",), ("whisperctl",))
"""What is shown to nobody but the reader of the file, or says nothing."""


_BARE = re.compile(r"\$[A-Za-z_][A-Za-z0-9_]*")
"""A variable that was meant and not put in, of which `bare-variable` warns."""


@dataclass(frozen=True, slots=True)
class _Secret:
    """A value that may stand nowhere else, and how a message calls it."""

    value: str
    called: str
    names: frozenset[str]
    """The environment variables that it was taken from."""
    spellings: re.Pattern[str] | None
    """What matches it inside of other text, escaped or base64-encoded, too; None of one that is too short for that."""


def leaks(tree: Value, stack: Stack, environ: Mapping[str, str]) -> Iterator[Problem]:
    """Every value and key outside of secrets that holds the value of one, or the API token."""
    secrets = [*_tokens(environ), *_secrets(stack)]
    if not secrets:
        return
    for path, value in _outside(tree, (), hidden_of(stack)):
        for secret in secrets:
            if _contains(secret, value, path):
                yield Problem(
                    where=value.key if value.key and _in_key(secret, path) else value.mark,
                    path=_shown_path(path, secret),
                    message=f"this contains {secret.called}, which would be readable for others",
                    hint="Write it as an env var with secret: true only, and refer to nothing of it elsewhere.",
                )
                break


def hidden_of(stack: Stack) -> frozenset[Path_]:
    """The paths of the values of secret env vars."""
    return frozenset(("env", variable.name, "value") for variable in stack.env if variable.secret)


def _tokens(environ: Mapping[str, str]) -> Iterator[_Secret]:
    for name, token in tokens_in(environ).items():
        if len(token) >= SHORTEST:
            yield _Secret(token, "the API token", frozenset({name}), re.compile(pattern(token)))


def _secrets(stack: Stack) -> Iterator[_Secret]:
    for variable in stack.env:
        if variable.secret and variable.value.strip() and not _is_common(variable.value, stack):
            names = frozenset(stack.taken_from.get(("env", variable.name, "value"), ()))
            value = variable.value.strip()
            spellings = re.compile(pattern(value)) if len(value) >= SHORTEST else None
            yield _Secret(value, f"the value of the secret env var {variable.name}", names, spellings)


def _contains(secret: _Secret, value: Value, path: Path_) -> bool:
    if isinstance(value.data, str) and secret.names & set(value.names) and secret.value in value.data:
        return True
    return _is_in(secret, value.data) or _in_key(secret, path)


def _in_key(secret: _Secret, path: Path_) -> bool:
    return bool(path) and _is_in(secret, path[-1])


def _is_in(secret: _Secret, text: object) -> bool:
    return secret.spellings is not None and isinstance(text, str) and secret.spellings.search(text) is not None


def _shown_path(path: Path_, secret: _Secret) -> str:
    return dotted(tuple("…" if _is_in(secret, step) else step for step in path))


def _outside(value: Value, path: Path_, hidden: frozenset[Path_]) -> Iterator[tuple[Path_, Value]]:
    """Every value but those of secret env vars, with its path."""
    if path in hidden or path in FREE:
        return
    yield path, value
    match value.data:
        case dict(entries):
            for key, entry in entries.items():
                yield from _outside(entry, (*path, key), hidden)
        case list(items):
            for index, item in enumerate(items):
                yield from _outside(item, (*path, index), hidden)


def _is_common(value: str, stack: Stack) -> bool:
    word = value.strip()
    return word.lower() in COMMON or word == stack.project or _BARE.fullmatch(word) is not None


def blankable(stack: Stack) -> Iterator[Finding]:
    """A secret that is too short or too common a word cannot be taken out of what is shown."""
    for variable in stack.env:
        path = ("env", variable.name, "value")
        if not variable.secret or not variable.value:
            continue
        if _BARE.fullmatch(variable.value):
            continue
        if _is_common(variable.value, stack):
            yield _weak(path, "common-secret", "this secret is too common a word to be taken out of messages and logs")
        elif len(variable.value.strip()) < SHORTEST:
            message = f"this secret is shorter than {SHORTEST} characters: inside of other text it is not blanked"
            yield _weak(path, "short-secret", message)
        if variable.value != variable.value.strip():
            message = "white space stands around this secret, as a line end does that was copied along"
            hint = "Take it away where the variable is set: a server would refuse it."
            yield warning(path, "secret-white-space", message, hint)
        if not stack.taken_from.get(path):
            hint = f'Write {{value: "${{{variable.name}}}", secret: true}}, set the variable, and replace the secret.'
            yield warning(path, "secret-in-file", "everyone who may read this file knows this secret", hint)


def _weak(path: Path_, name: WarningName, message: str) -> Finding:
    return warning(path, name, message, "Take a longer one.")


def unmarked(stack: Stack) -> Iterator[Finding]:
    """Nothing that looks like a secret stands in the open."""
    hidden: set[Path_] = set(hidden_of(stack))
    for variable in stack.env:
        path: Path_ = ("env", variable.name)
        if looks_secret(variable.name) and variable.value and not variable.secret:
            hidden |= {path, (*path, "value")}
            message = "this looks like a secret, and would be readable on UbiOps"
            hint = f'Write {variable.name}: {{value: "${{{variable.name}}}", secret: true}}.'
            yield warning(path, "unmarked-secret", message, hint)
    for path, names in stack.taken_from.items():
        secret = [name for name in names if looks_secret(name)]
        if secret and path not in hidden:
            message = f"what ${{{secret[0]}}} stands for looks like a secret, and would be readable on UbiOps"
            yield warning(path, "unmarked-secret", message, "Only an env var with secret: true is hidden there.")


CHECKS = (blankable, unmarked)
