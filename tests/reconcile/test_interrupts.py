"""A signal may come at any moment, also while the main thread begins or ends a wait."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

from tests.harness.project import Project, report
from whisperctl.apply.events import Event, OperationEnded
from whisperctl.engine import apply_plans, plan_stacks

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


def test_an_apply_that_is_interrupted_when_all_is_done_reports_it_though_ubiops_fails(project: Project) -> None:
    stack: dict[str, Any] = {"rollout": {"restart_on_env_change": False}}
    project.apply(**stack, env={"A": "1"})
    world = project.world()

    def listen(event: Event) -> None:
        if isinstance(event, OperationEnded) and event.operation.kind == "seal":
            project.fault("error", method="GET", path="/instances$", status=503)
            world.clock.stop.set()

    plans = plan_stacks(project.load(project.write(**stack, env={"A": "2"})), world)
    [outcome] = apply_plans(plans, replace(world, listen=listen))
    assert [result.status for result in outcome.results] == ["done"] * len(plans[0].operations), report(outcome)
