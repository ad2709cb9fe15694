"""adopt beside others who write: it undoes nothing that was written since it was shown."""

from __future__ import annotations

from tests.harness.leases import WhileItWaits
from tests.harness.project import Project
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
