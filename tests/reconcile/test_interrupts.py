"""A signal may come at any moment, also while the main thread begins or ends a wait."""

from __future__ import annotations

import subprocess
import sys

STORM = """
import signal
from whisperctl.errors import Interrupted
from whisperctl.clock import StoppableClock

clock, seen = StoppableClock(), []
signal.signal(signal.SIGALRM, lambda *_: (seen.append(1), clock.stop.set()))
signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
while len(seen) < 1000:
    try:
        clock.sleep(0)
    except Interrupted:
        continue
signal.setitimer(signal.ITIMER_REAL, 0)
print("ended")
"""


def test_a_signal_during_a_wait_never_waits_for_what_it_interrupts() -> None:
    ran = subprocess.run([sys.executable, "-c", STORM], capture_output=True, text=True, timeout=30, check=False)
    assert (ran.stdout, ran.returncode) == ("ended\n", 0), ran.stderr
