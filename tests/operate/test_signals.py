"""Signals that arrive at the worst moment: in the middle of a library, which then fails while it tidies up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from whisperctl.cli.signals import interrupt_ends_waits
from whisperctl.clock import StoppableClock

PROGRAM = """
import os, signal, time
from whisperctl.cli.signals import ended_by_signals
from whisperctl.clock import StoppableClock

with ended_by_signals(StoppableClock()):
    try:
        os.kill(os.getpid(), signal.{name})
        time.sleep(10)
    finally:
        [].remove("connection")
"""


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 0), ("SIGINT", 130)])
def test_what_goes_on_until_it_is_ended_ends_with_the_code_of_the_signal(name: str, code: int) -> None:
    program = [sys.executable, "-c", PROGRAM.format(name=name)]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=9, check=False)
    assert (ended.returncode, ended.stderr) == (code, "")


def interrupted_where_tidying_up_fails() -> None:
    connections: list[str] = []
    with interrupt_ends_waits(StoppableClock()):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(10)
        finally:
            connections.remove("gone")


def test_an_interrupt_stays_one_whatever_fails_after_it() -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted_where_tidying_up_fails()
