"""Parts that others extend, secrets that are not there, and warnings by their names."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from whisperctl.loading import Loaded, load_stacks
from whisperctl.loading.checked import Checked
from whisperctl.loading.warnings import NAMES

WHOLE = """\
apiVersion: whisperctl/v1
model: {name: openai/whisper-small, revision: 973afd24965f72e36ca33b3055d56a652f456b4d}
vllm: {version: 0.19.1}
deployment: {name: one}
instance_type_group: {name: shared, gpu: L4}
version: {name: v1, minimum_instances: 1}
"""
STACK = WHOLE + "stack: one\n"
Check = Callable[..., Checked]
Load = Callable[..., Loaded]


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    monkeypatch.chdir(tmp_path)

    def check(text: str, **environ: str) -> Checked:
        Path("file.yaml").write_text(text, encoding="utf-8")
        return Checked.of([Path("file.yaml")], environ)

    return check


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.chdir(tmp_path)

    def load(text: str, **environ: str) -> Loaded:
        Path("file.yaml").write_text(text, encoding="utf-8")
        return load_stacks([Path("file.yaml")], environ)

    return load


def messages(loaded: Checked) -> list[str]:
    return [f"{problem.path}: {problem.message}" for problem in loaded.problems if problem.severity == "error"]


@pytest.mark.parametrize(
    "text",
    [
        "vllm: {args: {enforce-eager: true}}\n",
        "apiVersion: whisperctl/v1\nversion: {minimum_instances: 1}\nenv: {HF_TOKEN: {secret: true}}\n",
        "service: {port: 8080}\nrollout: {smoke: {expect: hello}}\n",
        WHOLE,
    ],
)
def test_a_part_may_lack_what_another_file_adds(checked: Check, text: str) -> None:
    part = checked(text)
    assert (messages(part), part.stacks, part.parts) == ([], (), ("file.yaml",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vllm: {argz: {}}\n", "vllm.argz: this key is not known"),
        ("version: {minimum_instances: many}\n", "version.minimum_instances: must be a whole number, not text"),
        (WHOLE + "env: {VLLM_NOWHERE: x}\n", "env.VLLM_NOWHERE: vLLM 0.19.1 does not read VLLM_NOWHERE"),
    ],
)
def test_a_part_is_checked_as_far_as_it_goes(checked: Check, text: str, message: str) -> None:
    assert messages(checked(text)) == [message]


def test_a_part_is_no_stack_to_those_who_apply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("part.yaml").write_text(WHOLE, encoding="utf-8")
    with pytest.raises(Exception, match="stack: this key is required"):
        load_stacks([Path("part.yaml")], {})


@pytest.mark.parametrize("written", ["${HF_TOKEN}", "${HF_TOKEN:?the token of the hub}"])
@pytest.mark.parametrize("environ", [{}, {"HF_TOKEN": ""}])
def test_validate_needs_no_secret(checked: Check, written: str, environ: dict[str, Any] | dict[str, str]) -> None:
    assert messages(checked(f'{STACK}env: {{HF_TOKEN: {{value: "{written}", secret: true}}}}\n', **environ)) == []


def test_an_empty_secret_is_an_error_unless_it_is_meant(loaded: Load) -> None:
    with pytest.raises(Exception, match="HF_TOKEN is empty"):
        loaded(STACK + 'env: {HF_TOKEN: {value: "${HF_TOKEN}", secret: true}}\n', HF_TOKEN="")
    meant = loaded(STACK + 'env: {HF_TOKEN: {value: "${HF_TOKEN:-}", secret: true}}\n', HF_TOKEN="")
    assert [variable.value for variable in meant.stacks[0].env] == [""]


def test_what_a_value_was_made_of_is_known(loaded: Load) -> None:
    stack = loaded(STACK + 'env: {A: "${X}-${Y:-y}-${X}"}\n', X="1").stacks[0]
    assert dict(stack.taken_from) == {("env", "A"): ("X", "Y")}


def test_every_warning_ends_with_its_name_and_is_told_no_more_once_acknowledged(loaded: Load) -> None:
    doubtful = STACK + 'env: {HF_TOKEN: "hf_1", A: "$B"}\nservice: {name: one, authentication_required: false}\n'
    warnings = loaded(doubtful).warnings
    names = [problem.name for problem in warnings]
    assert {"vllm-advisory", "unmarked-secret", "bare-variable", "public-service"} <= set(names) <= NAMES
    assert all(str(problem).endswith(f"[{problem.name}]") for problem in warnings)
    assert loaded(f"{doubtful}acknowledge: [{', '.join(sorted(set(names)))}]\n").warnings == ()


def test_every_name_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "warnings.md").read_text(encoding="utf-8")
    assert sorted(NAMES) == re.findall(r"^\| `([a-z0-9-]+)` \|", page, re.MULTILINE)


@pytest.mark.parametrize("end", ["---\n", "...\n", "---\n...\n", "--- \n# the end\n"])
def test_an_end_mark_is_no_second_document(loaded: Load, end: str) -> None:
    assert [stack.name for stack in loaded(STACK + end).stacks] == ["one"]


def test_keys_for_anchors_are_read_by_nothing(loaded: Load) -> None:
    labelled = STACK.replace("name: one}", "name: one, labels: *team}")
    text = "x-team: &team {team: speech, unset: '${NOWHERE}'}\n" + labelled
    with pytest.raises(Exception, match=r"labels\.unset: the environment variable NOWHERE is not set"):
        loaded(text)
    assert loaded(text, NOWHERE="here").stacks[0].deployment.labels == {"team": "speech", "unset": "here"}


def test_one_recording_or_several(loaded: Load, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    listed = loaded(STACK + "rollout: {smoke: [{audio: a.wav, expect: a}, {audio: a.wav, expect: b, max_wer: 0}]}\n")
    assert [(smoke.expect, smoke.max_wer) for smoke in listed.stacks[0].rollout.smokes] == [("a", 0.2), ("b", 0.0)]
    one = loaded(STACK + "rollout: {smoke: {audio: a.wav, expect: a}}\n").stacks[0].rollout.smoke
    assert one is not None
    assert one.expect == "a"


def test_earlier_names(loaded: Load) -> None:
    service = "service: [{name: a}, {name: b}]\n"
    moved = loaded(STACK + service + "moved: {stack: old, deployment: [x, y], service: {a: z}}\n").stacks[0].moved
    assert (moved.stack, moved.deployment, moved.version) == (("old",), ("x", "y"), ())
    assert moved.services == {"a": ("z",)}
    assert loaded(STACK + "service: {name: a}\nmoved: {service: z}\n").stacks[0].moved.services == {"a": ("z",)}
