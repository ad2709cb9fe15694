"""Stack files -> validated `Stack`s, or every problem with its place. The one room that knows YAML and JSON Schema.

Reads files, asks nobody else: no network, no UbiOps. `${NAME}` is taken from the mapping handed in.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path

from whisperctl.errors import Problem, SpecError
from whisperctl.loading import assemble, checks, merging, schema
from whisperctl.loading.checks import secrets
from whisperctl.loading.discovery import passed_over, stack_files
from whisperctl.loading.document import Malformed
from whisperctl.loading.explain import MISSING
from whisperctl.loading.paths import below
from whisperctl.loading.values import Value
from whisperctl.output import learn
from whisperctl.spec import Path_, Stack


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """What the stack files declare, and what is worth a warning."""

    stacks: tuple[Stack, ...]
    warnings: tuple[Problem, ...]
    parts: tuple[str, ...] = ()
    """Files without `stack:`, which other files extend."""


def load_stacks(
    paths: Sequence[Path], environ: Mapping[str, str], *, secrets: bool = True, parts: bool = False
) -> Loaded:
    """Every stack that `paths` (files or directories) declare, with `${NAME}` taken from `environ`.

    Without `secrets`, the values of secret env vars may be missing: for those who neither send nor compare them.
    With `parts`, a file without `stack:` is checked as the part that it is; without it is no stack.

    Raises:
        SpecError: with every problem of every file.
    """
    problems: list[Problem] = []
    stacks: list[Stack] = []
    partial: list[str] = []
    for file in stack_files(paths, problems):
        reading = _Reading(environ=environ, problems=problems, secrets=secrets, parts=parts)
        stack = reading.load(file)
        if isinstance(stack, Stack):
            stacks.append(stack)
        elif stack is not None:
            partial.append(stack)
    problems += checks.between(stacks)
    used = {mark.file for stack in stacks for mark in stack.marks.values()}  # parts that a stack extends, too
    problems += passed_over(paths, {os.path.realpath(file) for file in used})
    problems = list(dict.fromkeys(problems))  # two stacks may extend one part
    problems.sort(key=lambda problem: (problem.where.file, problem.where.line, problem.where.column))
    if any(problem.severity == "error" for problem in problems):
        raise SpecError(problems)
    return Loaded(stacks=tuple(stacks), warnings=tuple(problems), parts=tuple(partial))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reading:
    """How files are read, and where their problems go."""

    environ: Mapping[str, str]
    problems: list[Problem]
    secrets: bool
    parts: bool

    def load(self, file: Path) -> Stack | str | None:
        """The stack that `file` declares, the name of a part, or None for what is no document at all."""
        unread: list[Problem] = []
        try:
            tree = merging.merged(file, self.environ, unread, secrets=self.secrets)
        except Malformed as error:
            self.problems.extend([*unread, error.problem])
            return None
        assert isinstance(tree.data, dict)
        if self.parts and "stack" not in tree.data:
            return self._part(tree, file, unread)
        violations: list[Problem] = []
        broken = schema.check(tree, violations)
        stack = assemble.build(tree, os.fspath(file))
        learn(*(variable.value for variable in stack.env if variable.secret))
        violations += secrets.leaks(tree, stack, self.environ)
        if any(problem.path == "extends" and problem.severity == "error" for problem in (*unread, *violations)):
            violations = [problem for problem in violations if not _may_stand_elsewhere(problem)]
        own = self._report(stack, broken, unread, violations)
        return replace(stack, warnings=tuple(problem for problem in own if problem.severity == "warning"))

    def _part(self, tree: Value, file: Path, unread: list[Problem]) -> str:
        """Check what is there; whether it fits together only of a part to which nothing but the name is to be added."""
        violations: list[Problem] = []
        broken = schema.check(tree, violations, part=True)
        if not broken and schema.is_whole(tree):
            self._report(assemble.build(tree, os.fspath(file)), broken, unread, [])
        else:
            self.problems.extend([*unread, *violations])
        return os.fspath(file)

    def _report(
        self, stack: Stack, broken: AbstractSet[Path_], unread: list[Problem], violations: list[Problem]
    ) -> list[Problem]:
        """Add and return what was read and what the checks say, not judging again what could not be read properly."""
        judged = (problem for path, problem in checks.within(stack) if not below(path, broken))
        unreadable = {problem.path for problem in unread if problem.severity == "error"}
        unused = set() if self.secrets else {f"env.{var.name}.value" for var in stack.env if var.secret}
        problems = [*unread, *(problem for problem in (*violations, *judged) if problem.path not in unreadable)]
        known = set(stack.acknowledge)
        own = list(dict.fromkeys(p for p in problems if p.path not in unused and p.name not in known))
        self.problems.extend(own)
        return own


def _may_stand_elsewhere(problem: Problem) -> bool:
    """Whether a missing key may be in a file that is extended: mappings merge, lists are replaced."""
    return problem.message == MISSING and not any(part.isdecimal() for part in problem.path.split("."))
