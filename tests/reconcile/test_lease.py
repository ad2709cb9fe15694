"""One lease for everything that writes: it shows who works, is kept while it is renewed, and stops whoever lost it."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness import leases
from tests.harness.leases import ImpatientClock, SkippingClock, WhileItWaits
from tests.harness.project import Project, QuickClock, report
from whisperctl.apply.context import ApplyContext
from whisperctl.apply.events import Event, OperationEnded
from whisperctl.apply.fresh import write_labels as write_labels_of
from whisperctl.apply.holder import is_gone, new_holder
from whisperctl.apply.lease import Lease
from whisperctl.apply.locking import begin, give_back, lease_name
from whisperctl.apply.renewals import leased, renewing
from whisperctl.engine import apply_plans, plan_stacks
from whisperctl.errors import ApiError, Interrupted, StalePlan
from whisperctl.operate.scaling import pause, scale
from whisperctl.plan.plan import Plan
from whisperctl.state.labels import Labels
from whisperctl.state.records import LeaseHolder, packed_lease
from whisperctl.state.resources import Kind


def nothing(_line: str) -> None:
    return


def void(_result: object) -> None:
    return


def labels(project: Project, deployment: str = "alpha") -> dict[str, str]:
    collected: dict[str, str] = (project.api().deployment(deployment) or {})["labels"]
    return collected


def holder(project: Project) -> LeaseHolder | None:
    return Labels(labels(project)).lease


def write_labels(project: Project, **changes: str) -> None:
    project.api().update_deployment("alpha", {"labels": labels(project) | changes})


def taken(project: Project, clock: QuickClock | None = None) -> Lease:
    """A lease of the applied stack."""
    project.apply()
    clock = clock or QuickClock()
    lease = Lease(project.api(clock), "alpha", clock, nothing)
    assert not lease.take().waited
    return lease


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --- who holds it -----------------------------------------------------------------------------------------------------


def test_a_process_is_looked_for_only_on_its_boot_and_in_its_pid_namespace() -> None:
    mine = new_holder()
    ended = replace(mine, pid=leases.NO_PROCESS)
    assert not is_gone(mine)
    assert is_gone(ended)
    assert is_gone(replace(mine, started="1"))  # its number was given to another process
    assert not is_gone(replace(ended, namespace="1"))  # two containers that share a host's name
    assert not is_gone(replace(ended, boot="another"))
    assert not is_gone(replace(ended, boot="", namespace=""))


def test_a_process_that_only_waits_to_be_reaped_is_gone() -> None:
    process = subprocess.Popen(["true"])
    assert process.stdout is None
    until(lambda: is_gone(replace(new_holder(), pid=process.pid, started="1")))
    process.wait()


@pytest.mark.parametrize(
    "text", [*leases.ELSEWHERE.values(), f"host 1 1 abcdabcd {2**31}", "host 1 1 abcd 1", "anything"]
)
def test_a_lease_counts_until_it_was_seen_unchanged_for_a_minute(project: Project, text: str) -> None:
    project.apply()
    write_labels(project, **{"whisperctl-lease": text})
    world = project.world(clock := ImpatientClock())
    [outcome] = project.perform(project.write(version={"maximum_instances": 2}), world=world)
    assert outcome.succeeded, report(outcome)
    assert "waiting for another apply" in " ".join(project.said)
    assert clock.skipped >= 60


def test_whoever_waited_for_a_rollout_means_the_version_that_serves_then(project: Project) -> None:
    for value in ("1", "2"):
        project.apply(env={"A": value}, rollout={"strategy": "blue_green", "bake": 0})
    api, [stack] = project.api(), project.load()
    before, after = sorted(api.versions("alpha"), key=lambda raw: not raw["default"])
    write_labels(project, **leases.ELSEWHERE)

    class Clock(ImpatientClock):
        ended = False

        def sleep(self, seconds: float) -> None:
            if not self.ended:
                self.ended = True
                project.api().update_service("alpha", {"deployment": "alpha", "version": after["version"]})
                write_labels(project, **leases.gone())
            super().sleep(seconds)

    scale(project.api(clock := Clock()), stack, None, 4, clock, nothing)
    maxima = {raw["version"]: raw["maximum_instances"] for raw in api.versions("alpha")}
    assert maxima == {before["version"]: 1, after["version"]: 4}


def test_a_lease_that_is_renewed_is_waited_for(project: Project) -> None:
    project.apply()
    write_labels(project, **leases.ELSEWHERE)
    sleeps: list[float] = []

    class Clock(ImpatientClock):
        def sleep(self, seconds: float) -> None:
            sleeps.append(seconds)
            renewal = packed_lease(replace(leases.SOMEWHERE, renewals=len(sleeps)))
            if len(sleeps) == 30:
                write_labels(project, **leases.gone())
            elif len(sleeps) % 4 == 0:
                write_labels(project, **{"whisperctl-lease": renewal})
            super().sleep(seconds)

    lease = Lease(project.api(clock := Clock()), "alpha", clock, nothing)
    assert lease.take().waited
    assert len(sleeps) == 31


# --- keeping it -------------------------------------------------------------------------------------------------------


def test_a_renewal_keeps_every_label(project: Project) -> None:
    lease = taken(project)
    write_labels(project, theirs="1")
    before, first = labels(project), holder(project)
    lease.renew()
    after, second = labels(project), holder(project)
    assert first is not None
    assert second == replace(first, text=after["whisperctl-lease"], renewals=first.renewals + 1)
    assert {**after, "whisperctl-lease": ""} == {**before, "whisperctl-lease": ""}
    lease.give_back()
    assert "whisperctl-lease" not in labels(project)
    assert labels(project)["theirs"] == "1"


def test_a_renewal_and_a_write_of_labels_never_undo_each_other(project: Project) -> None:
    lease = taken(project)
    raw = project.api().deployment("alpha") or {}
    lease.renew()
    lease.update(raw, {"labels": Labels.of(raw).written(tags=["mine"], digest=None)})
    lease.renew(raw)  # which read the labels before they were written
    assert Labels(labels(project)).tags == ["mine"]
    assert Labels(labels(project)).digest is None
    assert holder(project) == replace(lease.label.holder, text=labels(project)["whisperctl-lease"])


def test_a_renewal_writes_no_labels_that_ubiops_has_refused(project: Project) -> None:
    lease = taken(project)
    raw = project.api().deployment("alpha") or {}
    project.fault("error", method="PATCH", path="/deployments/alpha$", status=400, count=1)
    with pytest.raises(ApiError):
        lease.update(raw, {"labels": {**Labels.of(raw).all, "refused": "1"}})
    lease.renew()
    assert lease.label.holder.renewals == 1
    assert "refused" not in labels(project)


def test_many_leases_are_renewed_with_one_list_and_a_patch_each(project: Project) -> None:
    clock = SkippingClock()
    files = [project.write(f"{name}.yaml", stack=name, deployment={"name": name}, service=None) for name in "abc"]
    project.perform(*files)
    several = [Lease(project.api(clock), name, clock, nothing) for name in "abc"]
    for lease in several:
        lease.take()
    clock.skipped += 30
    with project.counted() as made, renewing(lambda: several):
        until(lambda: all(lease.label.holder.renewals == 1 for lease in several))
        # The emulator notes a request once it has answered it.
        until(lambda: sum("/_emulator/" not in entry["path"] for entry in project.journal()) == 4)
    project_path = "/v2/projects/demo/deployments"
    assert sorted(made) == [f"GET {project_path}", *(f"PATCH {project_path}/{name}" for name in "abc")]


def test_renewing_waits_for_no_slot_and_no_rate_limit(project: Project) -> None:
    project.parallelism = 1
    lease = taken(project)
    rest = lease.api.rest.rest
    rest.rate_limit.learn({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "300"})
    with rest.slots:
        lease.renew()
    assert holder(project) == replace(lease.label.holder, text=labels(project)["whisperctl-lease"], renewals=1)


def test_ordinary_requests_leave_a_renewal_of_a_window(project: Project) -> None:
    clock = SkippingClock()
    slept: list[float] = []
    clock.sleep = slept.append  # type: ignore[method-assign,assignment]
    api = project.api(clock)
    for left in ("4", "3", "3"):
        api.rest.rate_limit.learn({"x-ratelimit-remaining": left, "x-ratelimit-reset": "40"})
    api.rest.rate_limit.wait()
    assert slept == []
    api.rest.rate_limit.wait()
    assert [round(seconds) for seconds in slept] == [40]
    api.rest.rate_limit.wait()
    assert len(slept) == 1


def test_a_renewal_that_is_refused_is_tried_again_when_the_next_window_begins(project: Project) -> None:
    lease = taken(project, clock := SkippingClock())
    clock.skipped += 26
    assert lease.comes_due()
    project.fault("throttle", method="GET", path="/deployments/alpha$", reset=1, count=1)
    lease.renew()
    clock.skipped += 1.1
    assert lease.comes_due()
    lease.renew()
    assert holder(project) == replace(lease.label.holder, text=labels(project)["whisperctl-lease"], renewals=1)


@pytest.mark.parametrize(
    ("theirs", "why"), [(leases.ELSEWHERE, "^Another apply"), (None, "is gone")], ids=["another's", "none"]
)
def test_whoever_comes_back_to_a_lease_that_is_not_his_writes_nothing(
    project: Project, theirs: dict[str, str] | None, why: str
) -> None:
    lease = taken(project, clock := SkippingClock())
    before = {name: text for name, text in labels(project).items() if name != "whisperctl-lease"} | (theirs or {})
    project.api().update_deployment("alpha", {"labels": before})
    clock.skipped += 51
    with project.counted() as made, pytest.raises(StalePlan, match=why):
        lease.api.update_version("alpha", "v1", {"maximum_instances": 9})
    lease.give_back()
    lease.renew()
    assert {line.split(" ")[0] for line in made} == {"GET"}
    assert labels(project) == before


@pytest.mark.parametrize("ours", [False, True])
def test_a_lease_that_went_with_the_deployment_is_lost_unless_its_holder_was_to_delete_that(
    project: Project, ours: bool
) -> None:
    lease = taken(project, clock := SkippingClock())
    if ours:
        lease.expect_end()
    project.api().delete_service("alpha")
    project.api().delete_deployment("alpha")
    clock.skipped += 55
    if ours:
        lease.fence()
    else:
        with pytest.raises(StalePlan, match="is gone"):
            lease.fence()
    assert bool(lease.lost) != ours


def test_whoever_comes_back_to_his_own_lease_renews_it_and_goes_on(project: Project) -> None:
    lease = taken(project, clock := SkippingClock())
    clock.skipped += 3600
    with project.counted() as made:
        lease.api.update_version("alpha", "v1", {"maximum_instances": 9})
    assert [line.split(" ")[0] for line in made] == ["GET", "PATCH", "GET", "PATCH"]
    assert lease.fence() > 50


@pytest.mark.parametrize("by_the_thread", [False, True])
def test_a_lease_that_was_come_back_to_is_looked_at_again_soon(project: Project, by_the_thread: bool) -> None:
    """Somebody who had seen it free may be slow to write, after it was read back."""
    lease = taken(project, clock := SkippingClock())
    clock.skipped += 55
    if by_the_thread:
        lease.renew()
    else:
        lease.fence()
        lease.renew()  # one that came due before
    write_labels(project, **{"whisperctl-lease": packed_lease(replace(leases.SOMEWHERE, renewals=0))})
    clock.skipped += 2.5
    assert lease.comes_due()
    lease.renew()
    assert holder(project) == replace(lease.label.holder, text=labels(project)["whisperctl-lease"])


def test_shared_labels_that_others_write_while_the_lease_is_come_back_to_stay(project: Project) -> None:
    project.apply()
    clock = WhileItWaits(lambda: void(api.update_environment(name, {"labels": {**labels, "theirs": "1"}})))
    context, api = begun(project, project.folder / "stack.yaml", clock=clock), project.api()
    [environment] = [address for address in context.plan.desired.state if address.kind is Kind.ENVIRONMENT]
    [name] = environment.names
    labels = Labels.of(api.environment(name)).all
    context.lease.take()
    clock.skipped += 55
    clock.seconds = 0.4
    write_labels_of(context, environment, lambda raw: {**Labels.of(raw).all, "mine": "2"})
    assert clock.done
    assert Labels.of(api.environment(name)).all == {**labels, "theirs": "1", "mine": "2"}


def test_whoever_comes_back_to_several_leases_has_them_all_before_he_writes(project: Project) -> None:
    project.apply()
    both_there(project)

    def meanwhile() -> None:
        clock.skipped += 100
        project.api().update_deployment("beta", {"labels": labels(project, "beta") | leases.ELSEWHERE})

    clock = WhileItWaits(meanwhile, seconds=2.5)
    lease = Lease(project.api(clock), "alpha", clock, nothing)
    lease.also = [other := lease.another("beta")]
    lease.take()
    other.take()
    clock.skipped += 120
    project.fault("error", method="PATCH", path="/deployments/alpha$", status=503, count=1)
    with pytest.raises(StalePlan):
        lease.fence()
    assert clock.done
    assert other.lost


def test_a_lease_that_was_written_over_by_somebody_slow_is_written_again(project: Project) -> None:
    lease = taken(project)
    write_labels(project, **{"whisperctl-lease": packed_lease(replace(leases.SOMEWHERE, renewals=0))})
    lease.renew()
    assert not lease.lost
    assert holder(project) == replace(lease.label.holder, text=labels(project)["whisperctl-lease"])
    write_labels(project, **leases.ELSEWHERE)
    lease.renew()
    assert lease.lost


def test_whoever_was_slow_to_write_looks_again_before_he_begins(project: Project) -> None:
    first = taken(project)
    write_labels(project, **leases.gone())
    # It took a second until this one's lease was written: the first may have read back its own meanwhile.
    project.fault("latency", method="PATCH", path="/deployments/alpha$", ms=600, count=1)
    looks: list[float] = []

    class Clock(QuickClock):
        def sleep(self, seconds: float) -> None:
            looks.append(seconds)
            if len(looks) == 2:
                write_labels(project, **{"whisperctl-lease": packed_lease(first.label.holder)})
            if len(looks) == 5:
                write_labels(project, **leases.gone())
            super().sleep(seconds)

    clock = Clock()
    second = Lease(project.api(clock), "alpha", clock, nothing)
    assert second.take().waited
    assert looks[:2] == [0.5, 2.0]


def test_an_apply_that_was_slow_to_take_its_lease_plans_again_and_a_saved_plan_goes_on(project: Project) -> None:
    project.apply()
    for replans, maximum in ((True, 5), (False, 6)):
        clock = WhileItWaits(lambda: None, seconds=0.4)
        if replans:  # somebody may have come and gone meanwhile
            clock.does = lambda: void(project.api().update_version("alpha", "v1", {"maximum_instances": 7}))
        world = project.world(clock)
        plans = plan_stacks(project.load(project.write(version={"maximum_instances": maximum})), world)
        project.fault("latency", method="PATCH", path="/deployments/alpha$", ms=600, count=1)
        [outcome] = apply_plans(plans, world, replan=replans)
        assert clock.done
        assert outcome.succeeded, report(outcome)
        assert (project.api().version("alpha", "v1") or {})["maximum_instances"] == maximum


def test_an_upload_ends_when_the_lease_is_lost(project: Project) -> None:
    lease = taken(project)
    [plan] = project.plan(project.write(vllm={"max_model_len": 300}))
    before = project.api().version("alpha", "v1")
    asked: list[None] = []

    def fence() -> float:
        asked.append(None)
        if len(asked) > 1:
            raise StalePlan("lost")
        return 60.0

    with pytest.raises(StalePlan):
        project.api().fenced(fence).upload("alpha", "v1", plan.desired.package)
    assert project.api().version("alpha", "v1") == before
    lease.give_back()


def test_a_lease_is_renewed_while_an_update_sits_out_a_long_rate_limit(project: Project) -> None:
    """The window is longer than a lease: nobody may take it over meanwhile, nor see it unchanged for a minute."""
    project.apply()

    class Clock(SkippingClock):
        def sleep(self, seconds: float) -> None:
            for _ in range(4 if seconds > 90 else 0):
                known = labels(project)["whisperctl-lease"]
                self.skipped += 26
                until(lambda known=known: labels(project)["whisperctl-lease"] != known)  # type: ignore[misc]
            super().sleep(seconds)

    project.fault("throttle", method="PATCH", path="versions/v1$", reset=100, count=1)
    world = project.world(clock := Clock())
    [outcome] = project.perform(project.write(version={"maximum_instances": 4}), world=world)
    assert outcome.succeeded, report(outcome)
    assert clock.skipped == 104


# --- writing it, and beside it, while UbiOps refuses, fails or is slow ------------------------------------------------


def throttle(project: Project) -> None:
    """Refuse the next PATCH of the deployment, for longer than a lease lasts."""
    project.fault("throttle", method="PATCH", path="/deployments/alpha$", reset=100, count=1)


def test_a_lease_that_a_rate_limit_held_up_is_written_beside_the_labels_of_then(project: Project) -> None:
    project.apply()
    clock = WhileItWaits(lambda: write_labels(project, theirs="1", **{"whisperctl-digest": "new"}))
    throttle(project)
    lease = Lease(project.api(clock), "alpha", clock, nothing)
    result = lease.take()
    assert clock.done
    assert (result.waited, result.slow) == (False, False)
    for raw in (result.before, result.now, project.api().deployment("alpha")):
        assert (Labels.of(raw).all["theirs"], Labels.of(raw).digest) == ("1", "new")


def test_a_lease_that_a_rate_limit_held_up_is_not_written_over_one_that_was_taken_meanwhile(project: Project) -> None:
    project.apply()
    clock = WhileItWaits(lambda: write_labels(project, **leases.ELSEWHERE))
    throttle(project)
    said: list[str] = []
    lease = Lease(project.api(clock), "alpha", clock, said.append)
    clock.per_sleep = 10.0
    assert lease.take().waited
    assert len(said) == 1


def test_an_apply_whose_lease_a_rate_limit_held_up_undoes_nothing_of_another(project: Project) -> None:
    project.apply()
    mine = project.write("mine.yaml", version={"maximum_instances": 4})
    theirs = project.write("theirs.yaml", version={"maximum_instances": 5}, deployment={"labels": {"team": "theirs"}})
    between: list[dict[str, str]] = []

    def other() -> None:
        [outcome] = project.perform(theirs)
        assert outcome.succeeded, report(outcome)
        between.append(labels(project))

    world = project.world(clock := WhileItWaits(other))
    plans = plan_stacks(project.load(mine), world)
    throttle(project)
    revised: list[dict[str, str]] = []
    [outcome] = apply_plans(plans, world, revised=lambda _plan, _fresh: revised.append(labels(project)))
    assert clock.done
    assert outcome.succeeded, report(outcome)
    assert [{**after, "whisperctl-lease": ""} for after in revised] == [
        {**before, "whisperctl-lease": ""} for before in between
    ]
    assert all(plan.is_empty for plan in plan_stacks(project.load(mine), world))


def test_a_lease_whose_writing_got_no_answer_is_looked_at_for_as_long_as_a_slow_one(project: Project) -> None:
    project.apply()
    project.fault("drop-after", method="PATCH", path="/deployments/alpha$", count=1)
    lease = Lease(project.api(clock := SkippingClock()), "alpha", clock, nothing)
    clock.per_sleep = 2.0  # so that the pause between two tries lasts
    result = lease.take()
    assert (result.waited, result.slow) == (False, True)
    assert holder(project) == replace(lease.label.holder, text=labels(project)["whisperctl-lease"], renewals=1)


@pytest.mark.parametrize("error", [Interrupted, ApiError])
@pytest.mark.parametrize(("write", "seconds"), [("quick", 0.4), ("slow", 1.5), ("without an answer", 0.2)])
def test_a_lease_whose_taking_ends_early_is_given_back(
    project: Project, write: str, seconds: float, error: type[Exception]
) -> None:
    project.apply()

    def end() -> None:
        if error is Interrupted:
            clock.stop.set()
        else:
            project.fault("error", method="GET", path="/deployments/alpha$", status=400, count=1)

    clock = WhileItWaits(end, seconds)
    if write == "slow":
        project.fault("latency", method="PATCH", path="/deployments/alpha$", ms=600, count=1)
    if write == "without an answer":
        project.fault("drop-after", method="PATCH", path="/deployments/alpha$", count=1)
    lease = Lease(project.api(clock), "alpha", clock, nothing)
    with pytest.raises(error):
        lease.take()
    assert clock.done
    assert not lease.placed
    assert holder(project) is None


def test_a_taking_that_ends_early_leaves_the_lease_of_somebody_else(project: Project) -> None:
    project.apply()

    def end() -> None:
        write_labels(project, **leases.ELSEWHERE)
        clock.stop.set()

    clock = WhileItWaits(end, seconds=0.4)
    with pytest.raises(Interrupted):
        Lease(project.api(clock), "alpha", clock, nothing).take()
    assert labels(project)["whisperctl-lease"] == leases.ELSEWHERE["whisperctl-lease"]


@pytest.mark.parametrize("write", ["update", "rename", "remove"])
def test_a_lease_is_renewed_while_a_write_beside_it_sits_out_a_long_rate_limit(project: Project, write: str) -> None:
    renewed: list[int] = []

    def four_renewals() -> None:
        write_labels(project, theirs="1")
        for _ in range(4):
            known = lease.label.holder.renewals
            clock.skipped += 26
            until(lambda known=known: lease.label.holder.renewals > known)  # type: ignore[misc]
            renewed.append(lease.label.holder.renewals)

    lease = taken(project, clock := WhileItWaits(four_renewals))
    raw = project.api().deployment("alpha") or {}
    throttle(project)
    with renewing(lambda: [lease]):
        match write:
            case "update":
                lease.update(raw, {"labels": {**Labels.of(raw).all, "mine": "2"}, "description": "new"})
            case "rename":
                lease.rename(raw, "beta")
            case "remove":
                lease.remove(lambda _raw: {"mine": "2"})
    assert len(renewed) == 4
    after = labels(project, "beta" if write == "rename" else "alpha")
    assert after["theirs"] == "1"
    assert after.get("mine") == (None if write == "rename" else "2")
    assert ("whisperctl-lease" in after) == lease.placed == (write != "remove")


def test_a_lease_that_was_removed_without_an_answer_is_not_removed_from_whoever_took_it_then(project: Project) -> None:
    theirs = {"whisperctl-lease": packed_lease(replace(leases.SOMEWHERE, renewals=0))}

    def take() -> None:
        lease.renew()
        assert holder(project) is None
        write_labels(project, **theirs)
        lease.renew()

    lease = taken(project, clock := WhileItWaits(take))
    clock.seconds = 0.0
    project.fault("drop-after", method="PATCH", path="/deployments/alpha$", count=1)
    lease.give_back(lambda _raw: {"mine": "2"})
    assert clock.done
    assert labels(project)["whisperctl-lease"] == theirs["whisperctl-lease"]
    assert labels(project)["mine"] == "2"
    assert not lease.placed


def test_a_lease_that_was_removed_without_an_answer_until_it_ran_out_is_removed(project: Project) -> None:
    def run_out() -> None:
        clock.skipped += 55

    lease = taken(project, clock := WhileItWaits(run_out))
    clock.seconds = 0.0
    project.fault("drop-after", method="PATCH", path="/deployments/alpha$", count=1)
    lease.remove(lambda _raw: {"mine": "2"})
    assert clock.done
    assert (lease.lost, lease.placed) == ("", False)
    assert labels(project)["mine"] == "2"
    assert holder(project) is None


def test_a_destroy_whose_last_deletion_got_no_answer_until_the_lease_ran_out_is_complete(project: Project) -> None:
    project.apply()

    class Clock(SkippingClock):
        def sleep(self, seconds: float) -> None:
            if not self.skipped and project.api().deployment("alpha") is None:
                self.skipped = 55.0
            super().sleep(seconds)

    project.fault("drop-after", method="DELETE", path="/deployments/alpha$", count=1)
    [outcome] = project.perform(project.folder / "stack.yaml", destroy=True, world=project.world(clock := Clock()))
    assert clock.skipped
    assert outcome.succeeded, report(outcome)


def test_a_lease_is_not_given_back_in_the_name_of_whoever_has_it_since(project: Project) -> None:
    lease = taken(project)
    write_labels(project, **leases.ELSEWHERE)
    lease.give_back(lambda _raw: {"mine": "2"})
    assert labels(project)["whisperctl-lease"] == leases.ELSEWHERE["whisperctl-lease"]
    assert "mine" not in labels(project)
    assert lease.lost


def test_a_deployment_that_was_renamed_without_an_answer_goes_on_under_its_lease(project: Project) -> None:
    lease = taken(project)
    raw = project.api().deployment("alpha") or {}
    project.fault("drop-after", method="PATCH", path="/deployments/alpha$", count=1)
    lease.rename(raw, "beta")
    lease.renew()
    assert Labels(labels(project, "beta")).lease == replace(
        lease.label.holder, text=labels(project, "beta")["whisperctl-lease"]
    )


# --- two commands on one stack ----------------------------------------------------------------------------------------


def test_an_apply_that_was_stopped_past_its_lease_writes_nothing_over_the_one_that_took_it(project: Project) -> None:
    project.apply()
    mine = project.write("mine.yaml", version={"maximum_instances": 5}, env={"EXTRA": "1"}, vllm={"max_model_len": 32})
    theirs = project.write("theirs.yaml")
    clock = SkippingClock()
    world = project.world(clock)
    reached: list[int] = []

    def listen(event: Event) -> None:
        if isinstance(event, OperationEnded) and str(event.operation.address) == "version/alpha/v1" and not reached:
            [outcome] = project.perform(theirs, world=project.world(ImpatientClock()))
            assert outcome.succeeded, report(outcome)
            reached.append(len(project.journal()))
            clock.skipped += 120

    [outcome] = apply_plans(plan_stacks(project.load(mine), world), replace(world, listen=listen))
    assert reached
    assert not outcome.succeeded
    assert "has taken over" in report(outcome)
    assert [e for e in project.journal()[reached[0] :] if e["method"] != "GET" and "/_emulator/" not in e["path"]] == []
    assert project.cli("plan", "--detailed-exitcode", str(theirs)).code == 0


class WhileItBuilds(SkippingClock):
    """Does something once, as soon as the apply's package builds."""

    def __init__(self, project: Project, does: Callable[[WhileItBuilds], None]) -> None:
        super().__init__()
        self.project, self.does, self.done = project, does, False
        project.events.clear()

    def sleep(self, seconds: float) -> None:
        if not self.done and any(text.startswith("revision ") for text in self.project.said):
            self.done = True
            self.does(self)
        super().sleep(seconds)


def test_an_apply_whose_revision_was_overtaken_does_not_wait_for_it(project: Project) -> None:
    project.apply()
    [theirs] = project.plan(project.write("other.yaml", vllm={"max_model_len": 200}))

    def upload(_clock: WhileItBuilds) -> None:
        api = project.api()
        revision = api.upload("alpha", "v1", theirs.desired.package)
        until(lambda: (api.version("alpha", "v1") or {})["active_revision"] == revision)

    # Its build is looked at twice at least: the first look is refused.
    project.fault("error", method="GET", path=r"/v1/revisions/[^/]+$", count=1)
    file = project.write(vllm={"max_model_len": 300}, rollout={"timeout": 60})
    [outcome] = project.perform(file, world=project.world(clock := WhileItBuilds(project, upload)))
    assert clock.done
    assert not outcome.succeeded
    assert "was uploaded while" in report(outcome)


def test_an_apply_whose_lease_was_taken_does_not_wait_for_its_build(project: Project) -> None:
    project.apply()
    project.fault("build-endless", count=1)

    def take(clock: WhileItBuilds) -> None:
        write_labels(project, **leases.ELSEWHERE)
        clock.skipped += 120

    file = project.write(vllm={"max_model_len": 300}, rollout={"timeout": 300})
    [outcome] = project.perform(file, world=project.world(WhileItBuilds(project, take)))
    assert not outcome.succeeded
    assert "has taken over" in report(outcome)


@pytest.mark.parametrize("other", ["apply", "destroy", "pause"])
@pytest.mark.parametrize("destroy", [False, True])
def test_whoever_finds_that_the_world_has_moved_since_its_plan_plans_again(
    project: Project, other: str, destroy: bool
) -> None:
    project.apply(env={"A": "1"})
    mine = project.write("mine.yaml", version={"maximum_instances": 5}, env={"A": "2"})
    theirs = project.write("theirs.yaml", env={"A": "3", "B": "1"}, vllm={"max_model_len": 32})
    world = project.world()
    plans = plan_stacks(project.load(mine), world, destroy)
    if other == "pause":
        pause(project.api(), project.load(mine)[0], QuickClock(), nothing)
    else:
        [outcome] = project.perform(theirs, destroy=other == "destroy")
        assert outcome.succeeded, report(outcome)
    [outcome] = apply_plans(plans, world)
    assert outcome.succeeded, report(outcome)
    assert all(plan.is_empty for plan in plan_stacks(project.load(mine), world, destroy))


def test_whoever_replaces_a_deployment_waits_for_whoever_works_on_the_old_one(project: Project) -> None:
    project.apply()
    new = project.write("new.yaml", deployment={"name": "beta"}, service={"name": "beta"})
    write_labels(project, **leases.ELSEWHERE)
    waited: list[float] = []

    class Clock(ImpatientClock):
        def sleep(self, seconds: float) -> None:
            if not waited and "waiting for another apply of deployment/alpha" in " ".join(project.said):
                waited.append(seconds)
                assert project.names() == before
                project.api().update_version("alpha", "v1", {"maximum_instances": 3})
                write_labels(project, **leases.gone())
            super().sleep(seconds)

    before = project.names()
    [outcome] = project.perform(new, world=project.world(Clock()))
    assert waited
    assert outcome.succeeded, report(outcome)
    assert [raw["name"] for raw in project.api().deployments()] == ["beta"]
    assert "whisperctl-lease" not in labels(project, "beta")


def test_a_deployment_is_replaced_under_the_lease_of_the_old_one_which_is_given_back(project: Project) -> None:
    project.apply()
    new = project.write("new.yaml", deployment={"name": "beta"}, service={"name": "beta"})
    project.fault("build-fail", count=1)
    holders: list[LeaseHolder | None] = []

    def listen(event: Event) -> None:
        if isinstance(event, OperationEnded) and str(event.operation.address) == "deployment/beta":
            holders.append(holder(project))

    world = replace(project.world(), listen=listen)
    [outcome] = apply_plans(plan_stacks(project.load(new), world), world)
    assert not outcome.succeeded
    assert [is_gone(known) for known in holders if known] == [False]
    assert holder(project) is None
    assert Labels(labels(project, "beta")).lease is None


def both_there(project: Project) -> None:
    """The deployment `beta` beside the applied `alpha`, of an apply that failed before it deleted that."""
    project.fault("build-fail", count=1)
    file = project.write("beta.yaml", deployment={"name": "beta"}, service={"name": "beta"})
    [outcome] = project.perform(file)
    assert not outcome.succeeded
    assert {raw["name"] for raw in project.api().deployments()} == {"alpha", "beta"}


def begun(
    project: Project, file: Path, say: Callable[[str], None] = nothing, clock: SkippingClock | None = None
) -> ApplyContext:
    clock = clock or SkippingClock()
    [plan] = project.plan(file)
    lease = Lease(project.api(clock), lease_name(plan), clock, say)
    return ApplyContext(plan=plan, clock=clock, tell=lambda *_: None, lease=lease, seen=dict(plan.live.fingerprints))


def test_the_lease_of_the_stack_is_given_back_though_another_of_its_leases_was_lost(project: Project) -> None:
    project.apply()
    both_there(project)
    context = begun(project, project.folder / "stack.yaml")
    begin(context, None)
    [other] = context.lease.also
    assert (context.lease.deployment, other.deployment) == ("alpha", "beta")
    project.api().update_deployment("beta", {"labels": labels(project, "beta") | leases.ELSEWHERE})
    other.renew()
    give_back(context)
    assert holder(project) is None
    assert labels(project, "beta")["whisperctl-lease"] == leases.ELSEWHERE["whisperctl-lease"]


def test_a_saved_plan_sees_what_was_changed_while_another_of_its_leases_was_waited_for(project: Project) -> None:
    project.apply()
    both_there(project)
    clock = WhileItWaits(lambda: write_labels(project, theirs="1"))
    world = project.world(clock)
    plans = plan_stacks(project.load(project.write(version={"maximum_instances": 5})), world)
    project.fault("throttle", method="PATCH", path="/deployments/beta$", reset=100, count=1)
    [outcome] = apply_plans(plans, world, replan=False)
    assert clock.done
    assert "Another apply changed the stack" in report(outcome)
    assert labels(project)["theirs"] == "1"


def test_two_applies_that_need_the_same_leases_never_wait_for_each_other(project: Project) -> None:
    project.apply()
    said: list[str] = []
    one = begun(project, project.folder / "stack.yaml")
    before = project.write("a.yaml", deployment={"name": "a"}, service={"name": "a"})
    project.fault("build-fail", count=1)
    project.perform(before)
    two = begun(project, before, said.append)

    def replan(_plan: Plan) -> Plan:
        """The other apply takes the lease of `a`, and then waits for that of `alpha`."""
        if not threads:
            threads.append(threading.Thread(target=both, args=(two,), daemon=True))
            threads[0].start()
            until(lambda: bool(said))
        return project.plan(project.folder / "stack.yaml")[0]

    def both(context: ApplyContext, again: Callable[[Plan], Plan] = lambda _plan: project.plan(before)[0]) -> None:
        begin(context, again)
        give_back(context)
        ended.append(context)

    threads: list[threading.Thread] = []
    ended: list[ApplyContext] = []
    first = threading.Thread(target=both, args=(one, replan), daemon=True)
    with renewing(lambda: [lease for context in (one, two) for lease in (context.lease, *context.lease.also)]):
        first.start()
        until(lambda: ended == [two, one])


def test_a_saved_plan_is_performed_exactly_or_not_at_all(project: Project) -> None:
    project.apply()
    world = project.world()
    plans = plan_stacks(project.load(project.write(version={"maximum_instances": 5})), world)
    pause(project.api(), plans[0].desired.stack, QuickClock(), nothing)
    [outcome] = apply_plans(plans, world, replan=False)
    assert not outcome.succeeded
    assert "Plan again" in report(outcome)
    assert (project.api().version("alpha", "v1") or {})["maximum_instances"] == 1


def test_what_is_gone_already_counts_as_deleted(project: Project) -> None:
    project.apply(env={"A": "1"})
    world = project.world()
    plans = plan_stacks(project.load(), world, destroy=True)
    project.api().delete_service("alpha")
    project.api().delete_version("alpha", "v1")
    [outcome] = apply_plans(plans, world)
    assert outcome.succeeded, report(outcome)
    assert project.names() == set()


def test_commands_that_write_hold_the_lease_and_give_it_back(project: Project) -> None:
    lease = taken(project)
    ended = threading.Event()

    def wait_and_pause() -> None:
        pause(project.api(), project.load()[0], QuickClock(), nothing)
        ended.set()

    threading.Thread(target=wait_and_pause, daemon=True).start()
    assert not ended.wait(0.3)
    lease.give_back()
    assert ended.wait(20)
    assert "whisperctl-lease" not in labels(project)
    with leased(project.api(), "alpha", QuickClock(), nothing) as other:
        assert holder(project) == replace(other.label.holder, text=labels(project)["whisperctl-lease"])
    assert "whisperctl-lease" not in labels(project)


# --- what it leaves ---------------------------------------------------------------------------------------------------


def test_an_apply_that_is_refused_before_it_wrote_anything_leaves_the_labels(project: Project) -> None:
    project.apply()
    before = labels(project)
    world = project.world()
    file = project.write(version={"maximum_instances": 2})
    plans = plan_stacks(project.load(file), world)
    project.api().update_version("alpha", "v1", {"maximum_instances": 7})
    [outcome] = apply_plans(plans, world)
    assert not outcome.succeeded
    assert labels(project) == before
    assert "did not finish" not in project.cli("drift", str(file)).out


def test_an_apply_that_is_refused_after_it_wrote_something_is_one_that_did_not_finish(project: Project) -> None:
    project.apply()
    world = project.world()
    file = project.write(version={"maximum_instances": 2}, service={"description": "new"})
    plans = plan_stacks(project.load(file), world)
    project.api().update_service("alpha", {"description": "theirs"})
    [outcome] = apply_plans(plans, world)
    assert {result.status for result in outcome.results} == {"done", "failed", "not tried"}
    assert "The last apply did not finish" in project.cli("drift", str(file)).out


def test_one_request_at_a_time_is_enough_for_everything(project: Project) -> None:
    project.parallelism = 1
    files = [
        project.write("one.yaml", version={"minimum_instances": 0}),
        project.write("two.yaml", stack="beta", deployment={"name": "beta"}, service=None),
    ]
    for outcome in project.perform(*files):
        assert outcome.succeeded, report(outcome)


def test_a_version_is_not_forgotten_when_the_spec_goes_back_after_a_crash(project: Project) -> None:
    project.apply()
    world = project.world()
    project.fault("build-fail", count=1)
    plans = plan_stacks(project.load(project.write(version={"name": "v2"}, vllm={"max_model_len": 9})), world)
    [outcome] = apply_plans(plans, world)
    assert not outcome.succeeded
    project.apply()
    assert [v["version"] for v in project.api().versions("alpha")] == ["v1"]
