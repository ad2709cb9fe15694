"""A line with an earlier version asleep beside the one that serves: which of them the commands of day two mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.harness.project import Project, merged, report
from tests.rollout.conftest import SAMPLE
from tests.rollout.test_rollout import pointed, states, versions
from ubiops_emulator.testing import Emulator
from whisperctl.operate.inventory import serving_version
from whisperctl.state.labels import Labels, new
from whisperctl.state.records import RolloutRecord

LINE: dict[str, Any] = {"env": {"PLAIN": "1"}, "rollout": {"strategy": "blue_green", "bake": 0}}
SECOND: dict[str, Any] = {"env": {"PLAIN": "2"}}


@pytest.fixture
def project(books: Emulator, tmp_path: Path) -> Project:
    """A fresh project."""
    return Project.fresh(books, tmp_path)


def line(**changes: Any) -> dict[str, Any]:
    """A blue_green stack with changes in it."""
    return merged(LINE, changes)


def two(project: Project, **changes: Any) -> tuple[str, str, str]:
    """Path of the file, the version that sleeps, the one that serves."""
    project.apply(**line(**changes))
    [first] = versions(project)
    project.apply(**line(**(changes | SECOND)))
    [second] = versions(project).keys() - {first}
    return str(project.folder / "stack.yaml"), first, second


def bounds(project: Project) -> dict[str, tuple[int, int]]:
    return {name: (raw["minimum_instances"], raw["maximum_instances"]) for name, raw in versions(project).items()}


def instances(project: Project, version: str) -> list[str]:
    """Ids of those that run."""
    running = project.api().instances("alpha", version)
    return sorted(item["id"] for item in running if item["status"] == "running")


def test_a_gate_says_that_no_model_runs_behind_the_endpoint_and_passes(project: Project) -> None:
    smoke = {"audio": str(SAMPLE), "expect": "hello world", "max_wer": 0.4}
    proved = project.apply(**line(rollout={"smoke": smoke})).proved
    assert "nothing was transcribed: The emulator runs with --runtime none: no code was executed" in proved


def test_a_version_whose_first_rollout_failed_serves_nobody() -> None:
    for record, serves in ((RolloutRecord(state="failed"), None), (RolloutRecord(state="served"), "v1-0")):
        raw = {"version": "v1-0", "default": True, "labels": new(owner="alpha", rollout=record)}
        assert serving_version([raw], [], had_service=False) == serves


def test_scale_restart_pause_and_destroy_mean_the_version_that_serves(project: Project) -> None:
    file, first, second = two(project)
    asleep = bounds(project)[first]
    assert project.cli("scale", "--min", "1", "--max", "3", file).code == 0
    assert bounds(project) == {first: asleep, second: (1, 3)}
    before = instances(project, second)
    assert len(before) == 1
    ran = project.cli("restart", file)
    assert ran.code == 0, ran
    assert set(before).isdisjoint(instances(project, second))
    assert (bounds(project), instances(project, first)) == ({first: asleep, second: (1, 3)}, [])
    assert project.cli("pause", file).code == 0
    assert bounds(project) == {first: asleep, second: (0, 3)}
    assert "is paused" in project.cli("plan", file).out
    # As one that was made during the pause, and did not pass its gate.
    made_in_it = Labels.of(versions(project)[first]).written(paused_minimum=1)
    project.api().update_version("alpha", first, {"labels": made_in_it})
    assert project.cli("resume", "--wait", file).code == 0
    assert bounds(project) == {first: asleep, second: (1, 3)}
    assert "is paused" not in project.cli("plan", file).out
    assert project.cli("destroy", "--yes", file).code == 0
    assert project.names() == set()


def test_a_protected_line_rolls_out_and_loses_no_more_than_what_sleeps(project: Project) -> None:
    file, first, second = two(project, protect=True)
    project.apply(**line(protect=True, env={"PLAIN": "3"}))
    [third] = versions(project).keys() - {first, second}
    assert (pointed(project), set(versions(project))) == (third, {second, third})
    ran = project.cli("destroy", "--yes", file)
    assert (ran.code, "is protected, and this would delete" in ran.err) == (1, True), ran
    back = project.cli("rollback", "--yes", file)
    assert (back.code, pointed(project)) == (0, second), back
    # Back to in_place the versions that are kept go, and the one that serves stays.
    in_place = str(project.write(**line(protect=True, rollout={"strategy": "in_place"}, **SECOND)))
    ran = project.cli("apply", "--yes", in_place)
    assert ran.code == 0, ran
    assert set(versions(project)) == {"v1"}


def test_a_paused_line_goes_back_and_sleeps_on(project: Project) -> None:
    file, first, second = two(project)
    asleep = bounds(project)[first]
    assert project.cli("pause", file).code == 0
    ran = project.cli("rollback", "--yes", file)
    assert (ran.code, pointed(project), bounds(project)) == (0, first, {first: asleep, second: asleep}), ran
    assert f"The stack is paused: {first} sleeps, too, until `whisperctl resume`." in ran.out
    assert project.cli("resume", file).code == 0
    assert bounds(project) == {first: (1, asleep[1]), second: asleep}


def test_all_versions_are_renamed_with_their_line_and_can_be_gone_back_to(project: Project) -> None:
    file, first, second = two(project)
    idents = {raw["id"] for raw in versions(project).values()}
    moved = {"stack": "alpha", "deployment": "alpha", "version": "v1", "service": "alpha"}
    renamed = {"stack": "beta", "deployment": {"name": "beta"}, "service": {"name": "door"}, "moved": moved}
    project.apply(**line(**renamed, version={"name": "main"}, **SECOND))
    versions_now = {raw["version"]: raw for raw in project.api().versions("beta")}
    assert {raw["id"] for raw in versions_now.values()} == idents
    assert set(versions_now) == {name.replace("v1-", "main-") for name in (first, second)}
    assert project.api().service("door")["version"] == second.replace("v1-", "main-")
    ran = project.cli("rollback", "--yes", file)
    assert ran.code == 0, ran
    assert project.api().service("door")["version"] == first.replace("v1-", "main-")


@pytest.mark.parametrize("to", ["blue_green", "in_place"])
def test_a_strategy_may_change_with_the_content(project: Project, to: str) -> None:
    there = "in_place" if to == "blue_green" else "blue_green"
    project.apply(**line(rollout={"strategy": there}))
    [before] = versions(project)
    url = project.api().service("alpha")["endpoint"]
    outcome = project.apply(**line(rollout={"strategy": to}, **SECOND))
    kinds = [result.operation.kind for result in outcome.results]
    versions_now = versions(project)
    assert project.api().service("alpha")["endpoint"] == url
    assert not project.plan_one(**line(rollout={"strategy": to}, **SECOND)).is_pending
    if to == "in_place":
        assert (kinds[0], set(versions_now), pointed(project)) == ("rename", {"v1"}, "v1")
        return
    assert ("gate" in kinds, "rename" in kinds) == (True, False)
    [after] = versions_now.keys() - {before}
    assert (pointed(project), versions_now[before]["minimum_instances"]) == (after, 0)
    ran = project.cli("rollback", "--yes", str(project.folder / "stack.yaml"))
    assert (ran.code, pointed(project)) == (0, before), ran


def test_a_stack_of_an_earlier_tool_becomes_a_line(project: Project) -> None:
    """Version 0.1 wrote no ids, origins, records and fields that it set."""
    project.apply(**line(rollout={"strategy": "in_place"}))
    api = project.api()
    strip = ("whisperctl-id", "whisperctl-origin", "whisperctl-tool", "whisperctl-served", "whisperctl-applied")

    def older(raw: Any) -> dict[str, Any]:
        return {"labels": {name: text for name, text in raw["labels"].items() if not name.startswith(strip)}}

    api.update_deployment("alpha", older(api.deployment("alpha")))
    api.update_version("alpha", "v1", older(api.version("alpha", "v1")))
    api.update_service("alpha", older(api.service("alpha")))
    project.apply(**line(**SECOND))
    [new] = versions(project).keys() - {"v1"}
    assert (pointed(project), states(project)) == (new, {"v1": "served", new: "served"})
    assert all(Labels.of(raw).id == raw["id"] for raw in versions(project).values())


def test_what_a_hand_made_stack_becomes_when_a_line_adopts_it(project: Project) -> None:
    project.apply(**line(rollout={"strategy": "in_place"}))
    api = project.api()
    bare = {
        kind: {"labels": {n: text for n, text in (raw or {})["labels"].items() if not n.startswith("whisperctl-")}}
        for kind, raw in (
            ("service", api.service("alpha")),
            ("version", api.version("alpha", "v1")),
            ("deployment", api.deployment("alpha")),
        )
    }
    api.update_service("alpha", bare["service"])
    api.update_version("alpha", "v1", bare["version"])
    api.update_deployment("alpha", bare["deployment"])
    file = str(project.write(**line(**SECOND)))
    assert project.cli("plan", file).code == 1
    ran = project.cli("adopt", "--yes", file)
    assert ran.code == 0, ran
    assert "made and gated beside v1, which serves until then" in ran.out
    ran = project.cli("apply", "--yes", file)
    assert ran.code == 0, ran
    [new] = versions(project).keys() - {"v1"}
    assert (pointed(project), bounds(project)["v1"][0]) == (new, 0)


def test_environments_last_as_long_as_a_version_that_may_be_gone_back_to(project: Project) -> None:
    def tags() -> int:
        return len(project.api().tags("whisperctl") or [])

    counted = []
    for packages in (["ffmpeg"], ["ffmpeg", "git"], ["ffmpeg", "curl"]):
        project.apply(**line(environment={"apt": packages}))
        counted.append((tags(), len(versions(project))))
    assert counted == [(1, 1), (2, 2), (2, 2)]
    serving, file = pointed(project), str(project.folder / "stack.yaml")
    [asleep] = versions(project).keys() - {serving}
    with project.counted() as made:
        assert project.cli("rollback", "--yes", file).code == 0
    assert not [line for line in made if line.startswith("POST") and ("/build" in line or line.endswith("/revisions"))]
    assert (pointed(project), tags()) == (asleep, 2)


def test_an_apply_ends_the_leak_that_a_killed_one_made(project: Project) -> None:
    """A version of the line that was woken, is not served, and keeps an instance: the next apply puts it to sleep."""
    file, first, second = two(project)
    api = project.api()
    api.update_version("alpha", first, {"minimum_instances": 1})
    listed = project.cli("list")
    assert "leak" in listed.out
    assert first in listed.out
    assert "leak: costs 720 credits per day and serves nobody" in project.cli("status", file).out
    assert "serving nobody" in project.cli("doctor", file).out
    [outcome] = project.perform(file)
    assert outcome.succeeded, report(outcome)
    assert bounds(project)[first][0] == 0
    assert instances(project, first) == []
    assert "leak" not in project.cli("list").out
    assert pointed(project) == second
