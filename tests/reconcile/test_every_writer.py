"""Every command that writes holds the lease: it waits for whoever has it, says so, and leaves none behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.harness import leases
from tests.harness.leases import ImpatientClock, WhileItWaits
from tests.harness.project import Project, report
from whisperctl.apply.events import Message
from whisperctl.control.api import Api
from whisperctl.engine import World
from whisperctl.operate.adoption import adopt, plan_adoption
from whisperctl.operate.drift import find_drift
from whisperctl.operate.restart import restart
from whisperctl.operate.rollback import perform_rollback, plan_rollback
from whisperctl.operate.scaling import pause, resume, scale
from whisperctl.operate.watch.heal import heal
from whisperctl.operate.watch.observation import Observation
from whisperctl.spec import Stack
from whisperctl.state.labels import Labels

Begins = Callable[[Project, Stack, World], None]


def labels(project: Project) -> dict[str, str]:
    collected: dict[str, str] = (project.api().deployment("alpha") or {})["labels"]
    return collected


def said(project: Project, text: str) -> None:
    project.events.append(Message(stack="alpha", address=None, level="say", text=text))  # type: ignore[arg-type]


def apply_(project: Project, _stack: Stack, world: World) -> None:
    [outcome] = project.perform(project.write("more.yaml", version={"maximum_instances": 5}), world=world)
    assert outcome.succeeded, report(outcome)


def destroy(project: Project, _stack: Stack, world: World) -> None:
    [outcome] = project.perform(destroy=True, world=world)
    assert outcome.succeeded, report(outcome)


def adopt_service(project: Project, stack: Stack, world: World) -> None:
    api = world.api(stack)
    adopt(api, plan_adoption(api, stack), world.clock, lambda text: said(project, text))
    assert Labels.of(project.api().service("alpha")).owner == "alpha"


def heal_it(project: Project, stack: Stack, world: World) -> None:
    [drift] = find_drift([stack], world)
    healing = heal(Observation(stack="alpha", project="demo", drift=drift), world)
    assert not healing.done  # whoever was waited for may have put it back: the next round looks
    assert "Another apply changed the stack" in healing.text


def on_version(command: Callable[..., object], *arguments: int | None) -> Begins:
    def begins(project: Project, stack: Stack, world: World) -> None:
        command(world.api(stack), stack, *arguments, world.clock, lambda text: said(project, text))

    return begins


def roll_back(_project: Project, stack: Stack, world: World) -> None:
    perform_rollback(plan_rollback(world.api(stack), stack, None), world)


COMMANDS: dict[str, Begins] = {
    "apply": apply_,
    "scale": on_version(scale, None, 4),
    "pause": on_version(pause),
    "resume": on_version(resume),
    "restart": on_version(restart),
    "rollback": roll_back,
    "adopt": adopt_service,
    "watch --heal": heal_it,
    "destroy": destroy,
}
BEFORE: dict[str, Callable[[Api], object]] = {
    "adopt": lambda api: api.update_service("alpha", {"labels": {}}),
    "watch --heal": lambda api: api.update_version("alpha", "v1", {"maximum_instances": 7}),
}
"""What somebody did by hand, so that there is something to do."""


def void(_result: object) -> None:
    return


class HolderEnds(ImpatientClock):
    """The holder's process ends once it is waited for; until then nobody else may have written anything."""

    def __init__(self, project: Project) -> None:
        super().__init__()
        self.project = project
        self.waited = False
        self.before = written(project)

    def sleep(self, seconds: float) -> None:
        if not self.waited and any("waiting for another apply" in text for text in self.project.said):
            self.waited = True
            assert labels(self.project)["whisperctl-lease"] == leases.ELSEWHERE["whisperctl-lease"]
            assert written(self.project) == self.before
            self.project.api().update_deployment("alpha", {"labels": labels(self.project) | leases.gone()})
        super().sleep(seconds)


def written(project: Project) -> list[str]:
    return [f"{e['method']} {e['path']}" for e in project.journal() if e["method"] != "GET"]


def test_each_waits_for_a_holder_says_so_and_leaves_no_lease(project: Project) -> None:
    file = project.apply_twice()
    [stack] = project.load(file)
    for name, begins in COMMANDS.items():
        project.events.clear()
        if name in BEFORE:
            BEFORE[name](project.api())
        project.api().update_deployment("alpha", {"labels": labels(project) | leases.ELSEWHERE})
        begins(project, stack, project.world(clock := HolderEnds(project)))
        assert clock.waited, name
        assert name == "destroy" or "whisperctl-lease" not in labels(project), name
    assert project.names() == set()


def test_drift_write_writes_to_the_file_alone_and_waits_for_nobody(project: Project) -> None:
    project.apply()
    project.api().update_version("alpha", "v1", {"maximum_instances": 7})
    project.api().update_deployment("alpha", {"labels": labels(project) | leases.ELSEWHERE})
    before = written(project)
    ran = project.cli("drift", "--write", str(project.folder / "stack.yaml"))
    assert "waiting" not in ran.out + ran.err
    assert project.load()[0].version.maximum_instances == 7
    assert written(project) == before


@pytest.mark.parametrize("deployment", ["alpha", "gamma"], ids=["with its lease", "without a deployment"])
def test_an_adoption_that_a_rate_limit_held_up_undoes_no_label(project: Project, deployment: str) -> None:
    project.apply()
    api = project.api()
    api.update_service("alpha", {"labels": {}})
    project.fault("throttle", method="PATCH", path="/services/alpha$", reset=100, count=1)
    clock = WhileItWaits(lambda: void(api.update_service("alpha", {"labels": {"theirs": "1"}})))
    world = project.world(clock)
    [stack] = project.load(project.write(deployment={"name": deployment}))
    adopt(world.api(stack), plan_adoption(world.api(stack), stack), clock, lambda _line: None)
    assert clock.done
    after = Labels.of(api.service("alpha"))
    assert (after.owner, after.all["theirs"]) == ("alpha", "1")


def test_what_stacks_share_is_labelled_as_it_is_right_before(project: Project) -> None:
    """No lease keeps another stack from writing to an environment while this one sits out a rate limit."""
    others: dict[str, str] = {}

    def throttle() -> None:
        clock.done = False
        project.fault("throttle", method="PATCH", path="/environments/[^/]+$", reset=100, count=1)

    def write() -> None:
        name = next(e["path"].rpartition("/")[2] for e in reversed(project.journal()) if e["status"] == 429)
        raw = project.api().environment(name)
        others[f"theirs{len(others)}"] = name
        project.api().update_environment(name, {"labels": {**Labels.of(raw).all, **others}})
        if len(others) == 1:  # its own id, right after it was made; then what its build took
            throttle()

    clock = WhileItWaits(write)
    throttle()
    [outcome] = project.perform(project.write(), world=project.world(clock))
    assert outcome.succeeded, report(outcome)
    assert others.keys() == {"theirs0", "theirs1"}
    assert Labels.of(project.api().environment(others["theirs0"])).of_others == others
