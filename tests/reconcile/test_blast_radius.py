"""What is foreign, forgotten or protected is not deleted: ids, origins and protection as they stand on UbiOps."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.harness.project import Project
from whisperctl import __version__
from whisperctl.state.labels import Labels

ENVIRONMENT = "whisperctl"


def folder(project: Project, name: str, **changes: Any) -> str:
    """The path of `stack.yaml` in a folder of its own: without a repository its name is its origin."""
    (project.folder / name).mkdir(exist_ok=True)
    return str(project.write(f"{name}/stack.yaml", **changes))


def repository(folder: Path, remote: str) -> None:
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    subprocess.run(["git", "-C", str(folder), "remote", "add", "origin", remote], check=True)


def labels(project: Project) -> dict[str, Labels]:
    """The labels of everything in the project."""
    api = project.api()
    collected = {f"deployment/{raw['name']}": Labels.of(raw) for raw in api.deployments()}
    collected |= {f"service/{raw['name']}": Labels.of(raw) for raw in api.services()}
    for raw in api.deployments():
        collected |= {f"version/{raw['name']}/{v['version']}": Labels.of(v) for v in api.versions(raw["name"])}
    return collected


OTHER: dict[str, Any] = {"deployment": {"name": "staging"}, "service": {"name": "staging", "port": 8080}}


def test_everything_carries_its_own_id_and_the_deployment_its_origin_and_the_tool(project: Project) -> None:
    project.apply()
    api = project.api()
    ids = [raw["id"] for raw in (api.deployment("alpha"), api.version("alpha", "v1"), api.find_service("alpha")) if raw]
    assert [each.id for each in labels(project).values()] == [ids[0], ids[2], ids[1]]
    deployment = labels(project)["deployment/alpha"]
    assert (deployment.origin, deployment.tool, deployment.protect) == ("stack.yaml", __version__, False)
    shared = api.environment(ENVIRONMENT) or {}
    assert Labels.of(shared).id == shared["id"]


@pytest.mark.parametrize("protect", [False, True])
def test_a_copied_stack_name_in_another_file_deletes_nothing(project: Project, protect: bool) -> None:
    project.apply(protect=protect)
    before = project.books()
    copy = str(project.write("staging.yaml", **OTHER))
    planned = project.cli("plan", copy)
    assert planned.code == 0
    assert "refused:" in planned.out
    for form in ("text", "json", "markdown"):
        assert "applied from stack.yaml, and this is staging.yaml" in project.cli("plan", "--format", form, copy).out
    assert project.cli("plan", "--format", "json", copy).json["stacks"][0]["refused"]
    assert project.cli("drift", copy).code in (0, 2)
    applied = project.cli("apply", "--yes", copy)
    assert applied.code == 1
    assert "stack.yaml" in applied.err
    assert "staging.yaml" in applied.err
    assert project.cli("destroy", "--yes", copy).code == 1
    assert project.books() == before
    leave = project.cli("apply", "--yes", "--allow-delete", copy)
    assert leave.code == (1 if protect else 0), leave.err
    if not protect:
        assert {name for name in project.names() if name.startswith("deployment/")} == {"deployment/staging"}
        assert labels(project)["deployment/staging"].origin == "staging.yaml"


def test_a_saved_plan_keeps_the_leave_to_delete(project: Project) -> None:
    project.apply()
    copy = str(project.write("staging.yaml", **OTHER))
    file = str(project.folder / "saved.plan")
    assert project.cli("plan", "-o", file, copy).code == 0
    assert project.cli("apply", "--plan", file).code == 1
    assert project.cli("plan", "-o", file, "--allow-delete", copy).code == 0
    ran = project.cli("apply", "--plan", file)
    assert ran.code == 0, ran.err
    assert "deployment/staging" in project.names()


def test_files_of_one_repository_are_told_apart_and_a_moved_one_is_followed(project: Project) -> None:
    repository(project.folder, "git@github.com:Acme/Speech.git")
    one = folder(project, "one")
    assert project.cli("apply", "--yes", one).code == 0
    assert labels(project)["deployment/alpha"].origin == "github.com/acme/speech//one/stack.yaml"
    two = folder(project, "two")
    assert project.cli("apply", "--yes", two).code == 1  # the first is still there
    Path(one).unlink()
    planned = project.cli("plan", two)
    said = "origin moves from github.com/acme/speech//one/stack.yaml to github.com/acme/speech//two/stack.yaml"
    assert said in planned.out
    assert project.cli("apply", two).code == 0  # nothing to ask
    assert labels(project)["deployment/alpha"].origin == "github.com/acme/speech//two/stack.yaml"
    assert "moves" not in project.cli("plan", two).out


def test_another_repository_and_a_checkout_that_knows_none(project: Project) -> None:
    repository(project.folder / "one", "https://user:secret@Git.Example.com:8443/team/speech.git")
    one = folder(project, "one")
    assert project.cli("apply", "--yes", one).code == 0
    assert labels(project)["deployment/alpha"].origin == "git.example.com/team/speech//stack.yaml"
    repository(project.folder / "two", "https://git.example.com/others/speech")
    assert project.cli("apply", "--yes", folder(project, "two")).code == 1
    bare = folder(project, "bare", version={"maximum_instances": 3})
    assert project.cli("apply", "--yes", bare).code == 0  # it may be the same
    assert labels(project)["deployment/alpha"].origin == "git.example.com/team/speech//stack.yaml"


def test_copied_labels_make_nothing_ours(project: Project) -> None:
    project.apply()
    api = project.api()
    copied = (api.deployment("alpha") or {})["labels"]
    plain = {"input_type": "plain", "output_type": "plain"}
    api.create_deployment({"name": "copied", "labels": copied, **plain})
    api.create_deployment({"name": "collide", "labels": {"whisperctl-stack": "alpha"}, **plain})
    service = (api.find_service("alpha") or {})["labels"]
    api.create_service({"name": "copy", "deployment": "alpha", "version": "v1", "port": 8080, "labels": service})
    ran = project.cli("plan", "--detailed-exitcode", str(project.folder / "stack.yaml"))
    assert ran.code == 0, ran.out
    for name in ("deployment/copied", "deployment/collide", "service/copy"):
        assert f"{name} carries the label of this stack" in ran.out
    api.delete_service("copy")
    project.destroy()
    assert {raw["name"] for raw in api.deployments()} == {"copied", "collide"}


def test_a_wanted_name_that_carries_a_copied_id_is_nobody_s_and_can_be_adopted(project: Project) -> None:
    project.apply()
    api = project.api()
    theirs = (api.find_service("alpha") or {})["labels"]
    api.delete_service("alpha")
    body = {"name": "alpha", "deployment": "alpha", "version": "v1", "port": 8080}
    api.create_service(body | {"labels": {**theirs, "whisperctl-id": "x"}})
    file = str(project.folder / "stack.yaml")
    ran = project.cli("apply", "--yes", file)
    assert ran.code == 1
    assert "service/alpha exists and belongs to nobody that whisperctl knows" in ran.err
    assert project.cli("adopt", "--yes", file).code == 0
    assert project.cli("apply", "--yes", file).code == 0


# --- protection -------------------------------------------------------------------------------------------------------


def test_protection_holds_on_ubiops_whatever_the_file_says(project: Project) -> None:
    project.apply(protect=True)
    assert labels(project)["deployment/alpha"].protect
    for changes in (
        {"deployment": {"name": "renamed"}},
        {"service": {"name": "renamed", "port": 8080}},
        {"version": {"name": "v2"}},
        {"service": None},
        {"version": {"maximum_instances": 9}},  # nothing is lost, but the protection may fall only by itself
    ):
        file = str(project.write(**changes))
        ran = project.cli("apply", "--yes", "--allow-delete", file)
        assert (ran.code, "protect" in ran.err) == (1, True), ran.err
        assert project.cli("plan", file).code == 0
    assert project.cli("destroy", "--yes", file).code == 1
    assert labels(project)["deployment/alpha"].protect


def test_protection_falls_to_an_apply_whose_one_change_it_is(project: Project) -> None:
    project.apply(protect=True)
    file = str(project.write())
    ran = project.cli("plan", "--format", "json", file)
    [change] = ran.json["stacks"][0]["changes"]
    assert (change["address"], change["action"]) == ("deployment/alpha", "update")
    assert change["fields"] == [{"path": "protect", "before": True, "after": False}]
    assert project.cli("plan", "--detailed-exitcode", file).code == 2
    assert project.cli("drift", file).code == 0  # the file has moved on, UbiOps has not
    assert project.cli("apply", "--yes", file).code == 0
    assert not labels(project)["deployment/alpha"].protect
    assert project.cli("plan", "--detailed-exitcode", file).code == 0
    project.destroy()


def test_a_protected_stack_plans_and_drifts_as_any_other_and_hides_none(project: Project) -> None:
    folder(project, "all")
    own = folder(project, "all", protect=True)
    assert project.cli("apply", "--yes", own).code == 0
    Path(own).write_text(Path(own).read_text().replace('"name": "v1"', '"name": "v2"'))
    project.write("all/other.yaml", stack="beta", deployment={"name": "beta"}, service=None)
    everything = str(project.folder / "all")
    planned = project.cli("plan", "--detailed-exitcode", everything)
    assert planned.code == 2
    assert "refused: " in planned.out
    assert "+ deployment/beta" in planned.out
    assert project.cli("drift", own).code in (0, 2)
    assert project.cli("apply", "--yes", everything).code == 1
    assert "deployment/beta" not in project.names()


# --- projects ---------------------------------------------------------------------------------------------------------


def test_a_project_that_contradicts_the_file_is_refused_naming_both(project: Project) -> None:
    file = str(project.write(project="demo"))
    for command in (["plan"], ["status"], ["apply", "--yes"]):
        ran = project.cli("--project", "elsewhere", *command, file)
        assert ran.code == 1
        assert "'elsewhere'" in ran.err
        assert "'demo'" in ran.err
    assert project.cli("plan", file, UBIOPS_PROJECT="elsewhere").code == 0
    for command in (["apply", "--yes"], ["destroy", "--yes"], ["pause"], ["scale", "--max", "2"], ["adopt", "--yes"]):
        ran = project.cli(*command, file, UBIOPS_PROJECT="elsewhere")
        assert (ran.code, "'elsewhere'" in ran.err, "'demo'" in ran.err) == (1, True, True)
    assert project.cli("apply", "--yes", file, UBIOPS_PROJECT="").code == 0


# --- what reviewers see -----------------------------------------------------------------------------------------------


def test_what_is_lost_comes_first_and_is_never_cut(project: Project) -> None:
    for number in range(3):
        name = f"z{number}"
        services = [{"name": f"{name}-{index}", "port": 8080} for index in range(3)]
        project.perform(project.write(f"{name}.yaml", stack=name, deployment={"name": name}, service=services))
    (project.folder / "many").mkdir()
    for number in range(60):
        name, text = f"a{number:02}", "x" * 390
        project.write(f"many/{name}.yaml", stack=name, deployment={"name": name, "description": text}, service=None)
    for number in (0, 1):
        project.write(f"many/z{number}.yaml", stack=f"z{number}", deployment={"name": f"z{number}"}, service=None)
        (project.folder / f"z{number}.yaml").unlink()
    project.write("many/z2.yaml", stack="z2", deployment={"name": "z2"}, service=services)
    (project.folder / "z2.yaml").unlink()
    ran = project.cli("plan", "--allow-delete", str(project.folder / "many"))
    assert ran.code == 0, ran.err
    text = ran.out
    assert text.splitlines()[-1].startswith("In all 63 stacks: 6 to delete, ")
    assert text.index("- service/z0-0") < text.index("- service/z1-2") < text.index("+ deployment/a00")
    assert "\nUnchanged: z2.\n" in text
    markdown = project.cli("plan", "--allow-delete", "--format", "markdown", str(project.folder / "many")).out
    assert len(markdown) <= 65_000
    for number in range(3):
        for stack in ("z0", "z1"):
            assert f"- service/{stack}-{number}" in markdown.replace("-   ", "- ")
    assert "to create" in markdown.rpartition("Left out")[2]
