"""What a stack finds in its project: env vars handed down, GPUs of the group. Told before anything is made."""

from __future__ import annotations

from typing import Any

import pytest
from ubiops import EnvironmentVariableCreate

from tests.harness.official import client_of
from tests.harness.project import Project, paths

SET = "is set on the {level}, not in {file}, and reaches the server."


def test_what_is_set_elsewhere_is_told_of_wherever_one_looks(project: Project) -> None:
    api = client_of(project.emulator)
    file = str(project.write())
    extra = EnvironmentVariableCreate(name="VLLM_EXTRA_ARGS", value="--max-num-seqs 1", secret=False)
    api.project_environment_variables_create("demo", extra)
    api.project_environment_variables_create("demo", EnvironmentVariableCreate(name="TEAM", value="a", secret=False))
    of_project = f"`VLLM_EXTRA_ARGS=--max-num-seqs 1` {SET.format(level='project demo', file=file)}"
    new = project.cli("plan", file)
    assert f"warning: {of_project}" in new.out  # before there is a version that has a list of its own

    project.apply()
    token = EnvironmentVariableCreate(name="HF_TOKEN", value="hf_of_the_deployment", secret=True)
    api.deployment_environment_variables_create("demo", "alpha", token)
    api.api_client.close()
    of_deployment = f"HF_TOKEN (secret) {SET.format(level='deployment alpha', file=file)}"
    shown = {command: project.cli(command, file) for command in ("plan", "drift", "status", "doctor")}
    for ran in shown.values():
        assert ran.code == 0, ran
        assert of_project in ran.out, ran.out
        assert of_deployment in ran.out, ran.out
        assert "TEAM" not in ran.out
        assert "hf_of_the_deployment" not in ran.all
    assert "No changes: " in shown["plan"].out
    assert "No drift: " in shown["drift"].out
    for command in ("plan", "drift", "status"):
        [stack] = project.cli(command, "--format", "json", file).json["stacks"]
        assert sum("[inherited-variable]" in warning["text"] for warning in stack["warnings"]) == 2, command
    for command in ("plan", "drift"):
        assert of_deployment in project.cli(command, "--format", "markdown", file).out


def test_what_the_file_sets_itself_is_not_inherited(project: Project) -> None:
    api = client_of(project.emulator)
    task = EnvironmentVariableCreate(name="WHISPER_TASK", value="translation", secret=False)
    api.project_environment_variables_create("demo", task)
    api.api_client.close()
    file = str(project.write(env={"WHISPER_TASK": "transcription"}))
    assert "inherited-variable" not in project.cli("plan", file).out
    project.apply(env={"WHISPER_TASK": "transcription"})
    assert "inherited-variable" not in project.cli("plan", file).out


def test_a_group_that_has_other_gpus_is_refused_before_anything_is_made(project: Project) -> None:
    """The group's own name tells nothing: its instance types do."""
    types = {item["name"]: item["id"] for item in project.api().instance_types()}
    project.api().create_group({"name": "ours", "instance_types": [{"id": types["86016mb-a100"]}]})
    file = str(project.write(instance_type_group={"name": "ours", "gpu": "A100", "gpu_count": 2}))
    refusal = "ours has no instance type with 2 A100: 86016mb-a100 (1 A100)."
    planned = project.cli("plan", file)
    assert planned.code == 0
    assert f"refused: {file}:" in planned.out
    assert refusal in planned.out
    with project.counted() as calls:
        ran = project.cli("apply", "--yes", file)
    assert ran.code == 1
    assert refusal in ran.err
    assert not [call for call in calls if not call.startswith("GET ")]
    assert refusal in project.cli("doctor", file).out


def test_a_group_that_is_to_be_made_of_types_that_are_not_there_is_refused(project: Project) -> None:
    group = {"name": "alpha-group", "gpu": "T4", "instance_types": ["12288mb-t4", "no-such-type"]}
    ran = project.cli("apply", "--yes", str(project.write(instance_type_group=group)))
    assert ran.code == 1
    assert "this project has no instance type 'no-such-type'." in ran.err


def test_what_ubiops_keeps_in_another_form_is_no_change(project: Project) -> None:
    """A server that trims texts, as Django REST Framework does by default, and one that sorts a set."""
    changes: dict[str, Any] = {
        "deployment": {"description": "Two\nlines\n"},
        "env": {"CERT": "-----BEGIN\n-----END\n"},
        "service": {"request_logging_excluded_extensions": ["wav", "mp3"]},
    }
    project.control("PATCH", "switches", {"trim_text": True})
    try:
        project.apply(**changes)
        project.api().update_service("alpha", {"request_logging_excluded_extensions": ["mp3", "wav"]})
        assert paths(project.plan_one(**changes)) == []
        assert (project.api().deployment("alpha") or {})["description"] == "Two\nlines"
    finally:
        project.control("PATCH", "switches", {"trim_text": False})


def test_white_space_alone_is_a_change_where_ubiops_keeps_it(project: Project) -> None:
    """Also beside a field whose texts it trims."""
    description = {"description": "Two\nlines\n"}
    project.control("PATCH", "switches", {"trim_text": True})
    try:
        project.apply(deployment=description, env={"PROMPT": "Doctor"})
    finally:
        project.control("PATCH", "switches", {"trim_text": False})
    for text in ("Doctor ", "Doctor", "\nDoctor"):
        changes: dict[str, Any] = {"deployment": description, "env": {"PROMPT": text}}
        assert paths(project.plan_one(**changes)) == ["env_var/alpha/v1/PROMPT value"]
        project.apply(**changes)
        assert [each["value"] for each in project.api().env_vars("alpha", "v1")] == [text]
        assert paths(project.plan_one(**changes)) == []


def test_without_a_path_commands_that_look_take_the_folder(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write("stacks/alpha.yaml")
    monkeypatch.chdir(project.folder)
    for command in ("validate", "plan", "drift", "status"):
        ran = project.cli(command)
        assert (ran.code, "alpha" in ran.out) == (0, True), ran
    ran = project.cli("apply", "--yes")
    assert ran.code == 1
    assert ran.err.endswith("\n  Name one of the stack files below: stacks/alpha.yaml.\n")
    assert project.names() == set()


def test_drift_of_a_protected_stack_is_told(project: Project) -> None:
    project.apply(protect=True)
    project.api().update_version("alpha", "v1", {"maximum_instances": 7})
    ran = project.cli("drift", str(project.folder / "stack.yaml"))
    assert ran.code == 2
    assert "maximum_instances : 1 -> 7" in ran.out
