"""What a stack says of itself: the tool's version, earlier names, acknowledged warnings, ignored fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from whisperctl import __version__
from whisperctl.loading.checks.finding import Finding
from whisperctl.loading.warnings import NAMES
from whisperctl.spec import Path_, Stack

SECTIONS = ("deployment", "version", "instance_type_group", "service", "env")
"""Whose values `ignore_changes` may name."""


def tool_version(stack: Stack) -> Iterator[Finding]:
    """This release of whisperctl is one that the file is for."""
    if stack.whisperctl is None:
        return
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        fits = SpecifierSet(stack.whisperctl).contains(__version__, prereleases=True)
    except InvalidSpecifier:
        hint = 'Write versions as pip does, such as ">=0.2" or ">=0.2,<1".'
        yield Finding(("whisperctl",), f"`{stack.whisperctl}` names no versions", hint)
        return
    if not fits:
        message = f"this file is for whisperctl {stack.whisperctl}, and this is {__version__}"
        yield Finding(("whisperctl",), message, "Install a release that fits, or change the line.")


def acknowledged(stack: Stack) -> Iterator[Finding]:
    """Only warnings that exist are acknowledged."""
    for index, name in enumerate(stack.acknowledge):
        if name not in NAMES:
            near = get_close_matches(name, sorted(NAMES), n=1)
            hint = f"Did you mean {near[0]}?" if near else "A warning ends with its name."
            yield Finding(("acknowledge", index), f"no warning is called `{name}`", hint)


def ignored(stack: Stack) -> Iterator[Finding]:
    """Each path of `ignore_changes` is that of a value that UbiOps holds."""
    for index, path in enumerate(stack.ignore_changes):
        if why := _not_ignorable(stack, path):
            yield Finding(("ignore_changes", index), f"`{path}` cannot be ignored: {why[0]}", why[1])


def _not_ignorable(stack: Stack, path: str) -> tuple[str, str] | None:
    """Why, and what to write."""
    section, _, field = path.partition(".")
    if section not in SECTIONS or not field:
        return "it names no single value", "Write version.minimum_instances, service.FIELD, env.NAME and the like."
    if section == "env":
        known = sorted(variable.name for variable in stack.env)
        return _unknown(field, known, "env")
    if section == "service":
        for service in stack.services:
            field = field.removeprefix(f"{service.name}.")
    name = field.partition(".")[0]
    if name == "name":
        return "names are fixed when an object is made", "`moved` renames it."
    return _unknown(name, sorted(_fields(section)), section)


def _unknown(name: str, known: list[str], section: str) -> tuple[str, str] | None:
    if name in known:
        return None
    near = get_close_matches(name, known, n=1)
    hint = f"Did you mean {section}.{near[0]}?" if near else f"There are: {', '.join(known) or 'none'}."
    return f"{section} has no {name}", hint


def _fields(section: str) -> Mapping[str, Any]:
    from whisperctl.loading.schema import known_fields

    return known_fields(section)


def moved(stack: Stack) -> Iterator[Finding]:
    """Old names are others than today's, and each belongs to one thing."""
    today: dict[str, tuple[str, tuple[str, ...]]] = {
        "stack": (stack.name, stack.moved.stack),
        "deployment": (stack.deployment.name, stack.moved.deployment),
        "version": (stack.version.name, stack.moved.version),
    }
    for kind, (name, olds) in today.items():
        if name in olds:
            yield Finding(("moved", kind), f"`{name}` is its name today", "Name what it was called before.")
    yield from _moved_services(stack)


def _moved_services(stack: Stack) -> Iterator[Finding]:
    path: Path_ = ("moved", "service")
    names = [service.name for service in stack.services]
    mapped = any(mark[:2] == path and len(mark) > 2 and isinstance(mark[2], str) for mark in stack.marks)
    if path in stack.marks and not mapped and len(names) != 1:
        hint = "Write a mapping of new name to old." if names else "Leave it out."
        yield Finding(path, f"the file declares {len(names)} services: which one is meant?", hint)
        return
    owners: dict[str, str] = {}
    for new, olds in stack.moved.services.items():
        at: Path_ = (*path, new) if mapped else path
        if new not in names:
            yield Finding(at, f"the file declares no service {new}", f"There are: {', '.join(names) or 'none'}.")
        yield from _old_services(at, new, olds, names, owners)


def _old_services(
    path: Path_, new: str, olds: Sequence[str], names: Sequence[str], owners: dict[str, str]
) -> Iterator[Finding]:
    """Old names that are today's of a service, or belong to another one by `owners`, which gets those of this one."""
    for old in olds:
        if old in names:
            yield Finding(path, f"`{old}` is the name of a service today", "Name what it was called before.")
        elif owners.setdefault(old, new) != new:
            yield Finding(path, f"`{old}` was one service: {owners[old]} has it already", "Leave one of the two out.")


CHECKS = (tool_version, acknowledged, ignored, moved)
