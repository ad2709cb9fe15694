"""A stack while it changes: logs of this deployment alone, a resumed endpoint awaited, a status that goes on."""

from __future__ import annotations

import signal
import time

from tests.harness.project import Project


def test_logs_begin_with_this_deployment_and_not_with_a_destroyed_one_of_its_name(project: Project) -> None:
    project.apply()
    file = str(project.folder / "stack.yaml")
    first = project.cli("logs", file, "--build").out.splitlines()
    revision = (project.api().version("alpha", "v1") or {})["active_revision"][:8]
    assert any(f"build {revision} | " in line for line in first)
    assert project.cli("destroy", "--yes", file).code == 0
    time.sleep(1.1)  # lines of the second before a deployment's creation count as its own: clocks differ
    project.apply()
    second = project.cli("logs", file, "--build").out
    assert second
    assert f"build {revision} | " not in second
    lines = second.splitlines()
    assert project.cli("logs", file, "--build", "--tail", "2").out.splitlines() == lines[-2:]
    assert project.cli("logs", file, "--tail", "0").out == ""


def test_resume_waits_until_the_endpoint_answers(project: Project) -> None:
    project.apply()
    file = str(project.folder / "stack.yaml")
    assert project.cli("pause", file).code == 0
    ran = project.cli("resume", file, "--wait")
    assert ran.code == 0, ran.err
    assert "Waiting until it answers." in ran.out
    assert ran.out.splitlines()[-1] == "The endpoint answers."
    assert project.cli("status", file, "--format", "json").json["stacks"][0]["services"][0]["healthy"]


def test_a_watched_status_ends_with_ctrl_c(project: Project) -> None:
    project.apply()
    terminal = project.terminal("status", "--watch", str(project.folder / "stack.yaml"))
    terminal.until("Whether this is what the file says")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
