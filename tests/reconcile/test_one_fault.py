"""One request of an apply fails once, in each way, at every place: the end is the same, and nothing is made twice."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from typing import Any

import pytest

from tests.harness.project import Project, report
from tests.harness.sweeps import EXHAUSTIVE
from tests.reconcile.test_crashes import builds, prepare, settled
from whisperctl.apply.outcome import Outcome
from whisperctl.engine import World, apply_plans, plan_stacks

ONCE: dict[str, dict[str, Any]] = {
    "throttled": {"kind": "throttle", "reset": 0},
    "gateway": {"kind": "error", "status": 502},
    "lost before": {"kind": "drop-before"},
    "lost after": {"kind": "drop-after"},
}


class FaultySession:
    """Stands before a project's session: counts requests, and lets the emulator fail one of them, once."""

    def __init__(self, rest: Any, project: Project, fails_at: int, fault: dict[str, Any]) -> None:
        self.rest, self.project, self.fails_at, self.fault = rest, project, fails_at, fault
        self.timeout = rest.timeout
        self.count = 0
        self.lock = threading.Lock()

    def request(self, *args: Any, **more: Any) -> Any:
        values = dict(zip(("method", "host", "resource_path"), args, strict=False)) | more
        with self.lock:
            self.count += 1
            fails = self.count == self.fails_at
        if fails:
            path = re.escape(values["resource_path"].partition("?")[0]) + "$"
            self.project.fault(method=values["method"].upper(), path=path, count=1, **self.fault)
        return self.rest.request(*args, **more)


def with_one_fault(project: Project, fails_at: int, fault: dict[str, Any]) -> tuple[World, FaultySession]:
    """A world in which one request fails once."""
    world = project.world()
    api = world.apis["demo"]
    session = FaultySession(api.rest, project, fails_at, fault)
    return replace(world, apis={"demo": api.over(session)}), session


def performed(project: Project, world: World, destroy: bool) -> Outcome:
    [outcome] = apply_plans(plan_stacks(project.load(), world, destroy), world)
    return outcome


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", ONCE)
@pytest.mark.parametrize(
    "scenario", ["create", "update", "replace everything", "destroy"] if EXHAUSTIVE else ["update"]
)
def test_one_fault_at_any_request_fails_nothing(project: Project, scenario: str, kind: str) -> None:
    stack, destroy = prepare(project, scenario)
    project.write(**stack)
    project.control("POST", "snapshot", {"name": "start"})
    project.forget()
    world, session = with_one_fault(project, 0, ONCE[kind])
    assert performed(project, world, destroy).succeeded
    total, expected, built = session.count, settled(project), builds(project)
    for point in range(1, total + 1, 1 if EXHAUSTIVE else 40):
        project.control("POST", "restore", {"name": "start"})
        project.forget()
        world, session = with_one_fault(project, point, ONCE[kind])
        outcome = performed(project, world, destroy)
        assert outcome.succeeded, f"{kind} at {point} of {total}: {report(outcome)}"
        failed = any(entry.get("fault") for entry in project.journal())
        assert failed or session.count < point, f"{point} of {total}: nothing failed"  # how often is looked differs
        project.calm()
        assert settled(project) == expected, f"{kind} at {point} of {total}"
        assert builds(project) == built, f"{kind} at {point} of {total}: built again"
