"""Instances replaced one after the other: by `restart`, and by an apply that changes what they read at start."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness.project import Project
from whisperctl.state.labels import Labels

TWO: dict[str, Any] = {"version": {"minimum_instances": 1, "maximum_instances": 2}}


def instances(project: Project) -> set[str]:
    running = project.api().instances("alpha", "v1")
    return {item["id"] for item in running if item["status"] in ("pending", "initialising", "running")}


def minimum(project: Project) -> tuple[int, tuple[int, int] | None]:
    raw = project.api().version("alpha", "v1") or {}
    return raw["minimum_instances"], Labels.of(raw).restart


def test_a_restart_replaces_the_instance_and_leaves_the_version_as_it_was(project: Project) -> None:
    project.apply(**TWO)
    before, file = instances(project), str(project.folder / "stack.yaml")
    ran = project.cli("restart", file)
    assert ran.code == 0, ran.err
    assert ran.out == "version/alpha/v1: 1 instance was replaced.\n"
    assert len(instances(project)) == 1
    assert not before & instances(project)
    assert minimum(project) == (1, None)
    assert project.cli("plan", file, "--detailed-exitcode").code == 0
    assert project.cli("drift", file).code == 0


def test_without_room_for_a_successor_the_instance_is_stopped_first_and_that_is_said(project: Project) -> None:
    project.apply()
    before = instances(project)
    ran = project.cli("restart", str(project.folder / "stack.yaml"))
    assert ran.code == 0, ran.err
    assert "leaves no room for a successor beside it, so that nothing answers until that is up" in ran.err
    assert "Nothing answered for" in ran.out
    assert instances(project)
    assert not before & instances(project)


def test_none_running_is_nothing_to_restart(project: Project) -> None:
    file = str(project.write(version={"minimum_instances": 1}))
    project.apply()
    assert project.cli("pause", file).code == 0
    ran = project.cli("restart", file)
    assert (ran.code, ran.out) == (0, "version/alpha/v1: no instance runs, so that there is nothing to restart.\n")


@pytest.mark.parametrize("command", ["restart", "pause", "scale"])
def test_what_a_killed_restart_left_is_put_back_by_whoever_comes_next(project: Project, command: str) -> None:
    project.apply(**TWO)
    api, file = project.api(), str(project.folder / "stack.yaml")
    labels = Labels.of(api.version("alpha", "v1")).written(restart=(1, 2))
    api.update_version("alpha", "v1", {"minimum_instances": 2, "labels": labels})
    more = ["--max", "2"] if command == "scale" else []
    assert project.cli(command, *more, file).code == 0
    if command == "pause":
        assert project.cli("resume", file).code == 0
    assert minimum(project)[0] == 1


@pytest.mark.parametrize("restarts", [True, False])
def test_a_changed_variable_reaches_running_instances_or_the_outcome_counts_them(
    project: Project, restarts: bool
) -> None:
    rollout = {"rollout": {"restart_on_env_change": restarts}}
    project.apply(env={"FOO": "1"}, **TWO, **rollout)
    before = instances(project)
    file = str(project.write(env={"FOO": "2"}, **TWO, **rollout))
    plan = project.cli("plan", file, "--format", "json").json["stacks"][0]
    assert ("restart" in [operation["kind"] for operation in plan["operations"]]) is restarts
    effect = "replaced, one after the other" if restarts else "running ones keep the old value"
    assert effect in plan["changes"][0]["effect"]
    ran = project.cli("apply", "--yes", file)
    assert ran.code == 0, ran.err
    stale = "1 running instance still has the old value of a changed env var: `whisperctl restart` replaces it."
    assert (stale in ran.out) is not restarts
    assert bool(before & instances(project)) is not restarts
    assert minimum(project) == (1, None)
    assert project.cli("plan", file, "--detailed-exitcode").code == 0


def test_a_new_package_replaces_the_instances_anyway(project: Project) -> None:
    project.apply(env={"FOO": "1"}, **TWO)
    plan = project.plan_one(env={"FOO": "2"}, vllm={"max_model_len": 300}, **TWO)
    assert "restart" not in [operation.kind for operation in plan.operations]
