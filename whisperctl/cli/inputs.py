"""From the global options to the objects that commands work with: stacks, and the UbiOps project of each."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from whisperctl.cli.options import DEFAULT_PATH, Settings
from whisperctl.cli.output import echo
from whisperctl.errors import WhisperctlError, merged_warnings

if TYPE_CHECKING:
    from whisperctl.clock import Clock
    from whisperctl.control.api import Api
    from whisperctl.control.rate_limit import RateLimit
    from whisperctl.engine import World
    from whisperctl.plan.plan import Plan
    from whisperctl.plan.selection import Selection
    from whisperctl.spec import Stack

LISTED = 12
"""Addresses that are named where a glob matches none."""


def paths_or_default(paths: Sequence[str]) -> Sequence[str]:
    """The paths; without any stack.yaml, or, where there is none, the folder if stack files are in or below it.

    For commands that only look: one that writes has its file named.
    """
    if paths or os.path.lexists(DEFAULT_PATH):
        return paths or (DEFAULT_PATH,)
    from whisperctl.loading.discovery import stack_files

    return (os.curdir,) if stack_files([Path(os.curdir)], []) else (DEFAULT_PATH,)


def read_stacks(paths: Sequence[str], *, secrets: bool = True, warn: bool = True) -> tuple[Stack, ...]:
    """The stacks of the given files and directories (default `stack.yaml`).

    Args:
        paths: files and directories.
        secrets: whether the values of secret env vars must be there: for those who send or compare them.
        warn: whether warnings go to stderr: they are for those who change a stack, not for those who use it.
    """
    from whisperctl.loading import load_stacks

    loaded = load_stacks([Path(path) for path in paths or (DEFAULT_PATH,)], os.environ, secrets=secrets)
    for text in merged_warnings(loaded.warnings) if warn else ():
        echo(text, err=True)
    return loaded.stacks


def read_stack(path: str, *, secrets: bool = False, warn: bool = False) -> Stack:
    """The one stack at `path`; as for those who use it, unless they say otherwise.

    Raises:
        WhisperctlError: there are none or several.
    """
    stacks = read_stacks([path], secrets=secrets, warn=warn)
    if len(stacks) != 1:
        names = ", ".join(stack.file for stack in stacks) or "none"
        raise WhisperctlError(f"{path} must hold exactly one stack; found: {names}.")
    return stacks[0]


def followed_stacks(paths: Sequence[str], project_of: Callable[[Stack], str]) -> Callable[[], Sequence[Stack]]:
    """The stacks of files and directories as they are whenever it is called; read again only once a file has changed.

    What has become unreadable, or names another project, is told once; the stacks read before are gone on with.
    """
    from whisperctl.errors import SpecError

    stacks = read_stacks(paths)
    projects, seen = {project_of(stack) for stack in stacks}, _signature(paths, stacks)

    def current() -> Sequence[Stack]:
        nonlocal stacks, seen
        now = _signature(paths, stacks)
        if now == seen:
            return stacks
        seen = now
        try:
            fresh = read_stacks(paths)
        except SpecError as error:
            click.echo(f"warning: The changed files are not read; what they said before is gone by.\n{error}", err=True)
            return stacks
        if more := {project_of(stack) for stack in fresh} - projects:
            click.echo(f"warning: Start watch again to look at {', '.join(sorted(more))}, too.", err=True)
        stacks = tuple(stack for stack in fresh if project_of(stack) in projects)
        seen = _signature(paths, stacks)
        return stacks

    return current


def _signature(paths: Sequence[str], stacks: Sequence[Stack]) -> tuple[tuple[str, int, int], ...]:
    """Time and size of every file that was read, and of the folders that were named."""
    files = {mark.file for stack in stacks for mark in stack.marks.values()} | set(paths or (DEFAULT_PATH,))
    signature = []
    for file in sorted(files):
        with suppress(OSError):
            about = os.stat(file)  # noqa: PTH116 - the name may be `-`
            signature.append((file, about.st_mtime_ns, about.st_size))
    return tuple(signature)


def by_project(settings: Settings, stacks: Sequence[Stack]) -> dict[str, list[Stack]]:
    """The stacks of each project, in the order of the projects' names; of none the project that is named otherwise.

    Raises:
        WhisperctlError: no project is named, or it is named in two ways.
    """
    projects: dict[str, list[Stack]] = {}
    for stack in stacks:
        projects.setdefault(settings.project(stack.project), []).append(stack)
    return dict(sorted(projects.items())) or {settings.project(): []}


def open_api(
    settings: Settings,
    stack: Stack | None = None,
    parallelism: int = 10,
    clock: Clock | None = None,
    rate_limit: RateLimit | None = None,
) -> Api:
    """The control plane of the project that the flag, the stack or the environment names."""
    from whisperctl.control.api import Api
    from whisperctl.control.transport import LIMIT

    project = settings.project(stack.project if stack else None)
    return Api(
        settings.api_host(),
        project,
        settings.token(project),
        timeout=settings.timeout,
        limit=float(stack.rollout.timeout) if stack else LIMIT,
        parallelism=parallelism,
        clock=clock,
        rate_limit=rate_limit,
        say=(lambda line: click.echo(line, err=True)) if settings.verbose > 1 else (lambda _line: None),
    )


def open_to_look(settings: Settings, stack: Stack | None = None, clock: Clock | None = None) -> Api:
    """The same, for a command that only looks: what a list holds that is no object is left out, and said once."""
    return open_api(settings, stack, clock=clock).looking(warn_once())


def warn_once() -> Callable[[str], None]:
    """Writes each line to stderr as a warning, once."""
    warned: set[str] = set()

    def say(line: str) -> None:
        if line not in warned:
            warned.add(line)
            click.echo(f"warning: {line}", err=True)

    return say


def open_world(
    settings: Settings,
    stacks: Sequence[Stack],
    parallelism: int = 10,
    max_credits: float | None = None,
    allow_delete: bool = False,
    max_failures: int = 0,
    selection: Selection | None = None,
) -> World:
    """What the engine works with: one control plane for each project that the stacks are in.

    UbiOps counts requests by the address that they come from: all of them share one rate limit.

    Raises:
        WhisperctlError: there is no token for some of the projects.
        SpecError: two stacks claim one object of a project; only here is it known which project each is in.
    """
    from whisperctl.clock import StoppableClock
    from whisperctl.control.rate_limit import RateLimit
    from whisperctl.engine import World
    from whisperctl.errors import SpecError
    from whisperctl.loading.checks import between
    from whisperctl.plan.selection import EVERYTHING
    from whisperctl.views.progress import EventLines

    def project_of(stack: Stack) -> str:
        return settings.project(stack.project)

    if problems := list(between(stacks, project_of)):
        raise SpecError(problems)
    one_of_each = {project_of(stack): stack for stack in stacks}
    settings.require_tokens(one_of_each)
    clock = StoppableClock()
    rate_limit = RateLimit(clock)
    return World(
        apis={
            project: open_api(settings, stack, parallelism, clock, rate_limit) for project, stack in one_of_each.items()
        },
        project_of=project_of,
        token=settings.token(project_of(stacks[0]) if stacks else None),
        parallelism=parallelism,
        clock=clock,
        listen=EventLines(several=len(stacks) > 1, color=settings.use_color(sys.stderr), verbose=settings.verbose > 0),
        max_credits=max_credits,
        max_failures=max_failures,
        allow_delete=allow_delete,
        selection=selection or EVERYTHING,
    )


def planned(stacks: Sequence[Stack], world: World, destroy: bool = False) -> list[Plan]:
    """The plans of the stacks; Ctrl-C ends the reading at once.

    Raises:
        click.UsageError: a glob of the selection matches no address.
    """
    from whisperctl.cli.signals import interrupt_ends_waits
    from whisperctl.engine import plan_stacks

    with interrupt_ends_waits(world.clock):
        plans = plan_stacks(stacks, world, destroy)
    check_globs(world, plans)
    return plans


def check_globs(world: World, plans: Sequence[Plan]) -> None:
    """Return if each glob of `--only` and `--exclude` matches an address of one of the stacks.

    Raises:
        click.UsageError: one matches none.
    """
    if not world.selection:
        return
    addresses = {address for plan in plans for address in plan.addresses}
    known = sorted(map(str, addresses))
    if unmatched := world.selection.unmatched(addresses):
        named = ", ".join(map(repr, unmatched))
        near = ", ".join(known[:LISTED]) + (", ..." if len(known) > LISTED else "")
        raise click.UsageError(f"No address matches {named}. There are {near}.")
