"""A rollout that is killed at random while a client asks, meets a second apply, or somebody's hand."""

from __future__ import annotations

import random
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from tests.harness import traffic
from tests.harness.project import Project, QuickClock, report
from tests.harness.sweeps import EXHAUSTIVE, whole
from tests.rollout.conftest import SAMPLE, line
from tests.rollout.test_rollout import pointed, states, versions
from whisperctl.apply.events import OperationStarted

GOOD: dict[str, Any] = {"env": {"HEARS": "hello world"}}
KILLS = 30


def is_settled(project: Project) -> None:
    """One version keeps instances, it is the one that is served, and nothing of a gate is left."""
    versions_now = versions(project)
    keeping = [name for name, raw in versions_now.items() if raw["minimum_instances"]]
    assert keeping == [pointed(project)]
    assert states(project)[pointed(project)] == "served"
    assert project.api().find_service("alpha-preview") is None


@whole
def test_killed_at_random_moments_nobody_who_asks_notices(project: Project) -> None:
    """Every killed apply wanted other words of the same meaning; the last one is let to its end."""
    project.apply(**line(**GOOD, rollout={"keep": 1, "bake": 1}))
    url = str(project.api().service("alpha")["endpoint"])
    chance = random.Random(20261129)
    with traffic.asking(url, project.emulator.token, "openai/whisper-small", SAMPLE, "hello world") as answers:
        for kill in range(KILLS):
            content = {"env": {"HEARS": "hello world", "KILL": str(kill // 2)}}
            file = str(project.write(**line(**content, rollout={"keep": 1, "bake": 1})))
            process = project.spawn("apply", "--yes", file)
            threading.Event().wait(chance.uniform(0.8, 6.0))
            process.send_signal(signal.SIGKILL)
            process.communicate()
            assert pointed(project) in versions(project)
        ran = project.cli("apply", "--yes", file)
        assert ran.code == 0, ran
    is_settled(project)
    assert (answers.errors, answers.wrong) == ([], []), answers


@whole
def test_two_applies_at_once_roll_out_once(project: Project) -> None:
    project.apply(**line(**GOOD))
    file = str(project.write(**line(env={"HEARS": "Hello, world!"})))
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(project.spawn("apply", "--yes", file).communicate) for _ in range(2)]
        outs = [out.result() for out in both]
    assert len(versions(project)) == 2, outs
    is_settled(project)
    assert not project.plan(file)[0].is_pending


@pytest.mark.parametrize("what", ["service", "new version", "old version"] if EXHAUSTIVE else ["service"])
def test_what_somebody_changes_in_the_middle_is_noticed_and_put_right_by_the_next_apply(
    project: Project, what: str
) -> None:
    project.apply(**line(**GOOD))
    [first] = versions(project)
    api, done = project.api(), threading.Event()

    def by_hand(event: Any) -> None:
        project.events.append(event)
        if done.is_set() or not (isinstance(event, OperationStarted) and event.operation.kind == "gate"):
            return
        done.set()
        [new] = versions(project).keys() - {first}
        match what:
            case "service":
                api.update_service("alpha", {"rate_limit": 7})
            case "new version":
                api.update_version("alpha", new, {"maximum_instances": 3})
            case _:
                api.update_version("alpha", first, {"maximum_instances": 3})

    world = project.world()
    file = project.write(**line(env={"HEARS": "Hello, world!"}))
    [outcome] = project.perform(file, world=replace(world, listen=by_hand))
    assert done.is_set()
    assert outcome.succeeded or pointed(project) == first, report(outcome)
    again = project.cli("apply", "--yes", str(file))
    assert again.code == 0, again
    is_settled(project)
    assert not project.plan(file)[0].is_pending


class JumpingClock(QuickClock):
    """The wall clock is set a day back or forth whenever it is looked at; the others go on as they do."""

    def __init__(self) -> None:
        super().__init__()
        self.chance = random.Random(20261129)

    def time(self) -> float:
        return super().time() + self.chance.choice((-86400.0, 0.0, 86400.0))


@whole
def test_a_wall_clock_that_jumps_changes_nothing_about_a_rollout(project: Project) -> None:
    project.apply(**line(**GOOD))
    [first] = versions(project)
    [bad] = project.perform(project.write(**line(env={"HEARS": "bye moon"})), world=project.world(JumpingClock()))
    assert "did not pass its gate" in report(bad)
    assert pointed(project) == first
    [good] = project.perform(project.write(**line(env={"HEARS": "Hello, world!"})), world=project.world(JumpingClock()))
    assert good.succeeded, report(good)
    is_settled(project)
