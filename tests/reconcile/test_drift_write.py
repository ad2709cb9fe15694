"""drift --write: live values where a person would have put them, every other byte as it was, an empty plan after."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness.project import T4, Project
from whisperctl.loading.edits import NotEditable, edited

BASE = f"""\
# shared by all
model: {{name: openai/whisper-small, revision: 973afd24965f72e36ca33b3055d56a652f456b4d}}
vllm: {{version: 0.24.0}}
instance_type_group: {{name: "{T4}", gpu: T4}}
version:
  minimum_instances: 1   # inherited
  maximum_instances: 2
"""
STACK = """\
# production\r
apiVersion: whisperctl/v1\r
stack: alpha\r
extends: base.part\r
deployment: {name: alpha, description: 'it''s ours'} # ours\r
\r
version:\r
  name: v1   # the only one\r
  labels: {openai-compatible: "true", openai-model-names: openai/whisper-small}\r
env:\r
  A: "1" # one\r
  FROM: ${WHERE}\r
  HIDDEN: {value: hidden-value, secret: true}\r
  B: {value: two}\r
service:\r
- name: alpha\r
  port: 8080\r
- name: beta # the other\r
  rate_limit: 5\r
"""


def test_live_values_come_into_the_file_and_nothing_else_changes(project: Project) -> None:
    (project.folder / "base.part").write_text(BASE)
    file = project.folder / "stack.yaml"
    file.write_bytes(STACK.encode())
    ran = project.cli("apply", "--yes", str(file), WHERE="here")
    assert ran.code == 0, ran
    api = project.api()
    own = {item["name"]: item["id"] for item in api.env_vars("alpha", "v1")}
    for name, value in {"A": "8", "B": "$two", "FROM": "elsewhere"}.items():
        api.update_env_var("alpha", "v1", own[name], {"value": value})
    api.update_deployment("alpha", {"description": 'it\'s "theirs"'})
    version = api.version("alpha", "v1") or {}
    check = version["health_check"] | {"interval": 7}
    api.update_version("alpha", "v1", {"minimum_instances": 0, "maximum_idle_time": 700, "health_check": check})
    api.update_service("beta", {"rate_limit": 50})
    api.update_service("alpha", {"authentication_required": True, "rate_limit": None})
    drifted = project.cli("drift", "--write", str(file), WHERE="here")
    assert drifted.code == 2, drifted
    assert "env_var/alpha/v1/FROM value: the file takes it from ${WHERE}" in drifted.err
    expected = (
        STACK.replace("'it''s ours'", "'it''s \"theirs\"'")
        .replace('A: "1" # one', 'A: "8" # one')
        .replace("{value: two}", '{value: "$$two"}')
        .replace("rate_limit: 5\r", "rate_limit: 50\r")
        .replace(
            "openai/whisper-small}\r\nenv",
            "openai/whisper-small}\r\n  health_check:\r\n    interval: 7\r\n"
            "  maximum_idle_time: 700\r\n  minimum_instances: 0\r\nenv",
        )
    )
    assert file.read_bytes().decode().split("\r\n") == expected.split("\r\n")
    assert (project.folder / "base.part").read_text() == BASE
    assert project.cli("plan", "--detailed-exitcode", str(file), WHERE="elsewhere").code == 0


def test_a_file_that_has_moved_on_is_not_written(project: Project) -> None:
    project.apply()
    project.api().update_version("alpha", "v1", {"minimum_instances": 0})
    file = project.write(version={"maximum_instances": 4})
    before = file.read_bytes()
    ran = project.cli("drift", "--write", str(file))
    assert "nothing tells which side is newer" in ran.err
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "path", "value", "after"),
    [
        ("a: {b: 1}\n", ("a", "b"), 2, "a: {b: 2}\n"),
        ("a:\n  b: 1 # x\n# end", ("a", "c"), True, "a:\n  b: 1 # x\n  c: true\n# end"),
        ("a:\n  b: 1", ("a", "c"), "x: y", 'a:\n  b: 1\n  c: "x: y"'),
        ("a: {}\nb: 1\n", ("a", "c", "d"), 1, "a: {c: {d: 1}}\nb: 1\n"),
        ("b: 1\n", ("a", "c"), None, "b: 1\na:\n  c: null\n"),
        ("a:\n- b: 1\n- b: 2 # x\n", ("a", 1, "c"), 3, "a:\n- b: 1\n- b: 2 # x\n  c: 3\n"),
        ("\ufeffa: 1\n", ("a",), 2, "\ufeffa: 2\n"),
        ("x-b: &b {c: 1}\na:\n  <<: *b\n  d: 2\n", ("a", "c"), 3, "x-b: &b {c: 1}\na:\n  <<: *b\n  d: 2\n  c: 3\n"),
        ("a:\n  b: |\n    text\n\nc: 1\n", ("a", "d"), 3, "a:\n  d: 3\n  b: |\n    text\n\nc: 1\n"),
        ("a: 1\n...\n", ("b",), 3, "a: 1\nb: 3\n...\n"),
    ],
)
def test_a_value_is_written_where_it_belongs(text: str, path: tuple[Any, ...], value: Any, after: str) -> None:
    assert edited(text, path, value) == after


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("x-a: &a 1\nb: *a\nc: *a\n", ("b",)),
        ("a: [1, 2]\n", ("a",)),
        ("a: |\n  text\n", ("a",)),
        ("a: 1\n", ("a", "b")),
        ("a: [1]\n", ("a", 4)),
        ("{", ("a",)),
        ("- 1\n", ("a",)),
        ("a: 1\na: 2\n", ("a",)),
    ],
)
def test_what_only_a_person_can_write_is_left_alone(text: str, path: tuple[Any, ...]) -> None:
    with pytest.raises(NotEditable):
        edited(text, path, 7)


@settings(max_examples=60, deadline=None)
@given(value=st.none() | st.booleans() | st.integers() | st.text(), style=st.sampled_from(["7", "'x'", '"x"', "x"]))
def test_any_value_is_written_and_read_back_in_place(value: Any, style: str) -> None:
    before, after = "a: # first\n  b: ", "   # why\n  c: 1\n"
    text = edited(before + style + after, ("a", "b"), value)
    assert text.startswith(before)
    assert text.endswith(after)
