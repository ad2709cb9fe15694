"""A rollout that is killed at any request, or meets any fault: what serves serves on, and the next apply ends it.

Instances are only books here: whoever runs is healthy and nobody transcribes. Crashes are made as in
`tests.reconcile.test_crashes`: a session that dies at one request, before or after its effect.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.harness.project import Project, merged, report
from tests.harness.sweeps import EXHAUSTIVE
from tests.reconcile.test_crashes import attempt, builds, bury, dying, is_any, is_write, settled
from tests.reconcile.test_faults import FAULTS
from ubiops_emulator.testing import Emulator
from whisperctl.state.labels import Labels
from whisperctl.state.rollout import preview_name

FIRST: dict[str, Any] = {
    "env": {"PLAIN": "1", "HUB": {"value": "canary one", "secret": True}},
    "rollout": {"strategy": "blue_green", "bake": 0},
    "service": [{"name": "alpha", "port": 8080}, {"name": "second", "port": 8080}],
}
SECOND: dict[str, Any] = merged(FIRST, {"env": {"PLAIN": "2"}, "vllm": {"max_model_len": 300}})


@pytest.fixture
def project(books: Emulator, tmp_path: Path) -> Project:
    """A project in which the first version of a line serves two services."""
    fresh = Project.fresh(books, tmp_path)
    fresh.apply(**FIRST)
    return fresh


def check_between(project: Project, first: str) -> None:
    """What holds at every moment: services lead to a version that has passed or served, and one keeps instances."""
    api = project.api()
    versions = {raw["version"]: raw for raw in api.versions("alpha")}
    for service in api.services():
        if service["name"] == preview_name("alpha"):
            continue
        record = Labels.of(versions[service["version"]]).rollout
        assert service["version"] == first or (record is not None and record.state in ("passed", "served"))
    keeping = [name for name, raw in versions.items() if raw["minimum_instances"]]
    assert len(keeping) <= 1, keeping


def check_end(project: Project) -> None:
    """One version keeps instances, both services lead to it, no preview is left."""
    api = project.api()
    versions = {raw["version"]: raw for raw in api.versions("alpha")}
    led = {service["version"] for service in api.services()}
    assert len(led) == 1
    assert [name for name, raw in versions.items() if raw["minimum_instances"]] == list(led)
    assert {service["name"] for service in api.services()} == {"alpha", "second"}
    assert len(versions) == 2


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_a_request_and_applied_again(project: Project, after: bool) -> None:
    counts = is_any if EXHAUSTIVE else is_write
    [first] = [raw["version"] for raw in project.api().versions("alpha")]
    project.write(**SECOND)
    project.control("POST", "snapshot", {"name": "start"})
    project.forget()
    world, session = dying(project, 0, after, counts)
    assert attempt(world, project, destroy=False)
    total, expected, built = session.count, settled(project), builds(project)
    check_end(project)
    assert total > 10
    for point in range(1, total + 1, 1 if EXHAUSTIVE else 8):
        project.control("POST", "restore", {"name": "start"})
        project.forget()
        world, _ = dying(project, point, after, counts)
        attempt(world, project, destroy=False)
        check_between(project, first)
        bury(project)
        [outcome] = project.perform()
        assert outcome.succeeded, f"killed at {point} of {total}: {report(outcome)}"
        check_end(project)
        assert settled(project) == expected, f"killed at {point} of {total}"
        assert builds(project) == built, f"killed at {point} of {total}: built again"


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_a_write_and_then_the_first_file_is_wanted_again(project: Project, after: bool) -> None:
    [first] = [raw["version"] for raw in project.api().versions("alpha")]
    project.write(**SECOND)
    project.control("POST", "snapshot", {"name": "start"})
    world, session = dying(project, 0, after, is_write)
    assert attempt(world, project, destroy=False)
    for point in range(1, session.count + 1, 1 if EXHAUSTIVE else 16):
        project.control("POST", "restore", {"name": "start"})
        project.write(**SECOND)
        world, _ = dying(project, point, after, is_write)
        attempt(world, project, destroy=False)
        bury(project)
        [outcome] = project.perform(project.write(**FIRST))
        assert outcome.succeeded, f"killed at {point}: {report(outcome)}"
        led = {service["version"] for service in project.api().services()}
        assert led == {first}
        check_between(project, first)
        [outcome] = project.perform(destroy=True)
        assert outcome.succeeded, f"killed at {point}: {report(outcome)}"
        assert project.names() == set()


@pytest.mark.parametrize("name", FAULTS)
def test_faults_change_nothing_about_the_end(project: Project, name: str) -> None:
    [first] = [raw["version"] for raw in project.api().versions("alpha")]
    project.write(**SECOND)
    project.forget()
    for values in FAULTS[name]:
        project.fault(**values)
    for _attempt in range(4):  # a fault may outlast every retry: then the next apply goes on
        [outcome] = project.perform()
        check_between(project, first)
        if outcome.succeeded:
            break
    project.calm()
    assert outcome.succeeded, report(outcome)
    check_end(project)
    assert project.plan()[0].changes == ()
