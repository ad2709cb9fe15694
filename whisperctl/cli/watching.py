"""What shows an apply or a rollback while it runs: a live view on a terminal, logs that fold in a CI job, or lines.

Nothing may be asked meanwhile: a live view would wipe the question away.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from whisperctl.apply.events import Event, Listen
from whisperctl.cli.options import Settings
from whisperctl.cli.signals import second_interrupt_exits
from whisperctl.clock import Clock
from whisperctl.engine import World
from whisperctl.output import DUMB
from whisperctl.views import folds
from whisperctl.views.long_logs import LongLogs
from whisperctl.views.progress import EventLines


@contextmanager
def watched(
    settings: Settings, world: World, *, several: bool, live: bool
) -> Iterator[tuple[World, Callable[[str], None]]]:
    """The world with a view that listens, and how to print a text above what that shows.

    Ctrl-C ends what it shows in an orderly way.
    """
    options = {"several": several, "color": settings.use_color(sys.stderr), "verbose": settings.verbose > 0}
    # -vv names every request, from below and straight to stderr: lines for a log, not for a view that moves.
    view = _view(world.clock, live and settings.verbose < 2, options)
    with second_interrupt_exits(world.clock, view.show, view.close), view:
        yield replace(world, listen=_listening(view)), view.show


def _listening(view: EventLines) -> Listen:
    """What cannot be shown ends no work: a terminal that hung up, a full disk behind stderr."""

    def listen(event: Event) -> None:
        with suppress(OSError):
            view(event)

    return listen


def _view(clock: Clock, live: bool, options: dict[str, Any]) -> EventLines:
    if sys.stderr.isatty():
        if live and os.environ.get("TERM", "") not in DUMB:
            from whisperctl.views.screen import Screen

            return Screen(clock, **options)
    elif os.environ.get("GITHUB_ACTIONS") == "true":
        return folds.Folds(folds.github, clock, **options)
    elif os.environ.get("GITLAB_CI") == "true":
        return folds.Folds(folds.gitlab, clock, **options)
    return LongLogs(clock, **options)
