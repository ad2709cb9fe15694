"""What `--format json` prints is what the schemas say, of real stacks in every state that a document tells of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema.validators import Draft202012Validator

from tests.harness.project import Project

SCHEMAS = Path(__file__).parents[2] / "schemas"
DOCUMENTS = ("plan", "apply", "drift", "status", "list", "usage")
SECRET = {"HUB": {"value": "${HUB}", "secret": True}, "PLAIN": "(secret)"}


def strict(schema: Any) -> Any:
    """The schema with nothing allowed that it does not name."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    is_object = "properties" in schema and schema.get("type") == "object"
    parts = {key: strict(part) for key, part in schema.items()}
    return parts | {"additionalProperties": False} if is_object else parts


def check(name: str, document: Any) -> list[dict[str, Any]]:
    """The stacks of a document that is what its schema says, to the letter."""
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    errors = Draft202012Validator(strict(schema)).iter_errors(document)
    assert [f"{error.json_path}: {error.message}" for error in errors] == []
    stacks: list[dict[str, Any]] = document["stacks"]
    return stacks


def test_documents_of_a_stacks_life(project: Project) -> None:
    file = str(project.write(env=SECRET, vllm={"version": "0.19.1"}))
    environ = {"HUB": "hunter2-canary"}

    def said(name: str, *args: str, code: int = 0) -> dict[str, Any]:
        ran = project.cli(*args, file, "--format", "json", **environ)
        assert ran.code == code, ran.err
        [stack] = check(name, ran.json)
        return stack

    plan = said("plan", "plan")
    assert [warning["source"].rpartition("/")[2] for warning in plan["warnings"]] == ["stack.yaml:9"]
    assert "vLLM 0.19.1 has known security holes" in plan["warnings"][0]["text"]
    assert not said("status", "status")["deployed"]
    assert said("drift", "drift")["basis"] == "absent"
    project.fault("build-fail", count=1, text="no wheel for that")
    assert said("apply", "apply", "--yes", code=1)["outcome"] == "failed"
    assert said("apply", "apply", "--yes")["outcome"] == "succeeded"
    assert said("status", "status")["warnings"] == plan["warnings"]
    project.api().update_version("alpha", "v1", {"maximum_instances": 5})
    assert said("drift", "drift", code=2)["last_changed"].keys() == {"version/alpha/v1"}
    assert said("plan", "plan")["changes"][0]["fields"] == [{"path": "maximum_instances", "before": 5, "after": 1}]
    assert said("apply", "destroy", "--yes")["operations"][-1]["outcome"] == "done"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_schema_prints_a_schema_in_which_every_field_is_described(project: Project, name: str) -> None:
    schema = project.cli("schema", "--of", name).json
    Draft202012Validator.check_schema(schema)
    assert schema == json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    assert schema["properties"]["format_version"]["const"] == "2"
    silent = [path for path, part in _fields(schema) if "description" not in part and "$ref" not in part]
    assert silent == []


def test_what_documents_share_has_one_shape() -> None:
    schemas = {name: json.loads((SCHEMAS / f"{name}.schema.json").read_text())["$defs"] for name in DOCUMENTS}
    for name in ("remark", "field", "change", "cost", "credits"):
        shapes = [schema[name] for schema in schemas.values() if name in schema]
        assert len(shapes) >= 2
        assert all(shape == shapes[0] for shape in shapes)


def _fields(part: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(part, list):
        return [field for item in part for field in _fields(item, path)]
    if not isinstance(part, dict):
        return []
    own = [(f"{path}.{name}", field) for name, field in part.get("properties", {}).items()]
    return own + [field for name, item in part.items() for field in _fields(item, f"{path}.{name}")]


@pytest.mark.parametrize("form", ["text", "json", "markdown"])
def test_a_saved_plan_is_shown_as_it_was_made_also_when_it_is_stale(project: Project, form: str) -> None:
    file, saved = project.write(env=SECRET), str(project.folder / "saved.plan")
    made = project.cli("plan", str(file), "-o", saved, "--format", form, HUB="hunter2-canary")
    project.apply()  # by another file: the plan is stale
    file.unlink()
    ran = project.cli("show", saved, "--format", form)
    assert (ran.code, ran.out, ran.err) == (0, made.out, "")
    if form == "text":
        assert "value  = (secret)\n" in ran.out
        assert 'value  = "(secret)"\n' in ran.out
    if form == "json":
        check("plan", ran.json)
    assert project.cli("apply", "--plan", saved).code == 1


def test_words_of_a_stack_file_do_not_make_a_saved_plan_stale(project: Project) -> None:
    file, saved = project.write(), str(project.folder / "saved.plan")
    assert project.cli("plan", str(file), "-o", saved).code == 0
    file.write_text("# a line that moves all the others\n" + file.read_text())
    ran = project.cli("apply", "--plan", saved)
    assert ran.code == 0, ran.err


SAVED: dict[str, Any] = {"kind": "whisperctl saved plan", "format_version": "2", "paths": ["a"], "destroy": False}
BROKEN = [
    {"kind": "whisperctl saved plan"},
    SAVED,
    {**SAVED, "plans": [7], "wanted": [], "secrets": {}},
    {**SAVED, "plans": [{"stack": "alpha"}], "wanted": [], "secrets": {}},
    [],
    "text",
]


@pytest.mark.parametrize("content", [*map(json.dumps, BROKEN), "", "not JSON"])
@pytest.mark.parametrize("command", [("show",), ("apply", "--plan")])
def test_what_is_no_whole_saved_plan_is_told(project: Project, command: tuple[str, ...], content: str) -> None:
    saved = project.folder / "saved.plan"
    saved.write_text(content)
    ran = project.cli(*command, str(saved))
    assert ran.code == 1
    assert ran.err.startswith(f"error: {saved} ")
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("name", ["json", "JSON", "text", "markdown", "md"])
def test_a_format_where_a_file_belongs_is_wrong_usage(project: Project, name: str) -> None:
    with project.counted() as requests:
        ran = project.cli("plan", str(project.write()), "-o", name)
    assert (ran.code, requests) == (64, [])
    assert f"--format {'markdown' if name == 'md' else name.lower()}" in ran.err
    assert not Path(name).exists()


@pytest.mark.parametrize("args", [("-out", "x.plan"), ("-out=x.plan",)])
def test_terraforms_out_is_wrong_usage_with_the_right_spelling(project: Project, args: tuple[str, ...]) -> None:
    ran = project.cli("plan", str(project.write()), *args)
    assert ran.code == 64
    assert "Write `-o FILE`" in ran.err


@pytest.mark.parametrize(
    ("word", "command"),
    [("diff", "plan"), ("template", "render"), ("lint", "validate"), ("fmt", "validate"), ("get", "status"),
     ("describe", "status"), ("aply", "apply")],
)  # fmt: skip
def test_other_tools_words_are_known(project: Project, word: str, command: str) -> None:
    ran = project.cli(word)
    assert ran.code == 64
    assert f"Did you mean {command!r}?" in ran.err
