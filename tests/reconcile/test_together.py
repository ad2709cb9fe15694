"""Several stacks in one apply or destroy: each in its own project, and what they share deleted last."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness import leases
from tests.harness.project import Project, report
from tests.reconcile.test_lease import labels, until
from whisperctl.apply.context import ApplyContext
from whisperctl.apply.events import Event, OperationEnded
from whisperctl.apply.lease import Lease
from whisperctl.apply.run import Run
from whisperctl.engine import World, apply_plans, plan_stacks
from whisperctl.plan.plan import Plan


def world_of(one: Project, two: Project) -> World:
    """Two projects, `one` and `two`, as the stack files name them."""
    world = one.world()
    apis = {"one": one.api(world.clock), "two": two.api(world.clock)}
    return replace(world, apis=apis, project_of=lambda stack: stack.project or "")


def test_one_stack_name_in_two_projects(project: Project, second_project: Project) -> None:
    files = [project.write(f"{name}.yaml", project=name, env={"WHERE": name}, service=None) for name in ("one", "two")]
    stacks = project.load(*files)
    project.apply(
        version={"maximum_instances": 2}, service=None
    )  # so that the two plans differ in everything but the name
    second_project.fault("build-fail", count=1)
    world = world_of(project, second_project)
    one, two = apply_plans(plan_stacks(stacks, world), world)
    assert one.succeeded, report(one)
    assert {result.status for result in two.results} == {"done", "failed", "not tried"}
    assert (one.plan.project, two.plan.project) == ("one", "two")
    one, two = apply_plans(plan_stacks(stacks, world), world)
    assert one.results == ()
    assert two.succeeded, report(two)
    for where, name in ((project, "one"), (second_project, "two")):
        assert where.books()["env_var/alpha/v1/WHERE"]["value"] == name
    for outcome in apply_plans(plan_stacks(stacks, world, destroy=True), world):
        assert outcome.succeeded, report(outcome)
    assert project.names() == second_project.names() == set()


def three_files(project: Project) -> list[Path]:
    """Three stacks of one environment."""
    return [
        project.write(f"{name}.yaml", stack=name, deployment={"name": name}, service={"name": name})
        for name in ("alpha", "beta", "gamma")
    ]


def test_a_shared_tag_goes_after_the_last_version_that_uses_it(project: Project) -> None:
    files = three_files(project)
    for outcome in project.perform(*files):
        assert outcome.succeeded, report(outcome)
    # The stack whose plan deletes the tag is done long before the others let go of it.
    project.fault("latency", method="DELETE", path="/services/(beta|gamma)$", ms=500)
    with project.counted() as made:
        for outcome in project.perform(*files, destroy=True):
            assert outcome.succeeded, report(outcome)
    deleted = [line.removeprefix("DELETE /v2/projects/demo/") for line in made if line.startswith("DELETE ")]
    [tag] = [line for line in deleted if "/tags/" in line]
    versions = [f"deployments/{name}/versions/v1" for name in ("alpha", "beta", "gamma")]
    assert max(map(deleted.index, versions)) < deleted.index(tag) < deleted.index("environments/whisperctl")
    assert project.names() == set()


@pytest.mark.parametrize("busy", ["alpha", "beta"])
def test_a_shared_tag_goes_though_a_stack_had_to_be_planned_again(project: Project, busy: str) -> None:
    files = three_files(project)[:2]
    project.perform(*files)
    world = project.world()
    plans = plan_stacks(project.load(*files), world, destroy=True)
    # Another apply is at work on one of them, until its lease runs out, and the other stack takes its time.
    labels = (project.api().deployment(busy) or {})["labels"]
    with leases.of_a_process(2) as lease:
        project.api().update_deployment(busy, {"labels": labels | lease})
        project.fault("latency", method="DELETE", path="/services/beta$", ms=4000)
        for outcome in apply_plans(plans, world):
            assert outcome.succeeded, report(outcome)
    assert project.names() == set()


def test_a_shared_tag_goes_though_its_stacks_are_destroyed_by_two_processes(project: Project) -> None:
    files = three_files(project)[:2]
    project.perform(*files)
    one, two = project.world(), project.world()
    # Both plan while the other stack is still there: neither takes the tag along.
    first = plan_stacks(project.load(files[0]), one, destroy=True)
    second = plan_stacks(project.load(files[1]), two, destroy=True)
    for plans, world in ((first, one), (second, two)):
        [outcome] = apply_plans(plans, world)
        assert outcome.succeeded, report(outcome)
    assert project.names() == set()


def test_a_tag_that_somebody_still_uses_stays(project: Project) -> None:
    one, two, three = three_files(project)
    project.perform(one, two, three)
    for outcome in project.perform(one, three, destroy=True):
        assert outcome.succeeded, report(outcome)
    assert len(project.api().tags("whisperctl") or []) == 1
    assert all(plan.is_empty for plan in project.plan(two))


def test_a_stack_that_failed_holds_up_nobody_while_others_go_on(project: Project) -> None:
    files = three_files(project)[:2]
    world = project.world()
    probed: list[tuple[bool, bool]] = []

    def is_leased(name: str) -> bool:
        raw = project.api().deployment(name)
        return raw is None or "whisperctl-lease" in raw["labels"]

    def listen(event: Event) -> None:
        if isinstance(event, OperationEnded) and (event.stack, event.operation.kind) == ("beta", "probe"):
            until(lambda: not is_leased("alpha"))
            probed.append((is_leased("alpha"), is_leased("beta")))

    plans = plan_stacks(project.load(*files), world)
    project.fault("error", method="POST", path="/deployments/alpha/versions$", status=400)
    alpha, beta = apply_plans(plans, replace(world, listen=listen))
    assert not alpha.succeeded
    assert beta.succeeded, report(beta)
    assert probed == [(False, True)]


def test_a_plan_that_was_made_again_and_cannot_begin_is_reported(project: Project) -> None:
    project.apply()
    file, world = project.write(version={"description": "d"}), project.world()
    [plan] = plan_stacks(project.load(file), world)
    lease = Lease(world.api(plan.desired.stack), "alpha", world.clock, lambda _line: None)
    context = ApplyContext(plan=plan, clock=world.clock, tell=lambda *_: None, lease=lease)
    project.api().update_deployment("alpha", {"description": "theirs"})

    def again(_plan: Plan) -> Plan:
        [planned] = plan_stacks(project.load(file), world)
        project.fault("refusal", method="GET", path="/deployments/alpha$", status=403, count=1)
        return planned

    run = Run(contexts=[context], token=world.token, clock=world.clock, listen=world.listen, replan=again)
    [outcome] = run.perform()
    assert {result.status for result in outcome.results} == {"not tried"}
    assert "403" in outcome.error
    assert "whisperctl-lease" not in labels(project)
