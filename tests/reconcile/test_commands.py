"""plan, apply, destroy and drift as commands: exit codes, streams, files, and what is never printed."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import leases, program
from tests.harness.program import Ran
from tests.harness.project import Project, merged
from tests.harness.sweeps import whole
from whisperctl.control.api import Api

CANARY = "canary-hunter2"
SECRET_ENV = {"HUB": {"value": "${HUB_SECRET}", "secret": True}, "PLAIN": "1"}


def test_exit_codes(project: Project) -> None:
    file = str(project.write())
    assert project.cli("plan", file).code == 0
    assert project.cli("plan", file, "--detailed-exitcode").code == 2
    assert project.cli("plan", file, "--detailled").code == 64
    assert project.cli("apply", file, "--plan", "x").code == 64
    assert project.cli("plan", "nowhere.yaml").code == 1
    assert project.cli("apply", "--yes", file).code == 0
    assert project.cli("plan", file, "--detailed-exitcode").code == 0
    assert project.cli("drift", file).code == 0
    project.api().update_version("alpha", "v1", {"maximum_instances": 5})
    ran = project.cli("drift", file)
    assert ran.code == 2
    assert re.search(r"~ version/alpha/v1\n(?: {6}.*\n)*? {6}last changed \S+ by \S+@\S+: ", ran.out)
    assert project.cli("destroy", "--yes", file).code == 0
    assert project.cli("destroy", "--yes", file).code == 0
    assert project.cli("drift", file).code == 0


def test_without_a_terminal_nothing_is_changed_unless_yes_is_said(project: Project) -> None:
    file = str(project.write())
    process = project.spawn("apply", file)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "--yes" in err
    assert project.names() == set()


def test_a_plan_says_once_that_a_line_has_no_recordings(project: Project) -> None:
    ran = project.cli("plan", str(project.write(rollout={"strategy": "blue_green"})))
    assert (ran.code, ran.err.count("without recordings a new version is judged")) == (0, 1)


@pytest.fixture
def full() -> Iterator[int]:
    """A disk without room."""
    descriptor = os.open("/dev/full", os.O_WRONLY)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize(("command", "unbuffered"), [(("plan",), ""), (("apply", "--yes"), "1")])
def test_a_plan_that_cannot_be_shown_is_told_and_not_applied(
    project: Project, full: int, command: tuple[str, ...], unbuffered: str
) -> None:
    process = project.spawn(*command, str(project.write()), out=full, PYTHONUNBUFFERED=unbuffered)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.endswith("\nerror: The output cannot be written: No space left on device.\n")
    assert "Traceback" not in err
    assert project.names() == set()


def test_what_was_applied_is_told_when_the_output_cannot_be_written(project: Project, full: int) -> None:
    process = project.spawn("apply", "--yes", str(project.write()), "--format", "json", out=full)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "\nApplied alpha: 6 created. Nothing differs any more.\n" in err
    assert err.endswith("\nerror: The output cannot be written: No space left on device.\n")
    assert "Traceback" not in err


def test_json_of_a_plan_and_of_an_apply(project: Project) -> None:
    file = str(project.write(env=SECRET_ENV))
    whole = project.cli("plan", file, "--format", "json", HUB_SECRET=CANARY).json
    assert list(whole) == ["format_version", "stacks"]
    [document] = whole["stacks"]
    assert list(document) == [
        "stack", "project", "origin", "fingerprint", "summary", "changes", "operations", "cost",
        "warnings", "refused",
    ]  # fmt: skip
    assert document["summary"] == {"create": 8, "update": 0, "replace": 0, "delete": 0, "unchanged": 0}
    assert set(document["changes"][0]) == {"address", "action", "fields", "reason", "effect", "source"}
    [value] = [
        f for c in document["changes"] if c["address"].endswith("HUB") for f in c["fields"] if f["path"] == "value"
    ]
    assert value == {"path": "value", "before": None, "after": "(secret)"}
    ran = project.cli("apply", "--yes", file, "--format", "json", HUB_SECRET=CANARY)
    assert {operation["outcome"] for operation in ran.json["stacks"][0]["operations"]} == {"done"}
    assert all(operation["seconds"] >= 0 for operation in ran.json["stacks"][0]["operations"])
    assert project.cli("plan", file, "--format", "json", HUB_SECRET=CANARY).json["stacks"][0]["changes"] == []
    again = project.cli("apply", "--yes", file, "--format", "json", HUB_SECRET=CANARY)
    assert again.json["stacks"][0]["operations"] == []


def test_json_of_an_apply_that_fails(project: Project) -> None:
    file = str(project.write())
    project.fault("build-fail", count=1, text="no wheel for that")
    ran = project.cli("apply", "--yes", file, "--format", "json")
    [stack] = ran.json["stacks"]
    assert (ran.code, stack["outcome"]) == (1, "failed")
    undone = [operation["address"] for operation in stack["operations"] if operation["outcome"] != "done"]
    assert stack["remaining"] == list(dict.fromkeys(undone))
    assert {"version/alpha/v1", "package/alpha/v1", "service/alpha"} < set(stack["remaining"])
    report = ran.err.partition("\nalpha: not finished.\n")[2]
    assert "the build failed: no wheel for that\n        Its last log lines:" in report
    assert "  Not tried:\n    create version/alpha/v1\n" in report
    ran = project.cli("apply", "--yes", file, "--format", "json")
    [stack] = ran.json["stacks"]
    assert (ran.code, stack["outcome"], stack["remaining"]) == (0, "succeeded", [])
    assert "Applied" not in ran.err


def test_json_of_several_stacks(project: Project) -> None:
    project.write("one.yaml")
    project.write("two.yaml", stack="beta", deployment={"name": "beta"}, service={"name": "beta"})
    document = project.cli("plan", str(project.folder), "--format", "json").json
    assert list(document) == ["format_version", "stacks"]
    assert [plan["stack"] for plan in document["stacks"]] == ["alpha", "beta"]


def test_two_stacks_that_claim_one_object_are_refused_naming_both_files(project: Project) -> None:
    project.write("one.yaml")
    project.write("two.yaml", stack="beta", service={"name": "beta"})
    ran = project.cli("plan", str(project.folder))
    assert ran.code == 1
    assert "one.yaml" in ran.err
    assert "two.yaml" in ran.err


@pytest.mark.parametrize("command", ["plan", "apply", "destroy", "drift"])
def test_stacks_brought_into_one_project_may_not_claim_one_object_either(project: Project, command: str) -> None:
    project.write("one.yaml", project="demo")
    project.write("two.yaml", service={"name": "beta"})
    ran = project.cli(command, str(project.folder))
    assert ran.code == 1
    assert "the deployment alpha is claimed by one.yaml:" in ran.err.replace(f"{project.folder}/", "")
    assert "two.yaml and one.yaml would undo each other's changes" in ran.err.replace(f"{project.folder}/", "")


def test_a_saved_plan_is_performed_once(project: Project) -> None:
    file, plan = str(project.write(env=SECRET_ENV)), project.folder / "saved.plan"
    assert project.cli("plan", file, "-o", str(plan), HUB_SECRET=CANARY).code == 0
    assert stat.S_IMODE(plan.stat().st_mode) == 0o600
    assert CANARY not in plan.read_text()
    assert project.cli("apply", "--plan", str(plan), HUB_SECRET=CANARY).code == 0
    again = project.cli("apply", "--plan", str(plan), HUB_SECRET=CANARY)
    assert again.code == 1
    assert "stale" in again.err


def _spec(project: Project) -> dict[str, str]:
    project.write(env=SECRET_ENV, version={"maximum_instances": 3})
    return {"HUB_SECRET": CANARY}


def _live(project: Project) -> dict[str, str]:
    project.api().create_deployment({"name": "alpha", "input_type": "plain", "output_type": "plain"})
    return {"HUB_SECRET": CANARY}


def _secret(_project: Project) -> dict[str, str]:
    return {"HUB_SECRET": "another"}


@pytest.mark.parametrize("change", [_spec, _live, _secret], ids=["spec", "live", "secret"])
def test_a_saved_plan_is_stale_when_anything_changed(project: Project, change: Any) -> None:
    file, plan = str(project.write(env=SECRET_ENV)), project.folder / "saved.plan"
    project.cli("plan", file, "-o", str(plan), HUB_SECRET=CANARY)
    ran = project.cli("apply", "--plan", str(plan), **change(project))
    assert ran.code == 1
    assert not project.names() - {"deployment/alpha"}


@pytest.mark.parametrize("destroys", [False, True], ids=["apply", "destroy"])
def test_a_stale_plan_names_the_whole_command_that_makes_it_again(project: Project, destroys: bool) -> None:
    file, plan = str(project.write("my stack.yaml")), str(project.folder / "my.plan")
    flag = ["--destroy"] if destroys else []
    assert project.cli("plan", *flag, file, "-o", plan).code == 0
    project.perform(project.write("other/my stack.yaml"))
    stale = project.cli("apply", "--plan", plan)
    command = ["whisperctl", "plan", *flag, "-o", plan, file]
    assert stale.code == 1
    assert stale.err.endswith(f"  Nothing was changed. Plan again: {shlex.join(command)}\n")
    Path(plan).write_text(Path(plan).read_text().replace('"format_version": "2"', '"format_version": "0"', 1))
    old = project.cli("apply", "--plan", plan)
    assert old.err.endswith(f"made by another version of whisperctl.\n  Plan again: {shlex.join(command)}\n")
    assert project.cli(*command[1:]).code == 0
    assert project.cli("apply", "--plan", plan).code == 0


@pytest.mark.parametrize("path", [(), ("stack.yaml",)], ids=["default", "named"])
def test_a_saved_plan_in_another_folder_says_where_it_looked(
    project: Project, path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write()
    monkeypatch.chdir(project.folder)
    assert project.cli("plan", *path, "-o", "saved.plan").code == 0
    (project.folder / "elsewhere").mkdir()
    monkeypatch.chdir(project.folder / "elsewhere")
    ran = project.cli("apply", "--plan", "../saved.plan")
    assert ran.code == 1
    assert f"there is no {project.folder / 'elsewhere' / 'stack.yaml'}" in ran.err
    assert "relative to the folder that it was made in" in ran.err
    assert "whisperctl init" not in ran.err


@pytest.mark.parametrize("content", ["a stack", "notes", "a link"])
def test_a_plan_is_never_saved_over_anything_but_a_saved_plan(project: Project, content: str) -> None:
    file, there = project.write(), project.folder / "there"
    before = {"a stack": file.read_text(), "notes": '{"kind": "notes"}'}.get(content, "linked")
    if content == "a link":
        there.symlink_to(project.folder / "linked")
    there.write_text(before)
    with project.counted() as requests:
        ran = project.cli("plan", str(file), "-o", str(there))
    assert (ran.code, requests) == (1, [])
    assert ran.err.startswith(f"error: {there} exists and is not a saved plan")
    assert there.read_text() == before


def test_a_saved_plan_and_an_empty_file_give_way_to_a_newer_one(project: Project) -> None:
    plan = str(project.folder / "saved.plan")
    Path(plan).touch()
    assert project.cli("plan", str(project.write()), "-o", plan).code == 0
    file = str(project.write(version={"maximum_instances": 3}))
    assert project.cli("plan", file, "-o", plan).code == 0
    assert project.cli("apply", "--plan", plan).code == 0


def test_terraforms_spelling_of_out_is_wrong_usage(project: Project) -> None:
    ran = project.cli("plan", str(project.write()), "-out=saved.plan")
    assert ran.code == 64
    assert "-o FILE" in ran.err


@pytest.mark.parametrize("place", [".", "/", "", "stack.yaml/x", "nowhere/x", pytest.param("x" * 300, id="long")])
def test_a_place_where_no_plan_can_be_saved_is_told(project: Project, place: str) -> None:
    project.write()
    ran = program.run("plan", "-o", place, environ=project.environ(), folder=project.folder)
    assert ran.code == 1
    assert ran.err[ran.err.index("error:") :].startswith(f"error: The plan cannot be saved to {place or '(no name)'}: ")
    assert [file.name for file in project.folder.iterdir()] == ["stack.yaml"]


def test_adoption_is_refused_naming_the_owner(project: Project) -> None:
    project.apply()
    ran = project.cli("plan", str(project.write(stack="beta")))
    assert ran.code == 1
    assert "belongs to the stack 'alpha'" in ran.err
    assert "`moved: {stack: OLD}` renames a stack" in ran.err
    assert "whisperctl adopt" not in ran.err, "it refuses what another stack owns"


def test_adoption_is_what_an_object_of_nobody_asks_for(project: Project) -> None:
    project.api().create_deployment({"name": "alpha", "input_type": "plain", "output_type": "plain"})
    ran = project.cli("plan", str(project.write()))
    assert ran.code == 1
    assert "belongs to nobody that whisperctl knows" in ran.err
    assert "whisperctl adopt" in ran.err


def test_markdown_fits_into_a_comment_whatever_the_size(project: Project) -> None:
    many = {f"NAME_{number:03d}".replace("0", "A").replace("1", "B"): "v" * 400 for number in range(300)}
    many = {re.sub(r"\d", lambda m: "CDEFGHIJ"[int(m[0]) - 2], name): value for name, value in many.items()}
    ran = project.cli("plan", str(project.write(env=many)), "--format", "markdown")
    assert ran.code == 0
    assert len(ran.out) <= 65_535
    assert "to create" in ran.out


def everything_said(project: Project, *runs: Ran) -> str:
    labels = [raw.get("labels") for raw in project.api().deployments()]
    labels += [raw.get("labels") for raw in project.api().versions("alpha")]
    return "".join(run.out + run.err for run in runs) + json.dumps(labels)


def test_no_secret_and_no_token_is_ever_said(project: Project) -> None:
    file, plan = str(project.write(env=SECRET_ENV)), project.folder / "saved.plan"
    environ = {"HUB_SECRET": CANARY}
    runs = [project.cli("plan", file, "-vv", "-o", str(plan), **environ)]
    runs += [project.cli("plan", file, "--format", form, "-vv", **environ) for form in ("json", "markdown")]
    project.fault("error", status=500, method="POST", path="/environment-variables$", count=2)
    runs.append(project.cli("apply", "--yes", "-vv", "--format", "json", file, **environ))
    project.fault("build-fail", count=1)
    runs.append(
        project.cli("apply", "--yes", "-vv", str(project.write(env=SECRET_ENV, vllm={"max_model_len": 9})), **environ)
    )
    runs.append(project.cli("drift", file, "-vv", **environ))
    runs.append(project.cli("plan", file, "-vv", UBIOPS_API_TOKEN="f" * 40, **environ))  # refused: unauthorised
    runs.append(project.cli("destroy", "--yes", "-vv", file, **environ))
    said = everything_said(project, *runs) + plan.read_text()
    assert "HUB" in said
    assert CANARY not in said
    assert project.emulator.token not in said
    assert "f" * 40 not in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_ends_the_waiting_says_what_builds_and_leaves_no_lease(
    project: Project, number: signal.Signals
) -> None:
    file = str(project.write())
    project.fault("build-endless", count=1)
    process = project.spawn("apply", "--yes", file)
    assert process.stderr is not None
    while "building on" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Still building on UbiOps: environment_tag/whisperctl/" in err
    assert "Traceback" not in err
    assert "whisperctl-lease" not in (project.api().deployment("alpha") or {})["labels"]


def test_a_terminal_that_hangs_up_leaves_no_lease(project: Project) -> None:
    """An ssh connection that breaks: a signal, and nobody takes what is written any more."""
    project.fault("build-endless", count=1)
    terminal = project.terminal("apply", "--yes", str(project.write()))
    terminal.until("environment_tag/whisperctl/")
    while "whisperctl-lease" not in (project.api().deployment("alpha") or {"labels": {}})["labels"]:
        assert terminal.process.poll() is None
    terminal.hang_up()
    assert terminal.process.wait(20) in (1, 130)
    assert "whisperctl-lease" not in (project.api().deployment("alpha") or {})["labels"]


def test_ctrl_c_twice_leaves_at_once(project: Project) -> None:
    file = str(project.write())
    project.fault("latency", method="POST", path="/build$", ms=8000, count=1)
    process = project.spawn("apply", "--yes", file)
    assert process.stderr is not None
    while "building on" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    while "Press Ctrl-C again" not in process.stderr.readline():
        assert process.poll() is None
    since = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 130
    assert time.monotonic() - since < 3
    process.communicate()


@pytest.mark.parametrize(
    ("command", "path"),
    [
        (("plan",), "/projects/"),
        pytest.param(("drift",), "/projects/", marks=whole),
        (("status",), "/projects/"),
        pytest.param(("apply", "--yes"), "/projects/", marks=whole),
        (("apply", "--yes"), "/versions$"),
        (("destroy", "--yes"), "/services/alpha$"),
    ],
    ids=["plan", "drift", "status", "planning", "applying", "destroying"],
)
def test_ctrl_c_ends_a_wait_for_the_rate_limit(project: Project, command: tuple[str, ...], path: str) -> None:
    file = str(project.write())
    if command[0] == "destroy":
        project.apply()
    project.fault("throttle", reset=300, path=path)
    process = project.spawn(*command, "-vv", file)
    assert process.stderr is not None
    while "limits the request rate" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "nterrupted" in err
    assert command[0] != "destroy" or "What was done stays done: destroy again to finish." in err
    assert "Traceback" not in err


def test_two_applies_at_once_one_waits_says_so_and_goes_on(project: Project) -> None:
    project.apply()
    first = str(project.write("first/stack.yaml", version={"maximum_instances": 2}, vllm={"max_model_len": 300}))
    second = str(project.write("second/stack.yaml", version={"maximum_instances": 3}))
    project.fault("latency", method="POST", path="/revisions$", ms=2500, count=1)
    process = uploading(project, first)
    ran = project.cli("apply", "--yes", second)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert ran.code == 0, ran.err
    assert "waiting for another apply" in ran.err
    assert (project.api().version("alpha", "v1") or {})["maximum_instances"] == 3


@pytest.mark.parametrize("command", ["apply", "destroy"])
def test_a_plan_that_another_apply_has_changed_is_not_performed_unseen(project: Project, command: str) -> None:
    project.apply()
    mine = str(project.write("mine/stack.yaml", version={"maximum_instances": 3}))
    theirs = str(project.write("theirs/stack.yaml", env={"THEIRS": "1"}, vllm={"max_model_len": 300}))
    project.fault("latency", method="POST", path="/revisions$", ms=2500, count=1)
    terminal = project.terminal(command, mine)
    terminal.until(r"\[y/N\]")
    other = uploading(project, theirs)
    terminal.type("y\n")
    terminal.until("waiting for another apply")
    other.communicate(timeout=60)
    assert other.returncode == 0
    assert terminal.end() == 1
    said = " ".join(terminal.shown.split())
    assert "alpha: nothing was changed. Another apply changed the stack while this one waited" in said
    assert "delete env_var/alpha/v1/THEIRS" in said.partition("New or different:")[2]
    assert said.endswith(f"Run {command} again to see the new plan.")
    assert project.cli("plan", theirs, "--detailed-exitcode").code == 0
    assert "as it was last applied" in project.cli("drift", theirs).out


def test_a_plan_that_another_apply_has_changed_is_shown_before_it_is_performed(project: Project) -> None:
    project.apply()
    mine = str(project.write("mine/stack.yaml", version={"maximum_instances": 3}))
    theirs = str(project.write("theirs/stack.yaml", env={"THEIRS": "1"}, vllm={"max_model_len": 300}))
    project.fault("latency", method="POST", path="/revisions$", ms=2500, count=1)
    other = uploading(project, theirs)
    ran = project.cli("apply", "--yes", mine)
    other.communicate(timeout=60)
    assert ran.code == 0, ran.err
    shown = ran.err.partition("waiting for another apply")[2].partition("version/alpha/v1: updating")[0]
    assert "\n  - env_var/alpha/v1/THEIRS\n" in shown
    assert "1 to delete" in shown


def test_a_plan_that_is_the_same_after_the_wait_is_performed(project: Project) -> None:
    project.apply()
    terminal = project.terminal("apply", str(project.write(version={"maximum_instances": 3})))
    terminal.until(r"\[y/N\]")
    labels = (project.api().deployment("alpha") or {})["labels"]
    with leases.of_a_process(3) as lease:
        project.api().update_deployment("alpha", {"labels": labels | lease})
        terminal.type("y\n")
        assert terminal.end() == 0
    assert "waiting for another apply" in terminal.shown
    assert terminal.shown.count("Plan: 1 to update") == 1


def uploading(project: Project, file: str) -> subprocess.Popen[str]:
    """An apply that has come to its upload."""
    process = project.spawn("apply", "--yes", file)
    assert process.stderr is not None
    while "uploading" not in process.stderr.readline():
        assert process.poll() is None
    return process


def test_two_first_applies_at_once_make_one_of_everything(project: Project) -> None:
    file = str(project.write())
    several = [project.spawn("apply", "--yes", file) for _ in range(2)]
    said = [process.communicate(timeout=90)[1] for process in several]
    assert [process.returncode for process in several] == [0, 0], said
    assert project.cli("plan", file, "--detailed-exitcode").code == 0
    assert len(project.api().revisions("alpha", "v1")) == 1


def test_drift_does_not_blame_ubiops_for_a_secret_that_changed_here(project: Project) -> None:
    file = str(project.write(env=SECRET_ENV))
    assert project.cli("apply", "--yes", file, HUB_SECRET=CANARY).code == 0
    ran = project.cli("drift", file, HUB_SECRET="another")
    assert ran.code == 0
    assert "The stack file has moved on since" in ran.out
    project.api().update_service("alpha", {"authentication_required": False})
    ran = project.cli("drift", file, HUB_SECRET="another")
    assert ran.code == 2
    assert "every difference was made on UbiOps" not in ran.out
    assert "env_var/alpha/v1/HUB" in ran.out


MOVED_ON = [{"version": {"maximum_instances": 2}}, {"deployment": {"name": "beta"}}]


@pytest.mark.parametrize("more", MOVED_ON, ids=["changed", "renamed"])
def test_drift_blames_nobody_once_the_file_has_moved_on(project: Project, more: dict[str, Any]) -> None:
    project.apply()
    project.api().update_version("alpha", "v1", {"maximum_instances": 5})
    file = str(project.write(**more))
    ran = project.cli("drift", file)
    assert ran.code == 2
    assert "The stack file has moved on since the last apply." in ran.out
    assert ran.out.endswith("`whisperctl apply` makes the project what the stack file says now.\n")
    assert "last changed" not in ran.out
    drift = project.cli("drift", file, "--format", "json").json["stacks"][0]
    assert (drift["basis"], drift["drifted"], drift["last_changed"]) == ("moved on", True, {})


APPLIED: dict[str, Any] = {
    "env": {"PLAIN": "1"},
    "instance_type_group": {"name": "mine", "gpu": "T4", "instance_types": ["12288mb-t4", "16384mb-l4"]},
    "service": {"rate_limit": 600},
}
MOVES = [
    {"version": {"maximum_instances": 2}},
    {"version": {"name": "v2"}, "vllm": {"max_model_len": 300}},
    {"env": {"MORE": "2"}, "service": {"description": "new"}, "deployment": {"labels": {"team": "a"}}},
    {"instance_type_group": {"name": "other"}, "environment": {"requirements": ["six"]}},
]


@pytest.mark.parametrize("more", MOVES, ids=["field", "version", "more", "group"])
def test_a_file_that_has_moved_on_is_no_drift(project: Project, more: dict[str, Any]) -> None:
    project.apply(**APPLIED)
    file = str(project.write(**merged(APPLIED, more)))
    ran = project.cli("drift", file)
    assert ran.code == 0
    assert ran.out == (
        "alpha in project demo\nNo drift: the project is as it was last applied. "
        "The stack file has moved on since: `whisperctl plan` shows how.\n"
    )
    drift = project.cli("drift", file, "--format", "json").json["stacks"][0]
    assert (drift["basis"], drift["drifted"], drift["last_changed"]) == ("moved on", False, {})
    assert project.cli("plan", file, "--detailed-exitcode").code == 2


def test_a_pause_and_its_end_are_no_drift_of_a_file_that_has_moved_on(project: Project) -> None:
    project.apply(**merged(APPLIED, {"version": {"minimum_instances": 1}}))
    file = str(project.write(**merged(APPLIED, {"version": {"minimum_instances": 1, "description": "new"}})))
    for command in ("pause", "resume"):
        assert project.cli(command, file).code == 0
        assert project.cli("drift", file).code == 0


def test_an_instance_type_that_leaves_a_group_is_shown_as_one_that_joins(project: Project) -> None:
    def group(*types: str) -> dict[str, Any]:
        return {"instance_type_group": {"name": "mine", "gpu": "T4", "instance_types": list(types)}}

    project.apply(**group("12288mb-t4", "16384mb"))
    file = str(project.write(**group("12288mb-t4", "16384mb-l4")))
    [change] = project.cli("plan", file, "--format", "json").json["stacks"][0]["changes"]
    assert change["fields"] == [
        {"path": "instance_types.16384mb", "before": {"priority": 1}, "after": None},
        {"path": "instance_types.16384mb-l4", "before": None, "after": {"priority": 1}},
    ]
    assert ': {"priority": 1} -> (not set)\n' in project.cli("plan", file).out


def _env_var(api: Api) -> str:
    return str(next(item["id"] for item in api.env_vars("alpha", "v1") if item["name"] == "PLAIN"))


BY_HAND: dict[str, Callable[[Api], object]] = {
    "deployment": lambda api: api.update_deployment("alpha", {"description": "theirs"}),
    "version": lambda api: api.update_version("alpha", "v1", {"maximum_instances": 5}),
    "env var": lambda api: api.update_env_var("alpha", "v1", _env_var(api), {"name": "PLAIN", "value": "theirs"}),
    "env var gone": lambda api: api.delete_env_var("alpha", "v1", _env_var(api)),
    "service": lambda api: api.update_service("alpha", {"rate_limit": 7}),
    "service gone": lambda api: api.delete_service("alpha"),
    "group": lambda api: api.update_group(
        next(group["id"] for group in api.groups() if group["name"] == "mine"),
        {"instance_types": [{"id": api.instance_types()[0]["id"], "priority": 3}]},
    ),
}


@pytest.mark.parametrize("hand", BY_HAND)
def test_a_change_by_hand_is_drift_although_the_file_has_moved_on(project: Project, hand: str) -> None:
    project.apply(**APPLIED)
    file = str(project.write(**merged(APPLIED, {"vllm": {"max_model_len": 300}})))
    assert project.cli("drift", file).code == 0
    BY_HAND[hand](project.api())
    assert project.cli("drift", file).code == 2


def test_a_destruction_is_planned_saved_and_performed_without_the_secrets(project: Project, tmp_path: Path) -> None:
    file = str(project.write(env=SECRET_ENV))
    assert project.cli("apply", "--yes", file, HUB_SECRET=CANARY).code == 0
    saved = str(tmp_path / "destroy.plan")
    assert project.cli("plan", file).code == 1
    ran = project.cli("plan", "--destroy", "-o", saved, file)
    assert ran.code == 0, ran.err
    ran = project.cli("apply", "--plan", saved, HUB_SECRET="another")
    assert ran.code == 0, ran.err
    assert project.names() == set()


FOLLOWING = {"version": "v1", "default": None}


@pytest.mark.parametrize("follows", FOLLOWING)
def test_what_a_foreign_service_uses_is_not_destroyed_by_halves(project: Project, follows: str) -> None:
    project.apply()
    file = str(project.write())
    service = {"name": "theirs", "deployment": "alpha", "version": FOLLOWING[follows], "port": 8080}
    project.api().create_service(service)
    before = project.books()
    reason = "deployment/alpha would be deleted, and is used by service/theirs, not ours."
    ran = project.cli("destroy", "--yes", file)
    assert ran.code == 1
    assert reason in ran.err
    for form in ("text", "markdown", "json"):
        ran = project.cli("plan", "--destroy", "--format", form, file)
        assert ran.code == 0
        assert reason in ran.out
    assert [remark["source"] for remark in ran.json["stacks"][0]["refused"] if reason in remark["text"]] == [file]
    assert project.books() == before
    assert project.cli("plan", file, "--detailed-exitcode").code == 0
    project.api().delete_service("theirs")
    assert project.cli("destroy", "--yes", file).code == 0


def test_a_version_that_a_foreign_service_uses_is_not_renamed(project: Project) -> None:
    project.apply()
    service = {"name": "theirs", "deployment": "alpha", "version": None, "port": 8080}
    project.api().create_service(service)
    assert project.cli("plan", str(project.write(version={"name": "v2"}))).code == 0  # it follows the default
    project.api().update_service("theirs", {"version": "v1"})
    ran = project.cli("apply", "--yes", str(project.write(version={"name": "v2"})))
    assert ran.code == 1
    assert "version/alpha/v1 would be deleted, and is used by service/theirs, not ours." in ran.err
    assert project.cli("drift", str(project.write(version={"name": "v2"}))).code == 0  # it only reads
    assert project.api().version("alpha", "v2") is None


def test_a_lease_of_a_process_that_is_gone_holds_up_nobody(project: Project) -> None:
    project.apply()
    labels = (project.api().deployment("alpha") or {})["labels"]
    project.api().update_deployment("alpha", {"labels": labels | leases.gone()})
    ran = project.cli("apply", "--yes", str(project.write(version={"maximum_instances": 2})))
    assert ran.code == 0
    assert "waiting for another apply" not in ran.err


def test_help_of_each_command_names_its_options(project: Project, tmp_path: Path) -> None:
    assert "--parallelism" in project.cli("apply", "--help").out
    assert "--detailed-exitcode" in project.cli("plan", "--help").out
    assert list(tmp_path.iterdir()) == []


HELD = [
    {"version": {"scaling_strategy": "default"}},
    {"version": {"description": ""}},
    {"version": {"request_retention_mode": "full", "maximum_queue_size": 100000}},
    {"service": {"description": "", "type": "standard", "cache_aware_llm_routing": False}},
]


@pytest.mark.parametrize("more", HELD, ids=lambda more: next(iter(more)))
def test_a_value_that_ubiops_holds_already_is_no_change_once_it_is_in_the_file(
    project: Project, more: dict[str, Any]
) -> None:
    project.apply()
    file = str(project.write(**more))
    ran = project.cli("plan", file, "--detailed-exitcode")
    assert ran.code == 0
    assert ran.out.endswith("No changes: 6 resources match. Apply only records the stack file as it is now.\n")
    assert project.cli("drift", file).code == 0
    ran = project.cli("apply", file)  # nothing is changed, so that nobody is asked
    assert ran.code == 0, ran.err
    assert project.cli("plan", file).out.endswith("No changes: 6 resources match.\n")
    assert project.cli("drift", file).out.endswith("No drift: the project is as it was last applied.\n")


def test_a_base_environment_without_its_tag_is_no_change(project: Project) -> None:
    base = "ubiops-ubuntu24-04-python3-12"
    project.apply(environment={"mode": "package", "base": f"{base}:v5.24.0"})
    file = str(project.write(environment={"mode": "package", "base": base}))
    assert project.cli("plan", file, "--detailed-exitcode").code == 0


def test_a_proof_that_failed_is_pending(project: Project) -> None:
    file = str(project.write(service=None, rollout={"timeout": 2}))
    project.fault("error", method="POST", path="/requests$", status=400)
    assert project.cli("apply", "--yes", file).code == 1
    project.calm()
    ran = project.cli("plan", file, "--detailed-exitcode")
    assert ran.code == 2
    assert "did not finish its proof" in ran.out
    assert project.cli("apply", file).code == 1  # it asks, and there is no terminal
    assert project.cli("apply", "--yes", file).code == 0
    assert project.cli("plan", file, "--detailed-exitcode").code == 0
