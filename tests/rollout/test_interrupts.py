"""A rollout that somebody interrupts before its switch, and those that could not come to their end: told beforehand."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.harness.official import service_user
from tests.harness.project import Project
from tests.rollout.conftest import line
from ubiops_emulator.testing import Emulator
from whisperctl.apply.events import Event, OperationStarted
from whisperctl.engine import apply_plans, plan_stacks
from whisperctl.state.rollout import preview_name

SLOW: dict[str, Any] = {"env": {"HEARS": "Hello world", "DELAY": "5"}}


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_at_its_gate_everything_is_as_before(project: Project, sent: signal.Signals) -> None:
    project.apply(**line())
    [first] = [raw["version"] for raw in project.api().versions("alpha")]
    process = project.spawn("apply", "--yes", str(project.write(**line(**SLOW))))
    assert process.stderr is not None
    while "for its gate" not in (said := process.stderr.readline()):
        assert said, "it ended without coming to its gate"
    process.send_signal(sent)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    api = project.api()
    versions = {raw["version"]: raw for raw in api.versions("alpha")}
    [second] = versions.keys() - {first}
    assert api.find_service(preview_name("alpha")) is None
    assert api.service("alpha")["version"] == first
    assert (versions[first]["minimum_instances"], versions[second]["minimum_instances"]) == (1, 0)
    assert {item["status"] for item in api.instances("alpha", second)} <= {"stopping"}


def test_interrupted_before_its_switch_it_reports_and_gives_its_lease_back_though_ubiops_fails(
    books: Emulator, tmp_path: Path
) -> None:
    project = Project.fresh(books, tmp_path)
    stack: dict[str, Any] = {"rollout": {"strategy": "blue_green", "bake": 0}}
    project.apply(**stack)
    world = project.world()

    def listen(event: Event) -> None:
        project.events.append(event)
        if isinstance(event, OperationStarted) and event.operation.kind == "switch":
            project.fault("error", method="GET", path="/versions/", status=503)
            world.clock.stop.set()

    plans = plan_stacks(project.load(project.write(**stack, vllm={"max_model_len": 300})), world)
    [outcome] = apply_plans(plans, replace(world, listen=listen))
    project.calm()
    assert outcome.interrupted
    assert "could not be put to sleep; it falls asleep by itself: interrupted" in project.said
    assert "whisperctl-lease" not in (project.api().deployment("alpha") or {})["labels"]


def test_a_foreign_service_of_the_gates_name_is_told_of_before_anything_is_made(project: Project) -> None:
    project.apply(**line())
    project.api().create_service({"name": preview_name("alpha"), "deployment": "alpha", "version": None, "port": 8080})
    plan = project.plan_one(**line(env={"HEARS": "Hello world"}))
    assert [remark.text.splitlines()[0] for remark in plan.refused] == [
        "service/alpha-preview is not this stack's, and the gate needs that name."
    ]


@pytest.mark.parametrize(("role", "code"), [("project-editor", 1), ("project-admin", 0)])
def test_a_token_that_may_not_delete_services_makes_nothing(project: Project, role: str, code: int) -> None:
    project.apply(**line())
    file = project.write(**line(env={"HEARS": "Hello world"}))
    token = service_user(project.emulator, "someone", role)
    before = project.books()
    ran = project.cli("apply", "--yes", str(file), UBIOPS_API_TOKEN=token)
    assert ran.code == code, ran.err
    if code:
        assert "the gate deletes its temporary service, and the token lacks services.delete." in ran.err
        assert project.books() == before
