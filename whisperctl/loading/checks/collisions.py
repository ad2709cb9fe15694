"""No two stacks may claim one object."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from whisperctl.errors import Problem
from whisperctl.loading.paths import dotted
from whisperctl.spec import Path_, Stack


def declared_project(stack: Stack) -> str | None:
    """The project that the stack file itself names."""
    return stack.project


def between(stacks: Sequence[Stack], project_of: Callable[[Stack], str | None] = declared_project) -> Iterator[Problem]:
    """Every object of a project that a second stack, or a second service of the same stack, claims."""
    owners: dict[tuple[str | None, str, str], tuple[Stack, Path_]] = {}
    for stack in stacks:
        for kind, name, path in _claims(stack):
            first = owners.setdefault((project_of(stack), kind, name), (stack, path))
            if first != (stack, path):
                yield _clash(stack, path, kind, name, first)


def _claims(stack: Stack) -> Iterator[tuple[str, str, Path_]]:
    yield "stack", stack.name, ("stack",)
    yield "deployment", stack.deployment.name, ("deployment", "name")
    if stack.instance_type_group.instance_types:
        yield "instance type group", stack.instance_type_group.name, ("instance_type_group", "name")
    listed = ("service", 0) in stack.marks
    for index, service in enumerate(stack.services):
        yield "service", service.name, ("service", index, "name") if listed else ("service", "name")


def _clash(stack: Stack, path: Path_, kind: str, name: str, first: tuple[Stack, Path_]) -> Problem:
    return Problem(
        where=stack.mark(*path),
        path=dotted(path),
        message=f"the {kind} {name} is claimed by {first[0].source(*first[1])} already",
        hint=f"{stack.file} and {first[0].file} would undo each other's changes: give one of them another name."
        if stack.file != first[0].file
        else "Give one of them another name.",
    )
