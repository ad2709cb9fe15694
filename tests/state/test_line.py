"""What a version of a line is named by: all whose change replaces instances, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.plan.states import CHECK, desired, line, stack
from whisperctl.spec import Stack
from whisperctl.state.line import content_digest, free_name, is_of_line, line_of, named, version_name


def digest(
    made: Stack | None = None, *, project: str = "p", code: str = "one", tag: str = "vllm-1", **more: Any
) -> str:
    return content_digest(desired(made or line(**more), code=code, tag=tag), project)


@pytest.mark.parametrize(
    "more",
    [
        {"code": "two"},
        {"tag": "vllm-2"},
        {"env": {"A": "1"}},
        {"health_check": {**CHECK, "interval": 9}},
        {"instance_processes": 2},
        {"command": ["x"]},
        {"secrets": {"S": "first-secret"}},
    ],
    ids=str,
)
def test_what_replaces_instances_makes_another_name(more: dict[str, Any]) -> None:
    assert digest(**more) != digest()


@pytest.mark.parametrize(
    "more",
    [
        {"maximum_instances": 9},
        {"minimum_instances": 0},
        {"description": "Talks"},
        {"services": ["other"]},
        {"protect": True},
        {"keep": 3},
        {"instance_processes": 1},  # what UbiOps takes without it
        {"version": "v1-00000009"},
    ],
    ids=str,
)
def test_what_is_changed_in_place_keeps_the_name(more: dict[str, Any]) -> None:
    assert digest(**more) == digest()


def test_a_secret_is_named_by_project_stack_and_variable_so_that_a_name_can_be_told_beforehand() -> None:
    secret = digest(secrets={"S": "first-secret"})
    assert secret == digest(secrets={"S": "first-secret"})
    others = [
        digest(secrets={"S": "second-secret"}),
        digest(secrets={"T": "first-secret"}),
        digest(secrets={"S": "first-secret"}, name="beta"),
        digest(secrets={"S": "first-secret"}, project="q"),
        digest(env={"S": "first-secret"}),
    ]
    assert len({secret, *others}) == 6


@pytest.mark.parametrize(
    ("path", "more"),
    [("env.A", {"env": {"A": "2"}}), ("version.health_check", {"health_check": {**CHECK, "interval": 9}})],
)
def test_what_somebody_else_sets_names_nothing(path: str, more: dict[str, Any]) -> None:
    before, after = (replace(line(**{"env": {"A": "1"}, **each}), ignore_changes=(path,)) for each in ({}, more))
    assert digest(before) == digest(after)


def test_names_of_one_content_are_numbered() -> None:
    assert version_name("v1", "0123abcd") == "v1-0123abcd"
    assert free_name("v1", "0123abcd", []) == "v1-0123abcd"
    assert free_name("v1", "0123abcd", ["v1-0123abcd", "v1-0123abcd-2"]) == "v1-0123abcd-3"
    assert free_name("v1", "0123abcd", ["v1-0123abcd-2"]) == "v1-0123abcd"


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("v1-0123abcd", True),
        ("v1-0123abcd-2", True),
        ("v1", False),
        ("v1-0123abc", False),
        ("v1-0123abcde", False),
        ("v1-0123ABCD", False),
        ("v1-0123abcd-x", False),
        ("v10-0123abcd", False),
        ("v1-0123abcd\n", False),
    ],
)
def test_whether_a_name_is_one_that_the_line_gives(name: str, is_one: bool) -> None:
    assert is_of_line(name, "v1") is is_one
    assert not is_of_line("vx1-0123abcd", "v.1")


def test_a_version_of_a_line_still_knows_the_line() -> None:
    assert (line_of(stack()), line_of(named(named(stack(), "v1-00000001"), "v1-00000002"))) == ("v1", "v1")
