"""The parent of a program, which leaves nothing of it behind. Rendered by whisperctl.

    python3 -I whisperctl_supervisor.py PARENT_PID COMMAND...

Ends as COMMAND ends: with its exit code, or by its signal. Standard library only; Linux only (prctl, /proc).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

GRACE_SECONDS = 5.0  # between SIGTERM and SIGKILL
KILL_ALL = signal.SIGUSR1
WAKING = (signal.SIGTERM, KILL_ALL, signal.SIGCHLD)
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>


class Supervisor:
    """Runs a program as a child, and ends every descendant of it, whichever of the two ends first, and however.

    The kernel gives it each descendant that loses its parent, whatever its session (PR_SET_CHILD_SUBREAPER, prctl(2)).
    SIGTERM goes on to the program. Once that has ended, all that it left gets SIGTERM, and SIGKILL GRACE_SECONDS
    later, until nothing is left. When the supervisor's own parent has gone, the program gets GRACE_SECONDS, too.
    """

    def __init__(self, parent: int) -> None:
        self.parent = parent
        self.child = 0
        self.status: int | None = None
        """The program's end as waitpid tells it; None before."""

    def run(self, program: Callable[[], NoReturn]) -> NoReturn:
        """Run `program` in a child process, and end as it ended."""
        for number in WAKING:  # whoever started this one may ignore them
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_BLOCK, WAKING)
        end_with(self.parent, signal.SIGTERM)
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        own = os.getpid()
        self.child = os.fork()
        if self.child == 0:
            end_with(own, signal.SIGKILL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, WAKING)
            program()
        self.end_descendants(GRACE_SECONDS if self.wait() else 0)
        self.end()

    def wait(self) -> bool:
        """Wait for the program's end; False when everything is to be killed instead."""
        deadline = float("inf")
        while self.reap() and self.status is None:
            number = signal_within(1)
            if number == signal.SIGTERM:
                os.kill(self.child, signal.SIGTERM)
            if os.getppid() != self.parent:
                deadline = min(deadline, time.monotonic() + GRACE_SECONDS)
            if number == KILL_ALL or time.monotonic() > deadline:
                return False
        return True

    def end_descendants(self, grace: float) -> None:
        """SIGTERM to each, SIGKILL to those that are there `grace` seconds later; return when none is left."""
        deadline = time.monotonic() + grace
        asked: set[int] = set()
        while self.reap():
            kill = time.monotonic() >= deadline
            for pid in descendants(os.getpid()):
                if kill or pid not in asked:
                    asked.add(pid)
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGKILL if kill else signal.SIGTERM)
            if signal_within(0.05) == KILL_ALL:
                deadline = 0

    def reap(self) -> bool:
        """Collect whatever has ended; whether a child is left, as there is while there is any descendant."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return True
                if pid == self.child:
                    self.status = status
        return False

    def end(self) -> NoReturn:
        """End this process as the program ended."""
        status = self.status or 0
        if os.WIFSIGNALED(status):
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # one core file is enough
            number = os.WTERMSIG(status)
            if number != signal.SIGKILL:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
            os.kill(os.getpid(), number)
        os._exit(os.waitstatus_to_exitcode(status))


def signal_within(seconds: float) -> int | None:
    """The next of the awaited signals; None when none comes in time."""
    arrived = signal.sigtimedwait(WAKING, seconds)
    return arrived.si_signo if arrived else None


def prctl(option: int, value: int) -> None:
    """prctl(2) of this thread.

    Raises:
        OSError: the kernel refuses.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def end_with(parent: int, number: signal.Signals) -> None:
    """Have the kernel send `number` when `parent` is gone; end now if it is."""
    prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        sys.stderr.write("whisperctl: the parent is gone already\n")
        os._exit(1)


def descendants(ancestor: int) -> set[int]:
    """Every living process that `ancestor` started, directly or not."""
    parents = dict(parents_of_processes())
    family: set[int] = set()
    while more := {pid for pid, parent in parents.items() if parent == ancestor or parent in family} - family:
        family |= more
    return family


def parents_of_processes() -> Iterator[tuple[int, int]]:
    """Each process that is no zombie, and its parent, by /proc/PID/stat (proc(5))."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            # The name before the last bracket may hold anything, brackets too.
            state, parent = (entry / "stat").read_bytes().rpartition(b")")[2].split()[:2]
        except (OSError, ValueError):  # it has ended meanwhile
            continue
        if state not in (b"Z", b"X"):
            yield int(entry.name), int(parent)


def supervise(parent: int, command: Sequence[str]) -> NoReturn:
    """Run `command` under two supervisors, one below the other: each ends what is left when the other is killed."""
    own = os.getpid()
    Supervisor(parent).run(lambda: Supervisor(own).run(lambda: execute(command)))


def execute(command: Sequence[str]) -> NoReturn:
    """Become `command`."""
    try:
        os.execvp(command[0], list(command))  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.stderr.write(f"whisperctl: {command[0]} cannot be started: {error.strerror}\n")
        os._exit(127)


if __name__ == "__main__":
    supervise(int(sys.argv[1]), sys.argv[2:])
