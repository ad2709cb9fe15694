"""A line of versions, from the first one on, with instances that really answer."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness.project import Project, merged, report
from tests.rollout.conftest import line
from whisperctl.state.labels import Labels

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def versions(project: Project) -> dict[str, Any]:
    api = project.api()
    return {raw["version"]: raw for raw in api.versions("alpha")}


def pointed(project: Project) -> str:
    return str(project.api().service("alpha")["version"])


def states(project: Project) -> dict[str, str]:
    collected: dict[str, str] = {}
    for name, raw in versions(project).items():
        record = Labels.of(raw).rollout
        collected[name] = record.state if record else "-"
    return collected


def test_the_first_version_is_gated_before_its_service_is_made(project: Project) -> None:
    project.apply(**line())
    [name] = versions(project)
    assert name.startswith("v1-")
    assert pointed(project) == name
    assert states(project) == {name: "served"}
    assert project.api().find_service("alpha-preview") is None


def test_a_new_version_takes_over_and_the_earlier_one_sleeps(project: Project) -> None:
    project.apply(**line())
    [first] = versions(project)
    steps = {step.kind: step for step in project.plan_one(**line(env={"HEARS": "Hello, world!"})).operations}
    assert (steps["gate"].seconds or 0) >= 1  # as long as the first start took
    assert (steps["upload"].seconds or 0) >= 1  # as the first build did
    assert steps["gate"].effect.endswith(
        f"heard through service/alpha-preview beside {first}; what serves is not touched"
    )
    assert f"lead back to {first}" in steps["bake"].effect
    assert steps["retire"].effect == f"{first}: asleep for a rollback, at no cost"
    outcome = project.apply(**line(env={"HEARS": "Hello, world!"}))
    kinds = [result.operation.kind for result in outcome.results]
    assert kinds[-5:] == ["gate", "switch", "bake", "retire", "seal"]
    [second] = versions(project).keys() - {first}
    assert pointed(project) == second
    assert states(project) == {first: "served", second: "served"}
    versions_now = versions(project)
    assert (versions_now[first]["minimum_instances"], versions_now[second]["minimum_instances"]) == (0, 1)
    assert "openai-compatible" not in versions_now[first]["labels"]
    assert versions_now[second]["labels"]["openai-compatible"] == "true"
    assert project.plan_one(**line(env={"HEARS": "Hello, world!"})).changes == ()


def test_a_version_that_mishears_serves_nobody(project: Project) -> None:
    project.apply(**line())
    [first] = versions(project)
    [outcome] = project.perform(project.write(**line(env={"HEARS": "bye moon"})))
    assert not outcome.succeeded
    assert "did not pass its gate" in report(outcome)
    assert pointed(project) == first
    [second] = versions(project).keys() - {first}
    assert states(project)[second] == "failed"
    assert project.api().find_service("alpha-preview") is None
    plan = project.plan_one(**line(env={"HEARS": "bye moon"}))
    assert any("failed at its gate" in remark.text for remark in plan.warnings)
    ran = project.cli("status", str(project.folder / "stack.yaml"))
    assert f"the last rollout to {second} failed at its gate, word error rate 1.000 (serving 0.000)" in ran.out
    [stack] = project.cli("status", "--format", "json", str(project.folder / "stack.yaml")).json["stacks"]
    assert {row["name"]: (row["serves"], row["failed"]) for row in stack["versions"]} == {
        first: (True, None),
        second: (False, "gate"),
    }
    project.apply(**line())
    assert set(versions(project)) == {first}


def test_a_rollback_points_back_without_an_upload(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI_COMMIT_SHA", COMMIT)
    project.apply(**line())
    [first] = versions(project)
    file = project.write(**line(env={"HEARS": "Hello, world!"}))
    assert project.cli("apply", "--yes", str(file)).code == 0
    [second] = versions(project).keys() - {first}
    ran = project.cli("rollback", "--yes", str(file))
    assert ran.code == 0, ran.all
    assert ran.out.endswith(
        f"{first} serves; {second} sleeps.\n  The next `whisperctl plan {file}` shows how the stack file differs.\n"
    )
    assert pointed(project) == first
    versions_now = versions(project)
    assert (versions_now[first]["minimum_instances"], versions_now[second]["minimum_instances"]) == (1, 0)
    assert versions_now[first]["labels"]["openai-compatible"] == "true"
    assert "openai-compatible" not in versions_now[second]["labels"]
    assert len(project.api().revisions("alpha", first)) == 1
    rows = project.cli("history", str(file), "--format", "json").json["versions"]
    assert {row["version"]: row["state"] for row in rows} == {first: "serves", second: "rolled back"}
    assert {row["commit"] for row in rows} == {COMMIT}
    assert all("--host" not in row["flags"] and "--dtype" in row["flags"] for row in rows)
    plan = project.plan_one(**line(env={"HEARS": "Hello, world!"}))
    assert [operation.kind for operation in plan.operations] == ["gate", "switch", "bake", "retire", "seal"]


def test_another_strategy_renames_the_version_that_serves(project: Project) -> None:
    in_place = line(rollout={"strategy": "in_place"})
    project.apply(**in_place)
    url = project.api().service("alpha")["endpoint"]
    ident = versions(project)["v1"]["id"]
    strict = line()["rollout"]["smoke"] | {"expect": "what nobody said", "max_wer": 0}
    [outcome] = project.perform(project.write(**line(rollout={"smoke": strict})))
    assert [result.operation.kind for result in outcome.results] == ["rename", "probe", "seal"]
    assert not outcome.succeeded
    [name] = versions(project)
    assert name.startswith("v1-")
    assert versions(project)[name]["minimum_instances"] == 1  # it served before, and is not put to sleep
    assert pointed(project) == name
    project.apply(**line())
    assert versions(project)[name]["id"] == ident
    assert (pointed(project), project.api().service("alpha")["endpoint"]) == (name, url)
    project.apply(**line(env={"HEARS": "Hello, world!"}))
    project.apply(**line(rollout={"strategy": "in_place"}, env={"HEARS": "Hello, world!"}))
    assert set(versions(project)) == {"v1"}
    assert (pointed(project), project.api().service("alpha")["endpoint"]) == ("v1", url)


def test_what_mishears_after_the_switch_goes_back(project: Project) -> None:
    """Four transcriptions are the gate's; from then on it hears noise."""
    baked = line(rollout={"bake": 1})
    project.apply(**baked)
    [first] = versions(project)
    changed = line(rollout={"bake": 1}, env={"DIES_AFTER": "4"})
    [outcome] = project.perform(project.write(**changed))
    assert not outcome.succeeded
    assert f"The services lead to {first} again." in report(outcome)
    assert pointed(project) == first
    versions_now = versions(project)
    [second] = versions_now.keys() - {first}
    assert (versions_now[first]["minimum_instances"], versions_now[second]["minimum_instances"]) == (1, 0)
    assert versions_now[first]["default"]
    record = Labels.of(versions_now[second]).rollout
    assert record is not None
    assert (record.state, record.stage, record.wer) == ("failed", "bake", 0.0)


def test_one_that_does_not_start_serves_nobody(project: Project) -> None:
    project.apply(**line())
    [first] = versions(project)
    [outcome] = project.perform(project.write(**line(rollout={"timeout": 60}, env={"NEVER_UP": "1"})))
    assert not outcome.succeeded
    assert "no room for the model" in report(outcome)
    assert pointed(project) == first
    [second] = versions(project).keys() - {first}
    record = Labels.of(versions(project)[second]).rollout
    assert record is not None
    assert (record.state, record.stage) == ("failed", "start")


def test_several_services_are_all_pointed_and_the_oldest_versions_leave(project: Project) -> None:
    two = [{"name": "alpha", "port": 8080}, {"name": "beta", "port": 8080}]
    names: list[str] = []
    for text in ("hello world", "Hello world", "hello, world"):
        project.apply(**line(service=two, env={"HEARS": text}))
        led = {service["version"] for service in project.api().services()}
        assert len(led) == 1
        names += led
    assert set(versions(project)) == set(names[1:])


def test_a_hand_made_revision_is_replaced_by_a_version_of_the_same_content(project: Project) -> None:
    project.apply(**line())
    [first] = versions(project)
    api = project.api()
    api.create_env_var("alpha", first, {"name": "BY_HAND", "value": "1", "secret": False})
    assert project.plan_one(**line()).changes == ()
    api.update_env_var("alpha", first, _id(project, first, "HEARS"), {"name": "HEARS", "value": "bye", "secret": False})
    outcome = project.apply(**line())
    assert pointed(project) == f"{first}-2"
    assert outcome.results[-1].operation.kind == "seal"
    assert project.plan_one(**line()).changes == ()


def _id(project: Project, version: str, name: str) -> str:
    return next(str(item["id"]) for item in project.api().env_vars("alpha", version) if item["name"] == name)


def test_a_long_list_of_names_is_put_aside_and_comes_back(project: Project) -> None:
    names = ";".join(["openai/whisper-small", *(f"openai/whisper-small-{number}" for number in range(30))])
    listed = {"version": {"labels": {"openai-model-names": names}}}
    project.apply(**line(**listed))
    [first] = versions(project)
    file = project.write(**line(env={"HEARS": "Hello, world!"}, **listed))
    assert project.cli("apply", "--yes", str(file)).code == 0
    assert "openai-model-names" not in versions(project)[first]["labels"]
    assert project.cli("rollback", "--yes", str(file)).code == 0
    assert versions(project)[first]["labels"]["openai-model-names"] == names


def test_a_paused_line_switches_and_sleeps_on(project: Project) -> None:
    # Without these labels the version that is paused has nothing left to lose when it falls asleep, but its pause.
    unlisted = {"version": {"labels": {"openai-compatible": None, "openai-model-names": None}}}
    file = project.write(**line(**unlisted))
    project.apply(**line(**unlisted))
    [first] = versions(project)
    assert project.cli("pause", str(file)).code == 0
    outcome = project.apply(**line(env={"HEARS": "Hello world"}, **unlisted))
    assert "bake" not in [result.operation.kind for result in outcome.results]
    [second] = versions(project).keys() - {first}
    versions_now = versions(project)
    assert pointed(project) == second
    assert [raw["minimum_instances"] for raw in versions_now.values()] == [0, 0]
    assert "whisperctl-paused" in versions_now[second]["labels"]
    assert "whisperctl-paused" not in versions_now[first]["labels"]
    assert project.cli("resume", str(file)).code == 0
    assert versions(project)[second]["minimum_instances"] == 1
    assert project.plan_one(**line(env={"HEARS": "Hello world"}, **unlisted)).changes == ()


def test_a_line_is_destroyed_with_all_its_versions(project: Project) -> None:
    project.apply(**line())
    project.apply(**line(env={"HEARS": "Hello world"}))
    project.destroy(**line(env={"HEARS": "Hello world"}))
    assert project.names() == set()


def test_no_more_credits_than_allowed(project: Project) -> None:
    plan = project.plan_one(**line(policy={"max_credits_per_hour": 1}, version={"maximum_instances": 5}))
    assert [remark.text.splitlines()[0] for remark in plan.refused] == [
        "the stack would cost up to 80 credits an hour, and 1 are allowed."
    ]
    file = project.write(**line(version={"maximum_instances": 5}))
    ran = project.cli("apply", "--yes", "--max-credits", "79", str(file))
    assert ran.code == 1
    assert "--max-credits: the stack would cost up to 80 credits an hour, and 79 are allowed." in ran.err
    assert project.names() == set()


def test_a_line_that_is_left_out_serves_on_while_its_service_changes_and_rolls_out_when_asked_for(
    project: Project,
) -> None:
    project.apply(**line())
    [first] = versions(project)
    changed = line(env={"HEARS": "Hello, world!"}, service={"rate_limit": 9})
    file = str(project.write(**changed))
    ran = project.cli("apply", "--yes", "--only", "service/*", file)
    assert ran.code == 0, ran
    assert (list(versions(project)), pointed(project)) == ([first], first)
    assert (project.api().find_service("alpha") or {})["rate_limit"] == 9
    file = str(project.write(**merged(changed, {"service": {"rate_limit": 5}})))
    ran = project.cli("apply", "--yes", "--only", "package/*", file)
    assert ran.code == 0, ran
    [second] = versions(project).keys() - {first}
    assert pointed(project) == second
    assert (project.api().find_service("alpha") or {})["rate_limit"] == 9
    assert [str(change.address) for change in project.plan(file)[0].changes] == ["service/alpha"]
