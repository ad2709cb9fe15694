"""Leases are renewed without writing over anybody's label, and a lost one ends the work under it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.harness import leases
from tests.harness.project import Project, QuickClock, report
from whisperctl.apply.job import Job
from whisperctl.apply.locking import begin, give_back, renew
from whisperctl.engine import _job, apply_plans, plan_stacks
from whisperctl.state.labels import lease_of


def held_job(project: Project) -> Job:
    """A job of the applied stack that has begun."""
    project.apply()
    world = project.world()
    [plan] = plan_stacks(project.load(project.write(version={"maximum_instances": 2})), world)
    job = _job(plan, world)
    begin(job, None)
    assert job.held
    return job


def labels(project: Project) -> dict[str, str]:
    found: dict[str, str] = (project.api().deployment("alpha") or {})["labels"]
    return found


def test_a_renewal_lengthens_the_lease_and_keeps_every_label(project: Project) -> None:
    job = held_job(project)
    project.api().update_deployment("alpha", {"labels": labels(project) | {"theirs": "1"}})
    before = labels(project)
    renew([job])
    after = labels(project)
    old, new = before.pop("whisperctl-lease"), after.pop("whisperctl-lease")
    assert lease_of(new) == replace(lease_of(old), text=new, renewals=lease_of(old).renewals + 1)
    assert after == before
    give_back(job)
    assert "whisperctl-lease" not in labels(project)


def test_many_leases_are_renewed_with_one_list_and_a_patch_each(project: Project) -> None:
    job = held_job(project)
    with project.counted() as made:
        renew([job])
    assert made == ["GET /v2/projects/demo/deployments", "PATCH /v2/projects/demo/deployments/alpha"]


def test_a_lease_that_somebody_else_took_is_neither_renewed_nor_removed(project: Project) -> None:
    job = held_job(project)
    project.api().update_deployment("alpha", {"labels": labels(project) | leases.ELSEWHERE})
    renew([job])
    assert job.lost.is_set()
    give_back(job)
    assert labels(project).items() >= leases.ELSEWHERE.items()


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


class SkippingClock(QuickClock):
    """Ten seconds pass with every sleep."""

    skipped = 0.0

    def sleep(self, seconds: float) -> None:
        self.skipped += 10
        super().sleep(seconds)

    def monotonic(self) -> float:
        return super().monotonic() + self.skipped


@pytest.mark.parametrize("text", [*leases.ELSEWHERE.values(), f"host 1 1 abcdabcd {2**31}", "anything"])
def test_a_lease_that_nobody_renews_for_a_minute_holds_up_nobody(project: Project, text: str) -> None:
    project.apply()
    project.api().update_deployment("alpha", {"labels": labels(project) | {"whisperctl-lease": text}})
    world = project.world(SkippingClock())
    [outcome] = project.perform(project.write(version={"maximum_instances": 2}), world=world)
    assert outcome.succeeded, report(outcome)
    assert "waiting for another apply" in " ".join(project.said)


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
