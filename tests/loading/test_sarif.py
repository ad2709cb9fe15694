"""`validate --format sarif`: what a code scanning service reads, with every place and no message lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from tests.harness import program
from whisperctl import __version__
from whisperctl.errors import Mark, Problem
from whisperctl.views.sarif import sarif

WRONG = """\
apiVersion: whisperctl/v1
stack: speech
model: {name: openai/whisper-small, nmae: x}
vllm: {version: 0.19.1}
deployment: {name: speech}
instance_type_group: {name: 12288 MB + NVIDIA Tesla T4, gpu: T4}
version: {name: v1, maximum_instances: many}
"""


@pytest.fixture
def run(tmp_path: Path) -> dict[str, Any]:
    """The run that is told of WRONG, in a file with a blank in its name."""
    (tmp_path / "a b.yaml").write_text(WRONG)
    ran = program.run("validate", "a b.yaml", "--format", "sarif", environ={}, folder=tmp_path)
    assert (ran.code, ran.err) == (1, "")
    assert (ran.json["version"], len(ran.json["runs"])) == ("2.1.0", 1)
    sarif: dict[str, Any] = ran.json["runs"][0]
    return sarif


def test_every_problem_is_a_result_with_its_place(run: dict[str, Any], tmp_path: Path) -> None:
    ran = program.run("validate", "a b.yaml", "--format", "json", environ={}, folder=tmp_path).json["problems"]
    places = [result["locations"][0]["physicalLocation"] for result in run["results"]]

    assert [result["level"] for result in run["results"]] == [problem["severity"] for problem in ran]
    assert {unquote(place["artifactLocation"]["uri"]) for place in places} == {"a b.yaml"}
    assert [(place["region"]["startLine"], place["region"]["startColumn"]) for place in places] == [
        (problem["line"], problem["column"]) for problem in ran
    ]
    assert all(
        problem["message"] in result["message"]["text"] for problem, result in zip(ran, run["results"], strict=True)
    )


def test_every_rule_is_declared(run: dict[str, Any]) -> None:
    driver = run["tool"]["driver"]
    assert (driver["name"], driver["semanticVersion"]) == ("whisperctl", __version__)
    rules = [rule["id"] for rule in driver["rules"]]
    assert [rules[result["ruleIndex"]] for result in run["results"]] == [result["ruleId"] for result in run["results"]]
    assert {"model", "version"} <= set(rules)


def test_no_problem_is_an_empty_run() -> None:
    assert json.loads(sarif([]))["runs"][0]["results"] == []


def test_the_rule_of_a_warning_is_its_name() -> None:
    where = Mark(file="stack.yaml", line=1, column=1)
    named = Problem(where=where, path="vllm.version", message="m", severity="warning", name="vllm-advisory")
    whole = Problem(where=where, path="", message="m")
    assert [result["ruleId"] for result in json.loads(sarif([named, whole]))["runs"][0]["results"]] == [
        "vllm-advisory",
        "file",
    ]
