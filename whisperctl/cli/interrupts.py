"""Ctrl-C once: nothing more is started, waits end, the report is printed. Twice: now."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import click

from whisperctl.errors import EXIT_INTERRUPTED
from whisperctl.waiting import StoppableClock


def _echo(text: str) -> None:
    click.echo(text, err=True)


@contextmanager
def second_interrupt_exits(
    clock: StoppableClock, show: Callable[[str], None] = _echo, leave: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """While this lasts, SIGINT and SIGTERM stop `clock`; the second one calls `leave` and ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if clock.stop.is_set():
            leave()
            os._exit(EXIT_INTERRUPTED)
        clock.stop.set()
        show("\nInterrupted: nothing more is started. Press Ctrl-C again to leave at once.")

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
