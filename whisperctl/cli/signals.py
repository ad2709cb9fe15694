"""Ctrl-C once: nothing more is started, waits end, the report (if any) is printed. Twice: now."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from whisperctl.clock import StoppableClock
from whisperctl.errors import EXIT_DONE, EXIT_INTERRUPTED


@contextmanager
def interrupt_ends_waits(clock: StoppableClock) -> Iterator[None]:
    """While this lasts, SIGINT ends the command and the waits of `clock` that hold up its threads.

    For what only reads: there is nothing to finish and nothing to report. Without this, threads that sit out a
    rate limit would keep the program for a minute.

    Raises:
        KeyboardInterrupt: SIGINT arrived.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if clock.stop.is_set():
            os._exit(EXIT_INTERRUPTED)
        clock.stop.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except Exception as error:
        if clock.stop.is_set():  # what a library raises while it tidies up after an interrupt
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)


def _ending_signals() -> Sequence[int]:
    """What asks a program to end; a hang-up (the terminal or the ssh connection is gone) unless `nohup` ignores it."""
    hung_up = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    return (signal.SIGINT, signal.SIGTERM, *hung_up)


ENDING_SECONDS = 0.7
"""After a signal, until a process that only looks is ended without waiting for the answers on their way."""


@contextmanager
def ended_by_signals(clock: StoppableClock) -> Iterator[None]:
    """While this lasts, SIGTERM ends the program with exit code 0, SIGINT and SIGHUP as an interrupt; within a second.

    For what goes on until somebody ends it. What it was about to write is left to the next one, as after a kill.
    The signal may arrive anywhere, also between two lines of a library that then fails while it tidies up: once one
    has arrived, its exit code is the program's, whatever is raised afterwards.

    Raises:
        SystemExit: one of these signals arrived; it carries the exit code.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    codes: list[int] = []

    def end(number: int, _frame: FrameType | None) -> None:
        codes.append(EXIT_DONE if number == signal.SIGTERM else EXIT_INTERRUPTED)
        if clock.stop.is_set():
            os._exit(codes[-1])
        clock.stop.set()
        too_late = threading.Timer(ENDING_SECONDS, os._exit, codes)
        too_late.daemon = True
        too_late.start()
        raise SystemExit(codes[0])

    before = {number: signal.signal(number, end) for number in _ending_signals()}
    try:
        yield
    except Exception as error:
        if codes:
            raise SystemExit(codes[0]) from error
        raise
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def second_interrupt_exits(
    clock: StoppableClock, show: Callable[[str], None], leave: Callable[[], None]
) -> Iterator[None]:
    """While this lasts, SIGINT, SIGTERM and SIGHUP stop `clock` and `show` says so; a second one calls `leave` and
    ends the process at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if clock.stop.is_set():
            leave()
            os._exit(EXIT_INTERRUPTED)
        clock.stop.set()
        with suppress(OSError):  # a terminal that hung up takes no more
            show("\nInterrupted: nothing more is started. Press Ctrl-C again to leave at once.")

    before = {number: signal.signal(number, interrupt) for number in _ending_signals()}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
