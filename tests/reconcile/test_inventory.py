"""What is in a project without any file: list, output, destroy --stack; orphans and leaks."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness.project import Project
from tests.reconcile.test_documents import check
from whisperctl import __version__
from whisperctl.cli.inputs import by_project, read_stacks
from whisperctl.cli.options import Settings
from whisperctl.state.labels import Labels

CREDITS = 30.0
"""Credits per hour of the emulator's T4."""


def apply(project: Project, name: str, **more: Any) -> str:
    file = project.write(
        f"stacks/{name}.yaml", stack=name, **{"deployment": {"name": name}, "service": {"name": name}} | more
    )
    ran = project.cli("apply", "--yes", str(file))
    assert ran.code == 0, ran.err
    return str(file)


def listed(project: Project, *paths: str) -> dict[str, dict[str, Any]]:
    return {stack["stack"]: stack for stack in check("list", project.cli("list", *paths, "--format", "json").json)}


def test_an_empty_project_has_no_stack(project: Project) -> None:
    ran = project.cli("list")
    assert (ran.code, ran.out) == (0, "No stack is in project demo.\n"), ran.err
    assert project.cli("list", "--format", "json").json == {"format_version": "2", "stacks": []}


def test_files_say_which_projects_are_listed_and_without_any_the_environment(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UBIOPS_PROJECT", "elsewhere")
    for name, where in (("one", "zeta"), ("two", "alpha"), ("three", "zeta")):
        project.write(
            f"stacks/{name}.yaml", stack=name, project=where, deployment={"name": name}, service={"name": name}
        )
    stacks = read_stacks([str(project.folder / "stacks")])
    names = {where: {stack.name for stack in stacks} for where, stacks in by_project(Settings(), stacks).items()}
    assert list(names.items()) == [("alpha", {"two"}), ("zeta", {"one", "three"})]
    assert by_project(Settings(), ()) == {"elsewhere": []}


def test_every_stack_is_listed_with_what_it_costs_and_an_orphan_is_told(project: Project) -> None:
    file = apply(project, "kept")
    apply(project, "gone", version={"minimum_instances": 2, "maximum_instances": 2})
    (project.folder / "stacks/gone.yaml").unlink()
    stacks = listed(project)
    assert stacks["kept"] == {
        "stack": "kept", "project": "demo", "origin": "kept.yaml", "deployment": "kept", "version": "v1",
        "endpoint": project.api().service("kept")["endpoint"], "state": "ok", "credits_per_hour": CREDITS,
        "tool": __version__, "orphan": False, "leak": False,
        "versions": [{"name": "v1", "serves": True, "minimum_instances": 1, "running": 1, "credits_per_hour": CREDITS,
                      "credits_per_day": 24 * CREDITS, "leak": False}],
    }  # fmt: skip
    assert (stacks["gone"]["credits_per_hour"], stacks["gone"]["orphan"]) == (2 * CREDITS, False)
    assert {name: entry["orphan"] for name, entry in listed(project, file).items()} == {"gone": True, "kept": False}
    ran = project.cli("list", str(project.folder / "stacks"))
    assert ran.out.splitlines()[-1] == (
        "orphan: gone is in project demo and in none of these files, applied from gone.yaml: 60 credits per hour; "
        "`whisperctl destroy --stack gone` deletes it"
    )
    assert "leak" not in ran.out


def test_what_is_only_labelled_by_hand_is_no_stack(project: Project) -> None:
    project.api().create_deployment(
        {"name": "theirs", "input_type": "plain", "output_type": "plain", "labels": {"whisperctl-stack": "theirs"}}
    )
    assert listed(project) == {}
    file = project.write(stack="theirs", deployment={"name": "theirs"})
    assert listed(project, str(file)).keys() == {"theirs"}


def test_pauses_and_applies_that_did_not_finish_show_as_the_state(project: Project) -> None:
    asleep = apply(project, "asleep")
    assert project.cli("pause", asleep).code == 0
    project.fault("build-fail", count=1, text="no wheel for that")
    broken = project.write("broken.yaml", stack="broken", deployment={"name": "broken"}, service={"name": "broken"},
                           environment={"requirements": ["six"]})  # fmt: skip
    assert project.cli("apply", "--yes", str(broken)).code == 1
    stacks = listed(project)
    assert {name: entry["state"] for name, entry in stacks.items()} == {"asleep": "paused", "broken": "failed"}
    assert stacks["asleep"]["credits_per_hour"] == 0.0


def second_version(project: Project, **fields: Any) -> None:
    """A version of the stack beside the one that serves, as a rollout that was cut off would leave it."""
    api = project.api()
    first = api.version("alpha", "v1") or {}
    body = {name: first[name] for name in ("environment_name", "environment_tag", "instance_type_group_id")}
    raw = api.create_version("alpha", {**body, "version": "v0", "maximum_instances": 2, **fields})
    labels = Labels({}).written(owner="alpha", id=raw["id"])
    api.update_version("alpha", "v0", {"labels": labels})


@pytest.mark.parametrize("minimum", [0, 2])
def test_a_version_that_is_kept_and_serves_nobody_leaks(project: Project, minimum: int) -> None:
    project.apply()
    second_version(project, minimum_instances=minimum)
    entry = listed(project)["alpha"]
    assert entry["leak"] is bool(minimum)
    assert (entry["version"], entry["credits_per_hour"]) == ("v1", (1 + minimum) * CREDITS)
    leaks = [version["name"] for version in entry["versions"] if version["leak"]]
    assert leaks == (["v0"] if minimum else [])
    line = "leak: version/alpha/v0 costs 1440 credits per day and serves nobody (minimum_instances 2"
    assert (line in project.cli("list").out) is bool(minimum)


def test_what_served_before_its_service_was_deleted_leaks_by_the_label(project: Project) -> None:
    project.apply()
    project.api().delete_service("alpha")
    assert listed(project)["alpha"]["leak"]


def test_a_stack_without_a_service_does_not_leak(project: Project) -> None:
    project.apply(service=None)
    second_version(project, minimum_instances=1)
    assert not listed(project)["alpha"]["leak"]


def test_a_stack_is_destroyed_by_its_name_without_its_file(project: Project) -> None:
    for name in ("alpha", "beta"):
        (project.folder / f"stacks/{name}.yaml").exists() or apply(project, name)
    (project.folder / "stacks/alpha.yaml").unlink()
    ran = project.cli("destroy", "--stack", "alpha")
    assert (ran.code, "Pass --yes." in ran.err) == (1, True)
    assert "  - deployment/alpha\n      the stack is destroyed (--stack alpha)\n" in ran.out
    ran = project.cli("destroy", "--stack", "alpha", "--yes")
    assert ran.code == 0, ran.err
    assert listed(project).keys() == {"beta"}
    assert project.cli("plan", str(project.folder / "stacks/beta.yaml"), "--detailed-exitcode").code == 0
    ran = project.cli("destroy", "--stack", "alpha", "--yes")
    assert ran.code == 1
    assert "The project demo has no stack 'alpha'.\n  It has: beta." in ran.err
    assert project.cli("destroy", "--stack", "alpha", "stack.yaml").code == 64


def test_the_name_of_a_stack_without_its_file_has_to_be_typed(project: Project) -> None:
    project.apply()
    for typed, code in (("y\n", 1), ("alpha\n", 0)):
        terminal = project.terminal("destroy", "--stack", "alpha")
        terminal.until("Type the stack's name")
        terminal.type(typed)
        assert terminal.end() == code
    assert project.names() == set()


def test_a_protected_stack_is_not_destroyed_by_its_name(project: Project) -> None:
    project.apply(protect=True)
    ran = project.cli("destroy", "--stack", "alpha", "--yes")
    assert ran.code == 1
    assert "is protected on UbiOps" in ran.err
    assert listed(project).keys() == {"alpha"}


def test_outputs_are_one_a_line_or_one_bare(project: Project) -> None:
    project.apply()
    file, api = str(project.folder / "stack.yaml"), project.api()
    service, version = api.service("alpha"), api.version("alpha", "v1") or {}
    values = {"url": service["endpoint"], "service_id": service["id"], "model": "openai/whisper-small", "version": "v1",
              "revision": version["active_revision"], "project": "demo"}  # fmt: skip
    assert project.cli("output", file).out == "".join(f"{name}={value}\n" for name, value in values.items())
    assert project.cli("output", file, "url").out == f"{values['url']}\n"
    document = project.cli("output", file, "--format", "json").json
    assert document == {"format_version": "2", "stacks": [{"stack": "alpha", **values}]}
    assert project.cli("output", file, "urls").code == 64
    api.delete_service("alpha")
    ran = project.cli("output", file, "url")
    assert (ran.code, ran.out) == (1, "")
    assert "there is no url" in ran.err


def test_a_planned_folder_tells_of_stacks_that_are_in_no_file(project: Project) -> None:
    file = apply(project, "kept")
    apply(project, "gone")
    (project.folder / "stacks/gone.yaml").unlink()
    folder = str(project.folder / "stacks")
    warning = "in project demo, but in no file here: gone (applied from gone.yaml)"
    assert warning in project.cli("plan", folder).out
    assert warning in project.cli("plan", folder, "--format", "markdown").out
    document = project.cli("plan", folder, "--format", "json").json
    check("plan", document)
    assert document["orphans"] == [{"stack": "gone", "project": "demo", "origin": "gone.yaml"}]
    assert warning not in project.cli("plan", file).out
    ran = project.cli("doctor", folder)
    assert "gone is in none of these files" in ran.out
    assert "in none of these files" not in project.cli("doctor", file).out


def test_status_and_doctor_tell_of_a_leak_with_what_it_costs_a_day(project: Project) -> None:
    project.apply()
    second_version(project, minimum_instances=2)
    file = str(project.folder / "stack.yaml")
    [status] = check("status", project.cli("status", file, "--format", "json").json)
    leaks = [(version["name"], version["credits_per_day"]) for version in status["versions"] if version["leak"]]
    assert leaks == [("v0", 1440.0)]
    assert "leak: costs 1440 credits per day and serves nobody" in project.cli("status", file).out
    assert "version/alpha/v0 costs 1440 credits per day, serving nobody" in project.cli("doctor", file).out
