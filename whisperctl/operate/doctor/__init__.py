"""What may keep a stack from being applied: each thing looked at, what was found, and what to do. Reads only.

One check after the other, none stops the rest: what cannot be looked at is skipped, and says why. What only a write
would show (such as a permission that no role tells) is not tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from whisperctl.control.api import Api
from whisperctl.errors import Problem, SpecError, WhisperctlError
from whisperctl.loading import load_stacks
from whisperctl.operate.doctor import machine, project, stack
from whisperctl.operate.doctor.check import Check, Verdict, failed, guarded, ok, skipped, warning
from whisperctl.operate.doctor.hub import hub_check
from whisperctl.operate.doctor.inventory import inventory_check
from whisperctl.spec import Stack

__all__ = ["Check", "Verdict", "diagnose"]


def diagnose(
    path: Path | None,
    environ: Mapping[str, str],
    token: Callable[[str | None], str],
    project_name: Callable[[str | None], str],
    connect: Callable[[str, str], Api],
) -> Iterator[Check]:
    """Every check, in the order in which things build upon each other.

    Args:
        path: a stack file or a directory; None leaves out what concerns stacks.
        environ: for `${NAME}` in stack files.
        token: gives the API token of a project, if it is named, or raises.
        project_name: gives the project from what a stack declares, or raises.
        connect: makes the control plane of a project name and a token.
    """
    yield from machine.checks()
    stacks: tuple[Stack, ...] = ()
    if path is None:
        yield skipped("stack file", "no PATH was given and there is no stack.yaml here: nothing of a stack is checked")
    else:
        stacks, check = _read(path, environ)
        yield check
        if not stacks:
            yield skipped("stack", "its instance types, base environment and names: the file is not valid")
    declared = next((entry.project for entry in stacks if entry.project), None)
    name, named = guarded("project name", lambda: project_name(declared), "")
    given, check = guarded("token", lambda: token(name), "present and well-formed")
    yield check
    yield ok("project name", name) if name else named
    api = connect(name or "-", given or "none")
    answering, checks = project.checks(api, bool(given), name)
    yield from checks
    if answering:
        whole = path is not None and path.is_dir()
        yield inventory_check(api, {entry.name for entry in stacks} if whole else None)
    for entry in stacks:
        yield from stack.checks(api, entry, answering)
        inherited = stack.inherited_names(api, entry) if answering else ()
        yield hub_check(entry, environ, inherited)


def _read(path: Path, environ: Mapping[str, str]) -> tuple[tuple[Stack, ...], Check]:
    fix = f"whisperctl validate {path}"
    try:
        loaded = load_stacks([path], environ)
    except SpecError as error:
        wrong = [problem for problem in error.problems if problem.severity == "error"]
        return (), failed("stack file", f"{_first(wrong)}{_more(len(wrong) - 1)}", fix)
    except WhisperctlError as error:
        return (), failed("stack file", str(error).splitlines()[0], fix)
    if loaded.warnings:
        return loaded.stacks, warning(
            "stack file", f"valid; {_first(loaded.warnings)}{_more(len(loaded.warnings) - 1)}", fix
        )
    return loaded.stacks, ok("stack file", f"{', '.join(entry.file for entry in loaded.stacks)} valid")


def _first(problems: tuple[Problem, ...] | list[Problem]) -> str:
    problem = problems[0]
    return f"{problem.where}: " + (f"{problem.path}: " if problem.path else "") + problem.message


def _more(count: int) -> str:
    return f" (and {count} more)" if count else ""
