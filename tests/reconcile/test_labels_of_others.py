"""A label that somebody else sets while a write sits out a rate limit stays: UbiOps replaces labels as a whole."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.harness.leases import WhileItWaits
from tests.harness.project import Project, report
from tests.reconcile.test_moved import AFTER, BEFORE
from whisperctl.control.api import Json
from whisperctl.engine import World
from whisperctl.operate.restart import restart
from whisperctl.operate.scaling import pause, resume
from whisperctl.state.labels import Labels

WRITTEN = re.compile(r"/deployments/[^/]+/versions/[^/]+$|/services/[^/]+$")
"""What carries labels, but for deployments and environments."""
THEIRS = {"team": "theirs"}
TWO: dict[str, Any] = {"version": {"maximum_instances": 2}}


def labels(raw: Json | None) -> dict[str, str]:
    return dict(Labels.of(raw).all)


class Throttled:
    """Stands before a project's session: the write of labels number `at` meets a rate limit, and a colleague then."""

    def __init__(self, project: Project, at: int) -> None:
        self.project, self.at, self.count = project, at, 0
        self.lock = threading.Lock()
        self.path = ""
        """Of the object whose labels were to be written."""
        self.was_there = False
        """Whether the colleague's label was there until the object was deleted."""
        self.clock = WhileItWaits(self.set_label)
        self.rest = project.api(self.clock).rest
        self.timeout = self.rest.timeout

    def request(self, method: str, host: str, resource_path: str, **more: Any) -> Any:
        if method == "PATCH" and WRITTEN.search(resource_path) and "labels" in (more.get("body") or {}):
            with self.lock:
                self.count += 1
                if self.count == self.at:
                    self.path, path = resource_path, re.escape(resource_path) + "$"
                    self.project.fault("throttle", method="PATCH", path=path, reset=100, count=1)
        if method == "DELETE" and resource_path == self.path:
            self.was_there = is_there(self.project)
        return self.rest.request(method, host, resource_path, **more)

    def set_label(self) -> None:
        """As somebody does in the console."""
        api, names = self.project.api(), self.path.split("/")
        if "services" in names:
            api.update_service(names[-1], {"labels": labels(api.find_service(names[-1])) | THEIRS})
        else:
            deployment, version = names[-3], names[-1]
            api.update_version(deployment, version, {"labels": labels(api.version(deployment, version)) | THEIRS})

    def world(self) -> World:
        world = self.project.world(self.clock)
        return replace(world, apis={"demo": world.apis["demo"].over(self)})


def is_there(project: Project) -> bool:
    """Whether a version or a service has the label."""
    api = project.api()
    versions = [api.version(d["name"], v["version"]) for d in api.deployments() for v in api.versions(d["name"])]
    services = [api.service(raw["name"]) for raw in api.services()]
    return any(THEIRS.items() <= labels(raw).items() for raw in [*versions, *services])


SECRET: dict[str, Any] = {"secret": True}
LINE: dict[str, Any] = {"rollout": {"strategy": "blue_green", "bake": 0}}
APPLIES: dict[str, tuple[dict[str, Any] | None, dict[str, Any]]] = {
    "create": (None, {"env": {"A": "1"}}),
    "update, asleep": (
        {"env": {"HUB": SECRET | {"value": "canary"}}},
        {"env": {"HUB": SECRET | {"value": "robin"}}, "version": {"description": "d"}, "service": {"rate_limit": 5}},
    ),
    "rename": (BEFORE, AFTER),
    "roll out": ({"env": {"A": "1"}, **LINE}, {"env": {"A": "2"}, **LINE}),
}


@pytest.mark.parametrize("scenario", APPLIES)
def test_no_write_of_an_apply_undoes_a_label_that_was_set_while_it_waited(project: Project, scenario: str) -> None:
    before, after = APPLIES[scenario]
    if before is not None:
        project.apply(**before)
    if "asleep" in scenario:
        pause(project.api(), project.load()[0], project.world().clock, lambda _line: None)
    project.write(**after)
    project.control("POST", "snapshot", {"name": "start"})
    throttled = Throttled(project, 0)
    [outcome] = project.perform(world=throttled.world())
    assert outcome.succeeded, report(outcome)
    total = throttled.count
    for at in range(1, total + 1):
        project.control("POST", "restore", {"name": "start"})
        throttled = Throttled(project, at)
        [outcome] = project.perform(world=throttled.world())
        assert throttled.clock.done
        assert outcome.succeeded or "on UbiOps since the plan was made" in report(outcome), report(outcome)
        assert is_there(project) or throttled.was_there, f"{at} of {total}: {throttled.path}"


def test_an_update_whose_answer_was_lost_is_no_change_of_somebody_else(project: Project) -> None:
    project.apply(version={"minimum_instances": 0})
    for path in ("/versions/v1$", "/services/alpha$"):
        project.fault("drop-after", method="PATCH", path=path, count=1)
    project.apply(version={"minimum_instances": 0, "description": "d"}, service={"rate_limit": 5})
    assert [entry["fault"] for entry in project.journal() if entry.get("fault")] == ["drop-after"] * 2


def test_a_new_version_whose_id_arrives_without_an_answer_is_no_change_of_somebody_else(project: Project) -> None:
    project.fault("drop-after", method="PATCH", path="/versions/v1$", count=1)
    project.apply(env={"HUB": SECRET | {"value": "canary"}})
    assert [entry["fault"] for entry in project.journal() if entry.get("fault")] == ["drop-after"]


class TimeLimits:
    """Stands before a project's session, and notes how many seconds each change of a version or a service may take."""

    def __init__(self, project: Project) -> None:
        self.rest = project.api().rest
        self.timeout = self.rest.timeout
        self.seconds: set[float] = set()

    def request(self, method: str, host: str, resource_path: str, **more: Any) -> Any:
        if method == "PATCH" and WRITTEN.search(resource_path):
            self.seconds.add(more.get("_request_timeout") or self.timeout)
        return self.rest.request(method, host, resource_path, **more)


def test_a_change_may_take_as_long_as_any_request(project: Project) -> None:
    project.apply()
    project.write(version={"description": "d"}, service={"rate_limit": 5})
    world, limits = project.world(), TimeLimits(project)
    [outcome] = project.perform(world=replace(world, apis={"demo": world.apis["demo"].over(limits)}))
    assert outcome.succeeded, report(outcome)
    assert limits.seconds == {limits.timeout}


@pytest.mark.parametrize("command", [pause, resume, restart])
def test_no_command_undoes_a_label_that_was_set_while_it_waited(
    project: Project, command: Callable[..., object]
) -> None:
    project.apply(**TWO)
    [stack], api = project.load(), project.api()
    if command is resume:
        pause(api, stack, project.world().clock, lambda _line: None)
    for at in (1, 2) if command is restart else (1,):
        own = {name: text for name, text in labels(api.version("alpha", "v1")).items() if name not in THEIRS}
        api.update_version("alpha", "v1", {"labels": own})
        throttled = Throttled(project, at)
        command(throttled.world().api(stack), stack, throttled.clock, lambda _line: None)
        assert throttled.clock.done
        assert is_there(project)
