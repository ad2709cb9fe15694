"""Stack files -> validated `Stack`s, or every problem with its place. The one room that knows YAML and JSON Schema.

Reads files, asks nobody else: no network, no UbiOps. `${NAME}` is taken from the mapping handed in.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from whisperctl.errors import Problem, SpecError
from whisperctl.loading import assemble, checks, merging, schema
from whisperctl.loading.discovery import passed_over, stack_files
from whisperctl.loading.document import Malformed
from whisperctl.loading.paths import below
from whisperctl.spec import Stack


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """What the stack files declare, and what is worth a warning."""

    stacks: tuple[Stack, ...]
    warnings: tuple[Problem, ...]


def load_stacks(paths: Sequence[Path], environ: Mapping[str, str], *, secrets: bool = True) -> Loaded:
    """Every stack that `paths` (files or directories) declare, with `${NAME}` taken from `environ`.

    Without `secrets`, the values of secret env vars may be missing: for those who neither send nor compare them.

    Raises:
        SpecError: with every problem of every file.
    """
    problems: list[Problem] = []
    stacks = [stack for file in stack_files(paths, problems) for stack in _load(file, environ, problems, secrets)]
    problems += checks.between(stacks)
    used = {mark.file for stack in stacks for mark in stack.marks.values()}  # parts that a stack extends, too
    problems += passed_over(paths, {os.path.realpath(file) for file in used})
    problems = list(dict.fromkeys(problems))  # two stacks may extend one part
    problems.sort(key=lambda problem: (problem.where.file, problem.where.line, problem.where.column))
    if any(problem.severity == "error" for problem in problems):
        raise SpecError(problems)
    return Loaded(stacks=tuple(stacks), warnings=tuple(problems))


def _load(file: Path, environ: Mapping[str, str], problems: list[Problem], secrets: bool) -> list[Stack]:
    unread: list[Problem] = []
    try:
        tree = merging.merged(file, environ, unread)
    except Malformed as error:
        problems += [*unread, error.problem]
        return []
    found: list[Problem] = []
    broken = schema.check(tree, found)
    stack = assemble.build(tree, os.fspath(file))
    found += (problem for path, problem in checks.within(stack) if not below(path, broken))
    # A value that could not be read properly is not judged again.
    told = {problem.path for problem in unread if problem.severity == "error"}
    unused = set() if secrets else {f"env.{variable.name}.value" for variable in stack.env if variable.secret}
    read = [*unread, *(problem for problem in found if problem.path not in told)]
    own = list(dict.fromkeys(problem for problem in read if problem.path not in unused))
    problems += own
    return [replace(stack, warnings=tuple(problem for problem in own if problem.severity == "warning"))]
