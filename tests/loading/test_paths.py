"""Which files PATH means, and what several stacks may not do together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from whisperctl.errors import SpecError
from whisperctl.loading import load_stacks

STACK = """\
apiVersion: whisperctl/v1
stack: {name}
model: {{name: openai/whisper-small, revision: 973afd24965f72e36ca33b3055d56a652f456b4d}}
vllm: {{version: 0.26.0}}
deployment: {{name: {name}}}
instance_type_group: {{name: shared, gpu: L4}}
version: {{name: v1}}
"""

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(tmp_path)

    def put(name: str, text: str) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return Path(name)

    return put


def names(*paths: str) -> list[str]:
    return [stack.name for stack in load_stacks([Path(path) for path in paths], {}).stacks]


def problems(*paths: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_stacks([Path(path) for path in paths], {})
    return [str(problem) for problem in caught.value.problems if problem.severity == "error"]


def test_a_directory_means_its_stacks_and_nothing_else(write: Write) -> None:
    write("team/one.yaml", STACK.format(name="one"))
    write("team/deep/two.yaml", STACK.format(name="two"))
    write("team/part.yaml", "apiVersion: whisperctl/v1\nvllm: {version: 0.26.0}\n")
    write("team/helm.yaml", "apiVersion: v1\nkind: ConfigMap\n{{ template }}\n")
    write("team/other.yml", STACK.format(name="other"))
    write("team/.hidden/three.yaml", STACK.format(name="three"))
    assert names("team") == ["one", "two"]


def warnings(*paths: str) -> list[str]:
    loaded = load_stacks([Path(path) for path in paths], {}).warnings
    return [str(problem).replace("\n", "") for problem in loaded if problem.name == "passed-over"]


API, NAME = "apiVersion: whisperctl/v1\n", "stack: two\n"
SECTIONS = STACK.format(name="two").removeprefix(API + NAME)
LOOKS = "1:1: warning: this looks like a stack and is passed over:"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("two.yml", API + NAME + SECTIONS, "a directory means its *.yaml files  Rename it to two.yaml."),
        (
            "two.yml",
            json.dumps(yaml.safe_load(API + NAME + SECTIONS)),
            "a directory means its *.yaml files  Rename it to two.yaml.",
        ),
        ("two.yml", API + NAME + "extends: one.yaml\n", "a directory means its *.yaml files  Rename it to two.yaml."),
        ("two.yaml", API + "stak: two\n" + SECTIONS, "it has no `stack: NAME`  Write `stack: NAME`."),
        ("two.yaml", API + SECTIONS, "it has no `stack: NAME`  Write `stack: NAME`."),
        ("two.yaml", API + "stak: two\nextends: one.yaml\n", "it has no `stack: NAME`  Write `stack: NAME`."),
        (
            "two.yaml",
            "apiversion: whisperctl/v1\n" + NAME + "extends: ${WHERE}.yaml\n",
            "it has no `apiVersion: whisperctl/v1`  Write `apiVersion: whisperctl/v1`.",
        ),
        (
            "two.yaml",
            "extends: noe.yaml\n" + NAME,
            "it has no `apiVersion: whisperctl/v1`  Write `apiVersion: whisperctl/v1`.",
        ),
        (
            "two.yaml",
            "apiVersion: whispercontrol/v1\n" + NAME + SECTIONS,
            "it has no `apiVersion: whisperctl/v1`  Write `apiVersion: whisperctl/v1`.",
        ),
        (
            "two.yml",
            SECTIONS,
            (
                "a directory means its *.yaml files, and it has no `apiVersion: whisperctl/v1` and no `stack: NAME`"
                "  Rename it to two.yaml and write `apiVersion: whisperctl/v1` and `stack: NAME`."
            ),
        ),
    ],
)
def test_what_looks_like_a_stack_and_is_passed_over_is_told(write: Write, name: str, text: str, message: str) -> None:
    write("team/one.yaml", STACK.format(name="one"))
    write(f"team/{name}", text)
    assert warnings("team") == [f"team/{name}:{LOOKS} {message} [passed-over]"]


def test_what_a_stack_extends_may_say_that_it_is_ours(write: Write) -> None:
    write("team/base.yaml", API + SECTIONS)
    write("team/over.yaml", "extends: base.yaml\nprotect: true\n")
    write("team/one.yaml", "extends: base.yaml\nstack: one\ndeployment: {name: one}\n")
    write("team/three/three.yaml", "extends: ../over.yaml\nstack: three\ndeployment: {name: three}\n")
    assert names("team") == ["one", "three"]
    assert warnings("team") == []


@pytest.mark.parametrize("extended", ["self.yaml", "nowhere.yaml", "helm.yaml", "[base.yaml]", "{a: b}", "folder", ""])
def test_a_file_that_extends_nothing_of_ours_is_not_ours(write: Write, extended: str) -> None:
    write("team/one.yaml", STACK.format(name="one"))
    write("team/helm.yaml", "apiVersion: v1\nkind: ConfigMap\n{{ template }}\n")
    write("team/folder/x", "")
    write("team/self.yaml", f"extends: {extended}\nstack: other\n")
    assert names("team") == ["one"]


def test_a_directory_of_nothing_else_says_what_was_passed_over(write: Write) -> None:
    write("team/one.yml", STACK.format(name="one"))
    with pytest.raises(SpecError) as caught:
        load_stacks([Path("team")], {})
    assert [problem.severity for problem in caught.value.problems] == ["error", "warning"]


def test_parts_that_are_extended_and_files_that_are_named_are_not_passed_over(write: Write) -> None:
    write("team/parts/part.yaml", API + SECTIONS)
    write("team/parts/other.yml", API + "extends: part.yaml\nprotect: true\n")
    write("team/one.yml", API + "stack: one\nextends: parts/other.yml\n")
    write("team/two.yaml", API + "stack: two\nextends: parts/part.yaml\ndeployment: {name: other}\n")
    assert warnings("team", "team/one.yml") == []


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec:\n  model: whisperctl/v1\n",
        "apiVersion: v1\nkind: ConfigMap\ndata:\n  stack.yaml: |\n"
        + "".join(f"    {line}\n" for line in STACK.format(name="two").splitlines()),
        "name: whisperctl\non: push\nenv: {A: b}\njobs: {a: {uses: whisperctl/action@v1}}\n",
        "name: stacks\nversion: '3'\nservices: {a: {image: whisperctl/image}}\nextends: {file: b}\n",
        "stack: a\nmodel: b\ndeployment: c\nversion: 1\nenv: {}\nservice: d\nproject: e\nenvironment: f\n",
        "stages: [deploy]\ninclude: [a]\nvariables: {A: b}\ndeploy:\n  extends: .a\n  environment: prod\n",
        API + "vllm: {version: 0.26.0}\nenvironment: {apt: []}\nrollout: {timeout: 60}\n",
        "vllm: {version: 0.26.0}\nversion: {name: v1}\n",
    ],
)
@pytest.mark.parametrize("name", ["other.yml", "other.yaml"])
def test_files_of_other_tools_and_parts_are_passed_over_in_silence(write: Write, name: str, text: str) -> None:
    write("team/one.yaml", STACK.format(name="one"))
    write(f"team/{name}", text)
    assert warnings("team") == []


def test_a_stack_may_be_written_as_json_is(write: Write) -> None:
    document = yaml.safe_load(STACK.format(name="one"))
    write("team/one.yaml", json.dumps(document))
    write("team/part.yaml", "{apiVersion: whisperctl/v1, deployment: {labels: {stack: none}}}\n")
    write("team/foreign.yaml", "{apiVersion: v1, stack: whisperctl/v1}\n")
    write("team/broken.yaml", "{whisperctl/ stack\n")
    assert names("team") == ["one"]


def test_the_same_file_twice_is_one_stack(write: Write) -> None:
    write("team/one.yaml", STACK.format(name="one"))
    assert names("team", "team/one.yaml", "team/../team/one.yaml") == ["one"]


def test_a_directory_without_stacks_is_told(write: Write) -> None:
    write("team/part.yaml", "apiVersion: whisperctl/v1\n")
    assert problems("team")[0].startswith("team:1:1: error: holds no stack file")


def test_a_missing_file_is_told(write: Write) -> None:
    assert "nowhere.yaml:1:1: error: there is no such file" in problems("nowhere.yaml")[0]


def test_a_broken_stack_in_a_directory_is_not_passed_over(write: Write) -> None:
    write("team/one.yaml", STACK.format(name="one"))
    write("team/two.yaml", STACK.format(name="two") + "env: {A: [\n")
    assert problems("team") != []


def test_a_link_to_itself_is_told(write: Write) -> None:
    write("team/one.yaml", STACK.format(name="one"))
    Path("team/loop.yaml").symlink_to("loop.yaml")
    [problem] = problems("team")
    assert problem.startswith("team/loop.yaml:1:1: error: ")
    write("two.yaml", "extends: team/loop.yaml\n" + STACK.format(name="two"))
    [problem] = problems("two.yaml")
    assert "there is no file team/loop.yaml" in problem


def test_a_part_named_by_itself_lacks_its_stack(write: Write) -> None:
    write("part.yaml", "apiVersion: whisperctl/v1\nvllm: {version: 0.26.0}\n")
    assert any("stack: this key is required" in problem for problem in problems("part.yaml"))


def test_all_problems_of_all_files_come_at_once(write: Write) -> None:
    write("one.yaml", STACK.format(name="one") + "protekt: true\n")
    write("two.yaml", STACK.format(name="two") + "protekt: true\n")
    assert [problem.partition(":")[0] for problem in problems("one.yaml", "two.yaml", "gone.yaml")] == [
        "gone.yaml",
        "one.yaml",
        "two.yaml",
    ]


@pytest.mark.parametrize(
    ("more", "claim"),
    [
        ("stack: one\n", "the stack one is claimed by one.yaml:2 already"),
        ("deployment: {name: one}\n", "the deployment one is claimed by one.yaml:5 already"),
        ("service: {name: same}\n", "the service same is claimed by one.yaml:8 already"),
    ],
)
def test_two_stacks_may_not_claim_one_object(write: Write, more: str, claim: str) -> None:
    write("one.yaml", STACK.format(name="one") + "service: {name: same}\n")
    key = more.partition(":")[0]
    lines = [line for line in STACK.format(name="two").splitlines() if not line.startswith(f"{key}:")]
    write("two.yaml", "\n".join(lines) + "\n" + more)
    (problem,) = problems("one.yaml", "two.yaml")
    assert claim in problem
    assert problem.startswith("two.yaml:")
    assert "two.yaml and one.yaml would undo each other's changes" in problem


def test_a_managed_group_has_one_owner_and_an_existing_one_many(write: Write) -> None:
    write("one.yaml", STACK.format(name="one"))
    write("two.yaml", STACK.format(name="two"))
    assert names("one.yaml", "two.yaml") == ["one", "two"]
    for name in ("one", "two"):
        text = STACK.format(name=name).replace("{name: shared,", "{instance_types: [l4], name: shared,")
        write(f"{name}.yaml", text)
    assert "the instance type group shared is claimed by one.yaml:6 already" in problems("one.yaml", "two.yaml")[0]


def test_stacks_of_different_projects_may_share_names(write: Write) -> None:
    write("one.yaml", STACK.format(name="one") + "project: a\n")
    write("two.yaml", STACK.format(name="one") + "project: b\n")
    assert names("one.yaml", "two.yaml") == ["one", "one"]


def test_what_a_shared_part_does_wrong_is_told_once(write: Write) -> None:
    write("part.yaml", "apiVersion: whisperctl/v1\nprotekt: true\n")
    for name in ("one", "two"):
        write(f"{name}.yaml", "extends: part.yaml\n" + STACK.format(name=name))
    assert len(problems("one.yaml", "two.yaml")) == 1


def test_marks_name_the_file_as_the_user_did(write: Write, tmp_path: Path) -> None:
    write("team/one.yaml", STACK.format(name="one"))
    relative = load_stacks([Path("team/one.yaml")], {}).stacks[0]
    absolute = load_stacks([tmp_path / "team/one.yaml"], {}).stacks[0]
    assert relative.source("vllm", "version") == "team/one.yaml:4"
    assert absolute.source("vllm", "version") == f"{tmp_path}/team/one.yaml:4"
    assert str(relative.mark("version", "minimum_instances")) == "team/one.yaml:7:1"


def test_paths_count_from_the_file_they_are_written_in(write: Write, tmp_path: Path) -> None:
    write("parts/hello.wav", "RIFF")
    write("parts/smoke.yaml", "rollout: {smoke: {audio: hello.wav, expect: hello}}\n")
    write("team/one.yaml", "extends: ../parts/smoke.yaml\n" + STACK.format(name="one"))
    stack = load_stacks([Path("team/one.yaml")], {}).stacks[0]
    assert stack.rollout.smoke is not None
    assert stack.rollout.smoke is not None
    assert stack.rollout.smoke.audio == tmp_path / "parts" / "hello.wav"
    assert stack.mark("rollout", "smoke", "audio").file == "parts/smoke.yaml"


def test_a_saved_plan_is_called_one(write: Write) -> None:
    file = write("a.plan", '{\n  "kind": "whisperctl saved plan",\n  "format_version": "2"\n}\n')
    with pytest.raises(SpecError, match=r"a saved plan, and no stack file\n.*apply --plan a\.plan` performs it"):
        load_stacks([file], {})
