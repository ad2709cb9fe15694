"""YAML text -> a tree of `values` that know where they stand. The one place that knows YAML.

Stricter than YAML: duplicate keys, keys that are not text, tags, aliases that contain themselves or grow past all
reason, and numbers that read differently from how they look (`010`, `1:30`) are problems. Nothing of whisperctl's own
format is known here.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import yaml

from whisperctl.errors import Mark, Problem
from whisperctl.files import TooLarge, Unreadable, read_file
from whisperctl.loading.values import Scalar, Value, kind, shown

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
STANDARD_INPUT = "-"
"""The path that stands for it; a file of that name is `./-`, which no Path can tell from it."""
SAVED_PLAN = "whisperctl saved plan"
"""What a file of `plan -o` says that it is: whoever knows Terraform names one where a stack file is expected."""
MAX_BYTES = 1 << 20
MAX_DEPTH = 60
MAX_VALUES = 50_000
MAX_NOTES = 200
MAX_DIGITS = 40
"""Of a number: no field takes one as long, and Python needs minutes for the longest."""

_CORE = "tag:yaml.org,2002:"
_SCALARS = {_CORE + name for name in ("str", "int", "float", "bool", "null")}
_CONFUSING = re.compile(r"^[-+]?(?:0[0-9_]+|0[bxo][0-9a-fA-F_]+|[0-9][0-9_]*(?::[0-5]?[0-9])+|[0-9]*_[0-9_]*)$")
_RESOLVER: Any = yaml.resolver.Resolver()
_UNQUOTED_IN_FLOW = re.compile(r"[{\[,][^\"'{}\[\]]*:?\s*\$\{")
INVISIBLE = re.compile("[\u00a0\u00ad\u1680\u2000-\u200b\u200e\u200f\u2028-\u202f\u205f-\u2069\u3000\ufeff]")
"""Spaces that are none to YAML, and characters that turn or hide text; not the joiners that emoji are made with."""
_ODD_SPACE = "[\u00a0\u2000-\u200a\u202f\u3000]"
_HIDING = re.compile(f"^\\s*{_ODD_SPACE}|{_ODD_SPACE}\\s*$|[\u00ad\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
"""In a value: odd spaces around it, and what turns or hides text; a no-break space between words may be meant."""


class Malformed(Exception):
    """The text is no document at all; one problem says why."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.message)


def read(path: Path, name: str, problems: list[Problem]) -> Value:
    """The document in `path`, which messages call `name`; what is wrong inside it is added to `problems`.

    Raises:
        Malformed: nothing can be read from it.
    """
    start = Mark(file=name, line=1, column=1)
    try:
        raw = _raw(path)
    except TooLarge as error:
        message = f"this file is larger than {MAX_BYTES // 1024} KiB: no stack file is"
        raise Malformed(Problem(where=start, path="", message=message)) from error
    except Unreadable as error:
        hint = "Write - to read standard input." if "a pipe" in error.reason else error.hint
        raise Malformed(Problem(where=start, path="", message=error.reason, hint=hint)) from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        where = Mark(file=name, line=line, column=error.start - raw.rfind(b"\n", 0, error.start))
        raise Malformed(
            Problem(where=where, path="", message="this file is not UTF-8", hint="Save the file in UTF-8.")
        ) from error
    if f'"kind": "{SAVED_PLAN}"' in text[:200]:
        hint = f"`whisperctl show {name}` shows it, `whisperctl apply --plan {name}` performs it."
        raise Malformed(Problem(where=start, path="", message="this is a saved plan, and no stack file", hint=hint))
    return parse(text, name, path.parent, problems)


def _raw(path: Path) -> bytes:
    if os.fspath(path) != STANDARD_INPUT:
        return read_file(path, MAX_BYTES)
    try:
        raw = sys.stdin.buffer.read(MAX_BYTES + 1)
    except (OSError, ValueError):
        raise Unreadable("standard input cannot be read") from None
    if len(raw) > MAX_BYTES:
        raise TooLarge("it is too large")
    return raw


def parse(text: str, name: str, folder: Path, problems: list[Problem]) -> Value:
    """The document in `text`; see `read`.

    Raises:
        Malformed: it is no YAML, nests too deeply, or is no single mapping.
    """
    try:
        _check_depth(text, name)
        node = _single_document(text)
    except yaml.YAMLError as error:
        raise Malformed(_syntax_problem(error, text, name)) from error
    if node is None:
        raise Malformed(
            Problem(
                where=Mark(file=name, line=1, column=1),
                path="",
                message="this file is empty",
                hint="`whisperctl init` writes one.",
            )
        )
    value = _Composer(name, folder, problems).value(node, ())
    if not isinstance(value.data, dict):
        raise Malformed(
            Problem(where=value.mark, path="", message=f"a stack file holds keys and values, not {kind(value.data)}")
        )
    return value


def _single_document(text: str) -> yaml.Node | None:
    """The one document of a text; an empty one after it (`---` or `...` in the last line) counts as none.

    Raises:
        yaml.YAMLError: it is not YAML, or holds several documents.
    """
    documents = list(yaml.compose_all(text, Loader=Loader))
    while len(documents) > 1 and _is_empty(documents[-1]):
        documents.pop()
    if len(documents) < 2:
        return documents[0] if documents else None
    problem, mark = "but found another document", documents[1].start_mark
    raise yaml.composer.ComposerError(None, None, problem, mark)


def _is_empty(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.value == "" and node.tag == _CORE + "null"


def _check_depth(text: str, name: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            where = _mark(event.start_mark, name)
            raise Malformed(Problem(where=where, path="", message=f"this is nested more than {MAX_DEPTH} levels deep"))


def _syntax_problem(error: yaml.YAMLError, text: str, name: str) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be parsed"
    if mark is not None:
        where = _mark(mark, name)
    else:
        before = text[: getattr(error, "position", 0) or 0]
        where = Mark(file=name, line=before.count("\n") + 1, column=len(before) - before.rfind("\n"))
    if "but found another document" in reason:
        return Problem(
            where=where, path="", message="this file holds several documents", hint="Write one stack per file."
        )
    begun = getattr(error, "context_mark", None)  # of what was being read: a line that does not look like the fault
    first = min(where.line - 2, begun.line) if begun is not None else where.line - 2
    hint = _syntax_hint(text.split("\n")[max(first, 0) : where.line], where)
    return Problem(where=where, path="", message=f"this is not valid YAML: {reason}", hint=hint)


def _syntax_hint(lines: list[str], at: Mark) -> str:
    """What the last lines that were read show."""
    if lines and lines[-1][at.column - 1 :].startswith("\t"):
        return "YAML indents with spaces, not tabs."
    for back, line in enumerate(reversed(lines)):
        if character := INVISIBLE.search(line):
            where = f"Line {at.line - back}, column {character.start() + 1}"
            return f"{where} holds an invisible character ({code_point(character[0])}): write a plain space."
        if _UNQUOTED_IN_FLOW.search(line):
            return 'Between { } and [ ] a ${NAME} stands in quotes: {minimum_instances: "${N}"}.'
    return ""


def code_point(character: str) -> str:
    """`U+00A0 NO-BREAK SPACE`."""
    from unicodedata import name

    return f"U+{ord(character):04X} {name(character, '')}".strip()


def _mark(mark: Any, name: str) -> Mark:
    return Mark(file=name, line=mark.line + 1, column=mark.column + 1)


@dataclass(slots=True)
class _Composer:
    """Turns nodes into values and notes what is wrong on the way."""

    name: str
    folder: Path
    problems: list[Problem]
    count: int = 0
    noted: int = 0
    open: tuple[yaml.Node, ...] = ()
    """The nodes on the way to the one that is turned; PyYAML's nodes are equal to themselves alone."""

    def value(self, node: yaml.Node, path: tuple[str, ...]) -> Value:
        self.count += 1
        if self.count > MAX_VALUES:
            raise Malformed(
                Problem(
                    where=self.mark(node),
                    path="",
                    message=f"this file grows past {MAX_VALUES} values through its aliases",
                )
            )
        if node in self.open:
            raise Malformed(Problem(where=self.mark(node), path="", message="this alias contains itself"))
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, path)
        self.open = (*self.open, node)
        if node.tag not in (_CORE + "map", _CORE + "seq"):
            self.note(node, path, f"the tag {node.tag.replace(_CORE, '!!')} is not understood here", "Leave it out.")
        data: dict[str, Value] | list[Value]
        if isinstance(node, yaml.MappingNode):
            data = self.mapping(node, path)
        else:
            data = [self.value(item, (*path, str(index))) for index, item in enumerate(node.value)]
        self.open = self.open[:-1]
        return Value(data, self.mark(node), self.folder)

    def mapping(self, node: yaml.MappingNode, path: tuple[str, ...]) -> dict[str, Value]:
        merged: dict[str, Value] = {}
        own: dict[str, Value] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _CORE + "merge":
                for key, value in self.merge(value_node, path):
                    merged.setdefault(key, value)
                continue
            name = self.key(key_node, path)
            if name is None:
                continue
            value = replace(self.value(value_node, (*path, name)), key=self.mark(key_node))
            if name in own:
                first = own[name].key
                self.note(
                    key_node, (*path, name), "this key is written twice",
                    f"It stands in line {first.line if first else '?'} already: keep one of the two.",
                )  # fmt: skip
            own[name] = value
        return {**merged, **own}

    def merge(self, node: yaml.Node, path: tuple[str, ...]) -> Iterator[tuple[str, Value]]:
        value = self.value(node, path)
        for part in value.data if isinstance(value.data, list) else [value]:
            if not isinstance(part.data, dict):
                self.note(node, path, "`<<` must name a mapping, or a list of mappings")
                return
            yield from part.data.items()

    def key(self, node: yaml.Node, path: tuple[str, ...]) -> str | None:
        if isinstance(node, yaml.ScalarNode) and node.tag == _CORE + "str":
            self.note_invisible(node, path, INVISIBLE.search(node.value))
            return str(node.value)
        if isinstance(node, yaml.ScalarNode) and len(node.value) <= MAX_DIGITS:
            hint = f'Write it in quotes: "{node.value}".' if node.value else ""
            self.note(node, path, f"the key `{node.value}` is read by YAML as {_seen(node)}", hint)
        else:
            self.note(node, path, "a key must be plain text")
        return None

    def scalar(self, node: yaml.ScalarNode, path: tuple[str, ...]) -> Value:
        quoted = node.style is not None
        value = Value(node.value, self.mark(node), self.folder, written=node.value, quoted=quoted)
        if node.tag == _CORE + "timestamp" and not node.style:
            return value  # YAML 1.1 takes it for a date; no field wants one, so it stays the text that it is
        if node.tag not in _SCALARS:
            shown = node.tag.replace(_CORE, "!!")
            self.note(node, path, f"the tag {shown} is not understood here", "Leave it out.")
            return value
        if node.tag in (_CORE + "int", _CORE + "float") and len(node.value) > MAX_DIGITS:
            self.note(node, path, "this is no number that can be used", f"It has more than {MAX_DIGITS} characters.")
            return value
        if node.tag == _CORE + "int" and _CONFUSING.match(node.value):
            text = node.value
            self.note(
                node,
                path,
                f"`{text}` is read by YAML as {_seen(node)}",
                f'Write it in quotes ("{text}") if text is meant, else as a plain decimal number.',
            )
        built = _construct(node)
        self.note_invisible(node, path, _HIDING.search(node.value))
        if isinstance(built, float) and not isfinite(built):
            self.note(node, path, f"`{node.value}` is no number that can be used", "")
        return replace(value, data=built)

    def mark(self, node: yaml.Node) -> Mark:
        return _mark(node.start_mark, self.name)

    def note(self, node: yaml.Node, path: tuple[str, ...], message: str, hint: str = "") -> None:
        self.noted += 1
        if self.noted > MAX_NOTES:
            raise Malformed(Problem(where=self.mark(node), path="", message="and so on: this is no stack file"))
        self.problems.append(Problem(where=self.mark(node), path=".".join(path), message=message, hint=hint))

    def note_invisible(self, node: yaml.ScalarNode, path: tuple[str, ...], match: re.Match[str] | None) -> None:
        """A character that nobody sees makes another word of what is read."""
        if match is None:
            return
        problem = Problem(
            where=self.mark(node),
            path=".".join(path),
            message=f"this holds an invisible character, {code_point(match[0])}",
            hint="Write it anew, or in double quotes as an escape if it is meant.",
            severity="warning",
            name="invisible-character",
        )
        self.problems.append(problem)


def _construct(node: yaml.ScalarNode) -> Scalar:
    if node.tag == _CORE + "str":
        return str(node.value)
    try:
        built: Scalar = yaml.constructor.SafeConstructor().construct_object(node)
    except (ValueError, KeyError, yaml.YAMLError):
        return str(node.value)
    return built


def _seen(node: yaml.ScalarNode) -> str:
    return shown(_construct(node))


def resolve(text: str) -> Scalar:
    """What YAML would read `text` as if it stood there without quotes."""
    if len(text) > MAX_DIGITS:
        return text
    tag = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False))
    return _construct(yaml.ScalarNode(tag, text)) if tag in _SCALARS else text
