"""adopt beside others who write: it undoes nothing that was written since it was shown."""

from __future__ import annotations

import pytest

from tests.harness.leases import WhileItWaits
from tests.harness.project import Project, report
from whisperctl.errors import StalePlan
from whisperctl.operate.adoption import adopt, plan_adoption
from whisperctl.state.labels import Labels


def void(_result: object) -> None:
    return


def test_an_adoption_that_comes_back_to_its_lease_undoes_no_label(project: Project) -> None:
    project.apply()
    api = project.api()
    api.update_service("alpha", {"labels": {}})

    def past_the_lease() -> None:
        clock.skipped += 110
        clock.does = lambda: void(api.update_service("alpha", {"labels": {"theirs": "1"}}))
        clock.seconds, clock.done = 0.4, False  # the next wait is the one before the lease is read back

    clock = WhileItWaits(past_the_lease)
    world = project.world(clock)
    [stack] = project.load()
    adoption = plan_adoption(world.api(stack), stack)
    project.fault("throttle", method="GET", path="/services/alpha$", reset=100, count=1)
    adopt(world.api(stack), adoption, clock, lambda _line: None)
    assert clock.done
    after = Labels.of(api.service("alpha"))
    assert (after.owner, after.all.get("theirs")) == ("alpha", "1")


def test_an_adoption_that_somebody_else_finished_first_writes_no_shorter_list(project: Project) -> None:
    project.apply(env={"A": "1", "B": "2"})
    api = project.api()
    api.update_version("alpha", "v1", {"labels": {}})
    file = project.write(env={"A": "1", "B": "2", "C": "3"})
    world = project.world()
    [stack] = project.load(file)
    shown = plan_adoption(world.api(stack), stack)
    assert project.cli("adopt", str(file), "--yes").code == 0
    [outcome] = project.perform(file)  # which makes C
    assert outcome.succeeded, report(outcome)
    with pytest.raises(StalePlan, match="version/alpha/v1 changed meanwhile"):
        adopt(world.api(stack), shown, world.clock, lambda _line: None)
    assert {"A", "B", "C"} <= set(Labels.of(api.version("alpha", "v1")).env_names)
    assert not project.plan(file)[0].changes


def test_an_adoption_beside_labels_of_others_goes_on(project: Project) -> None:
    project.apply(env={"A": "1"})
    api = project.api()
    api.update_version("alpha", "v1", {"labels": {"team": "x"}})
    world = project.world()
    [stack] = project.load()
    shown = plan_adoption(world.api(stack), stack)
    api.update_version("alpha", "v1", {"labels": {"team": "y"}})
    adopt(world.api(stack), shown, world.clock, lambda _line: None)
    after = Labels.of(api.version("alpha", "v1"))
    assert (after.owner, after.all["team"]) == ("alpha", "y")
