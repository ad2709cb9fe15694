"""Waves: stacks of a higher one begin when the lower ones have passed, and a fleet has a token for each project."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness.official import client_of
from tests.harness.project import Project, report
from tests.reconcile.test_documents import check
from whisperctl.apply.events import OperationEnded, OperationStarted
from whisperctl.apply.outcome import Outcome
from whisperctl.cli.options import token_variable
from whisperctl.engine import apply_plans, plan_stacks


def three_waves(project: Project, **changes: object) -> list[Path]:
    """alpha and beta in the first wave, gamma in the second, delta in the third."""
    waves = {"alpha": 1, "beta": 1, "gamma": 2, "delta": 3}
    return [
        project.write(
            f"{name}.yaml", stack=name, deployment={"name": name}, service={"name": name}, rollout={"wave": wave},
            **changes,
        )
        for name, wave in waves.items()
    ]  # fmt: skip


def performed(project: Project, files: list[Path], max_failures: int = 0) -> list[Outcome]:
    world = replace(project.world(), max_failures=max_failures)
    return apply_plans(plan_stacks(project.load(*files), world), world)


def test_a_plan_tells_its_waves(project: Project) -> None:
    files = [str(file) for file in three_waves(project)]
    line = "Waves, each after the one before has passed: 1: alpha, beta; 2: gamma; 3: delta."
    for form in ("text", "markdown"):
        assert line in project.cli("plan", "--format", form, *files).out
    stacks = check("plan", project.cli("plan", "--format", "json", *files).json)
    assert [stack.get("wave", 1) for stack in stacks] == [1, 1, 2, 3]
    assert "Waves" not in project.cli("plan", *files[:2]).out


def test_a_wave_begins_when_the_one_before_is_through(project: Project) -> None:
    for outcome in performed(project, three_waves(project)):
        assert outcome.succeeded, report(outcome)
    order = [
        (type(event), event.stack) for event in project.events if isinstance(event, OperationStarted | OperationEnded)
    ]
    last = {
        name: max(i for i, entry in enumerate(order) if entry == (OperationEnded, name))
        for name in ("alpha", "beta", "gamma")
    }
    first = {name: order.index((OperationStarted, name)) for name in ("gamma", "delta")}
    assert max(last["alpha"], last["beta"]) < first["gamma"]
    assert last["gamma"] < first["delta"]


@pytest.mark.parametrize(("max_failures", "begun"), [(0, False), (1, True)])
def test_too_many_failures_end_a_fleet(project: Project, max_failures: int, begun: bool) -> None:
    files = three_waves(project, environment={"mode": "package"})
    project.fault("build-fail", count=1)
    outcomes = {outcome.stack: outcome for outcome in performed(project, files, max_failures)}
    failed = [name for name in ("alpha", "beta") if not outcomes[name].succeeded]
    assert len(failed) == 1
    for name in ("gamma", "delta"):
        assert outcomes[name].succeeded is begun, report(outcomes[name])
        if not begun:
            assert {result.status for result in outcomes[name].results} == {"not tried"}
            assert f"{failed[0]} of an earlier wave did not succeed" in outcomes[name].error
    assert ("deployment/delta" in project.names()) is begun


def test_what_stacks_of_several_waves_share_is_deleted_after_the_last(project: Project) -> None:
    for version in ("0.24.0", "0.30.0", "0.31.0", "0.32.0"):  # the tags of three revisions are kept
        for outcome in performed(project, three_waves(project, vllm={"version": version})[1:3]):
            assert outcome.succeeded, report(outcome)
    tags = {name for name in project.names() if name.startswith("tag/")}
    assert len(tags) == 3
    assert not any("0.24.0" in name for name in tags)


def test_each_project_of_a_fleet_has_its_own_token(project: Project) -> None:
    core = client_of(project.emulator)
    tokens = {}
    for name in ("speech-one", "speech-two"):
        core.projects_create({"name": name, "organization_name": "emulator"})
        user = core.service_users_create(name, {"name": "ci"})
        core.role_assignments_create(name, {"assignee": user.id, "assignee_type": "user", "role": "project-admin"})
        tokens[token_variable(name)] = user.token
        project.write(f"fleet/{name}.yaml", project=name, stack=name)
    core.api_client.close()
    fleet = str(project.folder / "fleet")
    environ = {"UBIOPS_API_TOKEN": "", "UBIOPS_PROJECT": ""}
    ran = project.cli("plan", fleet, **environ)
    assert ran.code == 1
    assert (
        "No UbiOps token for speech-one (UBIOPS_API_TOKEN_SPEECH_ONE), speech-two (UBIOPS_API_TOKEN_SPEECH_TWO)"
        in ran.err
    )
    ran = project.cli("apply", fleet, "--yes", **environ, **tokens)
    assert ran.code == 0, ran.all
    assert "Applied speech-one" in ran.out
    assert "Applied speech-two" in ran.out
    assert project.names() == set()  # nothing in the project of the emulator's own token
    swapped = dict(zip(tokens, reversed(tokens.values()), strict=True))
    assert project.cli("plan", fleet, **environ, **swapped).code == 1
