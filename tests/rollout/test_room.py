"""The room that a rollout needs beside what serves, as the quotas of a project with that capacity tell it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.project import Project
from tests.rollout.conftest import line

TYPE = "16384mb"
"""The instance type of the group that the stack uses."""


@pytest.fixture
def served(project: Project) -> Iterator[Project]:
    """A project in which one instance serves; it has any number of machines again afterwards."""
    project.apply(**line())
    yield project
    project.control("PATCH", "capacity", {TYPE: None})


@pytest.mark.parametrize(("machines", "surge"), [(None, "unknown"), (2, "fits"), (1, "does not fit")])
def test_the_plan_tells_whether_one_more_instance_fits(served: Project, machines: int | None, surge: str) -> None:
    served.control("PATCH", "capacity", {TYPE: machines})
    file = served.write(**line(env={"HEARS": "Hello world"}))
    ran = served.cli("plan", "--format", "json", str(file))
    [stack] = ran.json["stacks"]
    assert stack["cost"]["surge"] == surge
    if surge != "does not fit":
        assert stack["refused"] == []
        return
    [refused] = stack["refused"]
    assert "set rollout.strategy: in_place, which replaces instances where they are" in refused["text"]
    assert "nothing answers for about" in refused["text"]
    before = served.books()
    ran = served.cli("apply", "--yes", str(file))
    assert (ran.code, served.books()) == (1, before)
    assert f"{TYPE}: 1, in use 1" in ran.err
