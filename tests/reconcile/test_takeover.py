"""Stacks that another version of whisperctl applied are taken over without a deletion, a build or a question.

Those of 0.1 have the labels that it wrote, letter for letter; the package differs from today's in the code alone.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from tests.harness.project import Project, QuickClock, actions
from whisperctl import __version__
from whisperctl.package.build import Package, build_package
from whisperctl.plan.package_changes import settings_digest
from whisperctl.state.labels import Labels
from whisperctl.state.records import RecordedRevision, Rendering

NANO = Path(__file__).parents[2] / "specs" / "whisper-nano"
SECRET = "canary-canary-1"
CHANGES: dict[str, Any] = {
    "env": {"HUB": {"value": SECRET, "secret": True}, "PLAIN": "1"},
    "instance_type_group": {"name": "mine", "gpu": "T4", "instance_types": ["12288mb-t4"]},
    "deployment": {"labels": {"team": "a"}},
}
DEPLOYMENT = {
    "team": "a",
    "whisperctl-stack": "alpha",
    "whisperctl-fields": "description;labels.team",
    "whisperctl-digest": "bceac9a096a05191218bfabffb1e6bd5",
    "whisperctl-applied": "afb507dc9bf6183e34564e9fab50e51a",
    "whisperctl-version": "v1",
}
VERSION = {
    "openai-compatible": "true",
    "openai-model-names": "openai/whisper-small",
    "whisperctl-stack": "alpha",
    "whisperctl-fields": "health_check;labels.openai-compatible;labels.openai-model-names",
    "whisperctl-env": "HUB;PLAIN",
    "whisperctl-secret-HUB": "083d98f86da1af71.6db5d0453b4f93aa4f4ff26f865d023c",
}
SERVICE = {"whisperctl-stack": "alpha", "whisperctl-digest": "26fe0bc81d72a60c2f83b2f7be55f298"}
LINE: dict[str, Any] = {"rollout": {"strategy": "blue_green", "bake": 0}}
OF_A_LINE = "v1-0123abcd"
SHARED = {"whisperctl-stack": "shared", "whisperctl-digest": "4fa3eeee3bbaa3369c4f5f4d171b7c70"}


def older(package: Package) -> Package:
    """What 0.1 rendered: the same settings in one file of code, and nothing beside it."""
    code = package.files["deployment.py"]
    assert isinstance(code, bytes)
    if isinstance(apt := package.files.get("ubiops.yaml"), bytes):
        package = Package(files={**package.files, "ubiops.yaml": apt.replace(b'"', b"")})
    files = {name: content for name, content in package.files.items() if not name.startswith("whisperctl_")}
    return Package(files={**files, "deployment.py": code.replace(b"whisperctl_supervisor", b"no_supervisor")})


def uploaded(project: Project, file: Path, version: str = "v1") -> tuple[Package, str]:
    """What 0.1 renders from the file, and its revision, which runs now."""
    [stack] = project.load(file)
    package = older(build_package(stack))
    revision = project.api().upload("alpha", version, package)
    while (project.api().version("alpha", version) or {})["active_revision"] != revision:
        time.sleep(0.02)
    return package, revision


def applied_by(project: Project, tool: str, *, labelled: bool, **changes: Any) -> Path:
    """The file of a stack that another version applied, which writes the same labels as this one."""
    project.apply(**changes)
    file, api = project.folder / "stack.yaml", project.api()
    [raw] = api.versions("alpha")
    package, revision = uploaded(project, file, raw["version"])
    version, deployment = Labels.of(api.version("alpha", raw["version"])), Labels.of(api.deployment("alpha"))
    recorded = [RecordedRevision(revision, package.digest, version.revisions[0].tag)]
    written = version.written(revisions=recorded, digest=package.digest)
    if labelled:
        said = settings_digest(package.files)
        written = Labels(written).written(rendering=Rendering(tool, said, package.digest))
    else:
        written.pop("whisperctl-rendered")
    name = raw["version"] if raw["version"] == "v1" else OF_A_LINE  # named by what it was made from
    api.update_version("alpha", raw["version"], {"version": name, "labels": written})
    api.update_deployment("alpha", {"labels": deployment.written(tool=tool, version=name, digest="0" * 32)})
    return file


@pytest.fixture
def file(project: Project) -> Path:
    """The file of a stack that was last applied by 0.1."""
    project.apply(**CHANGES)
    file = project.folder / "stack.yaml"
    api = project.api()
    package, revision = uploaded(project, file)
    raw = api.version("alpha", "v1") or {}
    tag, [group] = raw["environment_tag"], [item["id"] for item in api.groups() if item["name"] == "mine"]
    recorded = {"whisperctl-revision-1": f"{revision} {package.digest} {tag}", "whisperctl-digest": package.digest}
    api.update_version("alpha", "v1", {"labels": VERSION | recorded})
    api.update_deployment("alpha", {"labels": DEPLOYMENT | {"whisperctl-tags": tag, "whisperctl-group": group}})
    api.update_service("alpha", {"labels": SERVICE})
    api.update_environment("whisperctl", {"labels": SHARED})
    return file


def test_a_stack_of_0_1_is_taken_over_without_a_deletion_a_build_or_a_question(project: Project, file: Path) -> None:
    before = project.books()
    project.write(protect=True, **CHANGES)
    [plan] = project.plan(file)
    assert plan.changes == ()
    assert [operation.kind for operation in plan.operations] == ["seal"]
    shown = project.cli("plan", "--detailed-exitcode", str(file))
    assert (shown.code, "package/alpha/v1 was rendered by 0.1" in shown.out) == (0, True)
    project.forget()
    ran = project.cli("apply", str(file))  # without --yes and without a terminal
    assert ran.code == 0, ran.err
    assert not [e for e in project.journal() if e["method"] in ("POST", "DELETE") and "/_emulator/" not in e["path"]]
    assert project.books() == before
    api = project.api()
    for raw in (api.deployment("alpha"), api.version("alpha", "v1"), api.find_service("alpha")):
        assert raw is not None
        assert Labels.of(raw).id == raw["id"]
    deployment = Labels.of(api.deployment("alpha"))
    assert (deployment.origin, deployment.tool, deployment.protect) == ("stack.yaml", __version__, True)


def test_a_taken_over_stack_is_planned_like_any_other(project: Project, file: Path) -> None:
    assert project.cli("apply", str(file)).code == 0
    with project.counted() as asked:
        ran = project.cli("plan", "--detailed-exitcode", str(file))
    assert ran.out.endswith("resources match.\n")
    assert not [line for line in asked if "/download" in line]
    assert project.cli("drift", str(file)).out.endswith("the project is as it was last applied.\n")


def test_what_else_changes_leaves_the_package_of_0_1(project: Project, file: Path) -> None:
    project.write(version={"maximum_instances": 3}, **CHANGES)
    [plan] = project.plan(file)
    assert actions(plan) == {"version/alpha/v1": "update"}
    [outcome] = project.perform(file)
    assert outcome.succeeded
    [plan] = project.plan(file)
    assert (plan.changes, plan.operations) == ((), ())


def test_a_setting_brings_todays_package(project: Project, file: Path) -> None:
    project.write(vllm={"max_model_len": 400}, **CHANGES)
    [plan] = project.plan(file)
    assert actions(plan) == {"package/alpha/v1": "update"}
    assert plan.changes[0].reason.endswith(f"; rendered by 0.1, this is {__version__}")
    assert "max_model_len" in {item.path for item in plan.changes[0].contents}


def test_tags_that_0_1_keeps_for_a_rollback_are_kept(project: Project, file: Path) -> None:
    api = project.api()
    raw = api.version("alpha", "v1") or {}
    revisions = {f"whisperctl-revision-{n}": f"0000-{n} {n}f tag-{n}" for n in (2, 3)}
    api.update_version("alpha", "v1", {"labels": raw["labels"] | revisions})
    assert project.cli("apply", str(file)).code == 0
    tags = Labels.of(api.deployment("alpha")).tags
    assert {"tag-2", "tag-3", raw["environment_tag"]} == set(tags)


def test_a_part_does_not_end_the_takeover(project: Project, file: Path) -> None:
    project.write(service={"description": "hello"}, version={"maximum_instances": 3}, **CHANGES)
    ran = project.cli("apply", "--yes", "--only", "service/*", str(file))
    assert ran.code == 0, ran
    [plan] = project.plan(file)
    assert actions(plan) == {"version/alpha/v1": "update"}


@pytest.mark.parametrize(
    "changes", [{}, {"environment": {"mode": "package"}}, LINE], ids=["managed", "package", "blue_green"]
)
@pytest.mark.parametrize("labelled", [False, True], ids=["to be read", "labelled"])
def test_an_upgrade_alone_builds_nothing(project: Project, changes: dict[str, Any], labelled: bool) -> None:
    file = applied_by(project, "0.1.9", labelled=labelled, **changes)
    with project.counted() as asked:
        shown = project.cli("plan", "--detailed-exitcode", str(file))
    assert any("/download" in line for line in asked) is not labelled
    assert (shown.code, f"rendered by 0.1.9, this is {__version__}: " in shown.out) == (0, True)
    before = project.books()
    project.forget()
    assert project.cli("apply", str(file)).code == 0
    assert not [e for e in project.journal() if e["method"] in ("POST", "DELETE") and "/_emulator/" not in e["path"]]
    assert project.books() == before
    with project.counted() as asked:
        again = project.cli("plan", "--detailed-exitcode", str(file))
    assert again.out.endswith("resources match.\n")
    assert not [line for line in asked if "/download" in line]
    assert project.cli("drift", str(file)).code == 0


@pytest.mark.parametrize(
    "changes",
    [{"vllm": {"max_model_len": 400}}, {"env": {"PLAIN": "1"}}, {"whisperctl": f">={__version__}"}],
    ids=["setting", "variable", "tool"],
)
def test_a_change_rolls_todays_package_out(project: Project, changes: dict[str, Any]) -> None:
    file = applied_by(project, "0.1.9", labelled=True, **LINE)
    assert project.plan(file)[0].changes == ()
    project.write(**LINE | changes)
    [plan] = project.plan(file)
    assert plan.rollout is not None
    assert (plan.rollout.gated, plan.rollout.serving) == (True, OF_A_LINE)
    [outcome] = project.perform(file)
    assert outcome.succeeded
    assert project.plan(file)[0].changes == ()
    assert project.api().service("alpha")["version"] == plan.rollout.new


def test_what_else_changes_of_a_line_leaves_the_version_that_serves(project: Project) -> None:
    file = applied_by(project, "0.1.9", labelled=True, **LINE)
    project.write(version={"maximum_instances": 3}, **LINE)
    saved = str(project.folder / "plan.json")
    assert project.cli("plan", "-o", saved, str(file)).code == 0
    assert actions(project.plan(file)[0]) == {f"version/alpha/{OF_A_LINE}": "update"}
    assert project.cli("apply", "--plan", saved, "--yes").code == 0
    assert project.plan(file)[0].changes == ()


@pytest.mark.parametrize("name", ["alpha", "beta"], ids=["deleted", "renamed"])
def test_a_line_without_its_service_keeps_the_version_that_served(project: Project, name: str) -> None:
    file = applied_by(project, "0.1.9", labelled=True, **LINE)
    project.api().delete_service("alpha")
    project.write(service={"name": name}, **LINE)
    assert actions(project.plan(file)[0]) == {f"service/{name}": "create"}
    [outcome] = project.perform(file)
    assert outcome.succeeded
    assert (project.api().find_service(name) or {})["version"] == OF_A_LINE


def test_a_revision_by_hand_ends_what_a_line_keeps(project: Project) -> None:
    file = applied_by(project, "0.1.9", labelled=True, **LINE)
    uploaded(project, file, OF_A_LINE)
    [plan] = project.plan(file)
    assert plan.rollout is not None
    assert (plan.rollout.gated, plan.rollout.serving) == (True, OF_A_LINE)


def test_a_file_for_later_versions_brings_their_package(project: Project) -> None:
    file = applied_by(project, "0.1.9", labelled=False)
    assert project.cli("apply", str(file)).code == 0
    project.write(whisperctl=">=0.1")
    assert project.plan(file)[0].changes == ()
    project.write(whisperctl=f">={__version__}")
    [plan] = project.plan(file)
    assert actions(plan) == {"package/alpha/v1": "update"}
    assert plan.changes[0].reason == f"rendered by 0.1.9, this is {__version__}: what the stack file says is the same"
    [outcome] = project.perform(file)
    assert outcome.succeeded
    rendering = Labels.of(project.api().version("alpha", "v1")).rendering
    assert rendering is not None
    assert rendering.tool == __version__


def test_another_requirement_is_no_upgrade(project: Project) -> None:
    file = applied_by(project, "0.1.9", labelled=True, environment={"mode": "package"})
    project.write(environment={"mode": "package", "apt": ["ffmpeg"]})
    assert actions(project.plan(file)[0]) == {"package/alpha/v1": "update"}


def test_what_an_early_version_uploads_is_not_told_by_the_label_of_the_package_before(project: Project) -> None:
    project.apply()
    package, revision = uploaded(project, project.write(vllm={"max_model_len": 400}))
    version = Labels.of(project.api().version("alpha", "v1"))
    recorded = [RecordedRevision(revision, package.digest, version.revisions[0].tag), *version.revisions]
    labels = version.written(revisions=recorded, digest=package.digest)  # the other one stays: 0.2.0 does not know it
    project.api().update_version("alpha", "v1", {"labels": labels})
    assert project.plan(project.write(vllm={"max_model_len": 400}))[0].changes == ()
    assert actions(project.plan(project.write())[0]) == {"package/alpha/v1": "update"}


def test_a_part_leaves_who_rendered_the_package(project: Project) -> None:
    applied_by(project, "0.1.9", labelled=False)
    file = project.write(service={"description": "hello"})
    ran = project.cli("apply", "--yes", "--only", "service/*", str(file))
    assert ran.code == 0, ran
    assert f"rendered by 0.1.9, this is {__version__}: " in project.cli("plan", str(file)).out
    project.write(service={"description": "hello"}, whisperctl=f">={__version__}")
    assert actions(project.plan(file)[0]) == {"package/alpha/v1": "update"}


class ChangesModel(QuickClock):
    """Writes a file of the model once its package builds."""

    def __init__(self, project: Project, file: Path) -> None:
        super().__init__()
        self.project, self.file = project, file

    def sleep(self, seconds: float) -> None:
        if any(text.startswith("revision ") for text in self.project.said):
            self.file.write_text("changed")
        super().sleep(seconds)


def test_a_model_that_changes_during_the_build_is_uploaded_by_the_next_apply(project: Project) -> None:
    shutil.copytree(NANO, project.folder / "nano")
    labels = {"openai-compatible": "true", "openai-model-names": "nano"}
    file = project.write(model={"name": "./nano"}, version={"labels": labels})
    # Its build is looked at twice at least: the first look is refused.
    project.fault("error", method="GET", path=r"/v1/revisions/[^/]+$", count=1)
    project.perform(file, world=project.world(ChangesModel(project, project.folder / "nano" / "vocab.json")))
    assert actions(project.plan(file)[0]) == {"package/alpha/v1": "update"}


def test_two_words_are_not_one_with_a_space(project: Project) -> None:
    values = (["a b"], ["a", "b"])
    stacks = [project.load(project.write(vllm={"args": {"lora-modules": value}}))[0] for value in values]
    one, two = (settings_digest(build_package(stack).files) for stack in stacks)
    assert one != two
