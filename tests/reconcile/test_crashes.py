"""Killed at any request, the next apply finishes the job: one final state, nothing twice, no question, nothing left.

In this process a crash is a session that dies at one request, before or after it had its effect, and answers nothing
any more; a sample of real processes is ended by SIGKILL.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.harness import leases
from tests.harness.project import T4, Project, QuickClock, report
from tests.harness.sweeps import EXHAUSTIVE
from whisperctl.engine import World, apply_plans, plan_stacks
from whisperctl.state.records import lease_of

TYPES = ["12288mb-t4", "16384mb"]
FULL: dict[str, Any] = {
    "env": {"PLAIN": "1", "HUB": {"value": "canary", "secret": True}},
    "instance_type_group": {"name": "mine", "gpu": "T4", "instance_types": TYPES[:1]},
    "service": {"description": "first"},
}
CHANGED: dict[str, Any] = {
    "env": {"PLAIN": "2", "HUB": {"value": "canary two", "secret": True}, "NEW": "x"},
    "instance_type_group": {"name": "other", "gpu": "T4", "instance_types": TYPES},
    "version": {"name": "v2", "maximum_instances": 3},
    "vllm": {"max_model_len": 300},
    "environment": {"requirements": ["six"]},
    "service": [{"name": "alpha", "port": 8080}, {"name": "second", "port": 8080}],
}
OTHER_TAG: dict[str, Any] = FULL | {"environment": {"requirements": ["six"]}}
NO_TAG: dict[str, Any] = FULL | {"environment": {"mode": "package"}}
STACKS = {
    "update": CHANGED,
    "rename": CHANGED | {"deployment": {"name": "renamed"}, "service": {"name": "renamed"}},
    "replace with another tag": OTHER_TAG,
    "replace without a tag": NO_TAG,
    "replace everything": FULL | {"service": [{"name": "alpha", "port": 8080}, {"name": "second", "port": 8080}]},
}
SCENARIOS = ["create", *STACKS, "replace", "destroy"]


class Killed(BaseException):
    """The process is gone."""


class DyingClock(QuickClock):
    """Nobody sleeps in a process that is gone."""

    session: DyingSession | None = None

    def sleep(self, seconds: float) -> None:
        if self.session is not None and self.session.dead:
            raise Killed
        super().sleep(seconds)


class DyingSession:
    """Stands before a project's session: counts requests, dies at one of them, and stays dead."""

    def __init__(self, rest: Any, dies_at: int, after: bool, counts: Callable[[str, str], bool]) -> None:
        self.rest, self.dies_at, self.after, self.counts = rest, dies_at, after, counts
        self.timeout = rest.timeout
        self.count, self.dead = 0, False
        self.lock = threading.Lock()

    def request(self, *args: Any, **more: Any) -> Any:
        values = dict(zip(("method", "host", "resource_path"), args, strict=False)) | more
        counted = self.counts(values["method"].upper(), values["resource_path"])
        with self.lock:
            was_dead = self.dead
            self.count += counted
            dies = counted and self.count == self.dies_at
            self.dead = was_dead or dies
        if was_dead or (dies and not self.after):
            for _, value in values.get("post_params") or ():
                if isinstance(value, tuple):
                    value[1].close()  # else Python complains about it in whichever test runs later
            raise Killed
        answer = self.rest.request(*args, **more)
        if dies:
            raise Killed
        return answer


def dying(
    project: Project, dies_at: int, after: bool, counts: Callable[[str, str], bool]
) -> tuple[World, DyingSession]:
    """A world whose session dies."""
    clock = DyingClock()
    world = project.world(clock)
    api = world.apis["demo"]
    session = DyingSession(api.rest, dies_at, after, counts)
    clock.session = session
    return replace(world, apis={"demo": api.over(session)}), session


def attempt(world: World, project: Project, destroy: bool) -> bool:
    """Whether it got to its end."""
    try:
        apply_plans(plan_stacks(project.load(), world, destroy), world)
    except Killed:
        return False
    return True


def bury(project: Project) -> None:
    """Sign leases with a process that is gone, as those of a killed one are."""
    api = project.api()
    for deployment in api.deployments():
        labels = deployment["labels"]
        if lease := labels.get("whisperctl-lease"):
            api.update_deployment(deployment["name"], {"labels": labels | leases.gone(lease_of(lease))})


def settled(project: Project) -> dict[str, Any]:
    return project.books()


def builds(project: Project) -> Counter[str]:
    """How often each thing was built, by its path."""
    arrived = [e for e in project.journal() if e["method"] == "POST" and e.get("fault") != "drop-before"]
    made = [e["path"] for e in arrived if e["status"] < 300]
    return Counter(path for path in made if path.endswith(("/build", "/revisions")))


def prepare(project: Project, scenario: str) -> tuple[dict[str, Any], bool]:
    """Bring the project to where the scenario starts; the stack to apply, and whether it is destroyed."""
    if scenario != "create":
        project.apply(**FULL)
    if scenario.startswith("replace"):
        api = project.api()
        labels = without_id(api.deployment("alpha"))
        of_version, of_service = without_id(api.version("alpha", "v1")), without_id(api.find_service("alpha"))
        api.delete_service("alpha")
        api.delete_deployment("alpha")
        fields = [{"name": "a", "data_type": "string"}]
        structured = {"input_type": "structured", "input_fields": fields, "output_type": "plain"}
        api.create_deployment({"name": "alpha", "labels": labels} | structured)
        owned = {"labels": {"whisperctl-stack": "alpha"}}
        leads = {"deployment": "alpha", "version": "v1", "port": 8080}
        if scenario == "replace everything":
            # Env vars of all sorts, and services: those that are wanted, those that differ, those that leave the spec.
            known = {"labels": of_version | {"whisperctl-env": "PLAIN;HUB;LEFT"}}
            api.create_version("alpha", {"version": "v1", "instance_type_group_name": "mine", **known})
            for name, text, secret in (("PLAIN", "2", False), ("HUB", "canary", True), ("LEFT", "1", False)):
                api.create_env_var("alpha", "v1", {"name": name, "value": text, "secret": secret})
            for name in ("alpha", "left"):
                api.create_service({"name": name, "labels": of_service, **leads})
        else:
            api.create_version("alpha", {"version": "v1", "instance_type_group_name": T4, **owned})
            api.create_service({"name": "alpha", **leads, **owned})
    return STACKS.get(scenario, FULL), scenario == "destroy"


def without_id(raw: Any) -> dict[str, str]:
    """The labels of an object, for another that takes its place."""
    return {name: text for name, text in raw["labels"].items() if name != "whisperctl-id"}


def points(total: int, step: int, scenario: str, after: bool) -> range:
    """The requests at which a process dies: every one, or every `step`th, others for each scenario."""
    if EXHAUSTIVE:
        return range(1, total + 1)
    first = (SCENARIOS.index(scenario) * 2 + after) * 3 % step
    return range(1 + first % total, total + 1, step)


def is_write(method: str, path: str) -> bool:
    return method != "GET" and not path.endswith("/requests")


def is_any(method: str, path: str) -> bool:
    return bool(method and path)


AGAIN = [
    pytest.param(scenario, after, id=f"{scenario}-{'after' if after else 'before'}")
    for number, scenario in enumerate(SCENARIOS)
    for after in (False, True)
    if EXHAUSTIVE or (number + after) % 2 == 0
]
"""Where an apply is interrupted; in a slice every other scenario before a request has its effect, the rest after."""


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(("scenario", "after"), AGAIN)
def test_killed_at_a_request_and_applied_again(project: Project, scenario: str, after: bool) -> None:
    counts = is_any if EXHAUSTIVE else is_write
    stack, destroy = prepare(project, scenario)
    project.write(**stack)
    project.control("POST", "snapshot", {"name": "start"})
    project.forget()
    world, session = dying(project, 0, after, counts)
    assert attempt(world, project, destroy)
    total, expected, built = session.count, settled(project), builds(project)
    assert total > 5
    for point in points(total, 12, scenario, after):
        project.control("POST", "restore", {"name": "start"})
        project.forget()
        world, _ = dying(project, point, after, counts)
        attempt(world, project, destroy)
        bury(project)
        [outcome] = project.perform(destroy=destroy)
        assert outcome.succeeded, f"killed at {point} of {total}: {report(outcome)}"
        assert settled(project) == expected, f"killed at {point} of {total}"
        assert builds(project) == built, f"killed at {point} of {total}: built again"
        groups = Counter(group["name"] for group in project.api().groups())
        assert max(groups.values()) == 1, f"killed at {point} of {total}: {groups}"


ONWARDS = [
    pytest.param(scenario, after, then, id=f"{scenario}-{'after' if after else 'before'}-{then}")
    for number, scenario in enumerate(["create", "replace", *STACKS])
    for after in (False, True)
    for odd, then in enumerate(["the first stack", "nothing"])
    if EXHAUSTIVE or ((number + after) % 2 == 0 and (number // 2 + odd) % 2 == 0)
]
"""How an interrupted apply is followed; in a slice one way and one moment a scenario, in turns."""


def goes_on(project: Project, then: str, stack: dict[str, Any]) -> None:
    """After a crash somebody wants what was there before, or nothing at all; at last nothing is left."""
    if then == "the first stack":
        stack = FULL
    if then in ("the first stack", "the same stack"):
        project.apply(**stack)
    project.destroy(**(FULL if then == "nothing of the first stack" else stack))
    assert project.names() == set()
    assert not {"group/mine", "group/other"} & project.books().keys()


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(("scenario", "after", "then"), ONWARDS)
def test_killed_at_a_write_and_then_something_else_is_wanted(
    project: Project, scenario: str, after: bool, then: str
) -> None:
    stack, _ = prepare(project, scenario)
    project.write(**stack)
    project.control("POST", "snapshot", {"name": "start"})
    world, session = dying(project, 0, after, is_write)
    assert attempt(world, project, destroy=False)
    for point in points(session.count, 18, scenario, after):
        project.control("POST", "restore", {"name": "start"})
        project.write(**stack)
        world, _ = dying(project, point, after, is_write)
        attempt(world, project, destroy=False)
        bury(project)
        goes_on(project, then, stack)


CUTS = [
    ("update", "POST", "/instance-type-groups"),
    ("update", "POST", "/tags"),
    ("replace", "DELETE", "/deployments/alpha"),
    ("replace with another tag", "DELETE", "/deployments/alpha"),
    ("replace without a tag", "DELETE", "/deployments/alpha"),
]
ENDINGS = ["the same stack", "the first stack", "nothing", "nothing of the first stack"]
CUT_AND_ENDED = [
    (*cut, then)
    for number, cut in enumerate(CUTS)
    for odd, then in enumerate(ENDINGS)
    if EXHAUSTIVE or (number + odd) % 2 == 0
]


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(("scenario", "method", "path", "then"), CUT_AND_ENDED)
def test_what_only_a_label_tells_is_not_left_behind(
    project: Project, scenario: str, method: str, path: str, then: str
) -> None:
    stack, _ = prepare(project, scenario)
    project.write(**stack)
    world, session = dying(project, 1, True, lambda m, p: (m, p.endswith(path)) == (method, True))
    assert not attempt(world, project, destroy=False)
    assert session.dead
    bury(project)
    goes_on(project, then, stack)


MOMENTS = {
    "deployment": ("deployment/alpha: creating", "/deployments$"),
    "tag": (": building on", "/build$"),
    "package": ("package/alpha/v1: uploading", "/revisions$"),
    "probe": ("proving the endpoint", "/requests$"),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_process_killed_by_sigkill_leaves_work_that_the_next_apply_finishes(project: Project, moment: str) -> None:
    line, path = MOMENTS[moment]
    file = project.write(**FULL)
    project.forget()
    # The answer takes long at the moment in question: that is where the process is when it is killed.
    project.fault("latency", method="POST", path=path, ms=2000, count=1)
    process = project.spawn("apply", "--yes", str(file))
    assert process.stderr is not None
    while line not in (said := process.stderr.readline()):
        assert said, "it ended without saying so"
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    project.calm()
    start = time.monotonic()
    ran = project.cli("apply", "--yes", str(file))
    assert ran.code == 0, ran.err
    assert time.monotonic() - start < 30
    assert "waiting for another apply" not in ran.err
    assert set(builds(project).values()) == {1}
