"""Drift: what was made on UbiOps since the last apply, the right way round, and who made it by the right trail."""

from __future__ import annotations

import re
from typing import Any

from tests.harness.project import Project
from whisperctl.operate.trail import last_changes
from whisperctl.plan.changes import Action, Change
from whisperctl.state.resources import Address, env_var_address, version_address

WHEN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def drifted(project: Project, file: str) -> dict[str, Any]:
    drift: dict[str, Any] = project.cli("drift", file, "--format", "json").json["stacks"][0]
    return drift


def apply(project: Project, name: str, **more: Any) -> str:
    """A stack of that name, whose version is called `v1` like every other's."""
    env = {"FOO": "bar"} | more.pop("env", {})
    named = {"deployment": {"name": name}, "service": {"name": name}}
    file = project.write(f"{name}.yaml", stack=name, env=env, **named, **more)
    assert project.cli("apply", "--yes", str(file)).code == 0
    return str(file)


def test_the_change_of_another_stacks_v1_is_not_blamed_on_this_one(project: Project) -> None:
    one, two = apply(project, "one"), apply(project, "two")
    api = project.api()
    api.update_version("one", "v1", {"maximum_instances": 2})
    [mine] = api.audit("one", limit=1)
    api.update_version("two", "v1", {"maximum_instances": 3})
    env_var = next(item for item in api.env_vars("two", "v1") if item["name"] == "FOO")
    api.update_env_var("two", "v1", env_var["id"], {"name": "FOO", "value": "theirs"})
    drift = drifted(project, one)
    [change] = drift["changes"]
    assert change["fields"] == [{"path": "maximum_instances", "before": 1, "after": 2}]
    assert (change["user"], change["time"][:19]) == (mine["user"], mine["date"][:19])
    assert WHEN.fullmatch(change["time"])
    assert drift["last_changed"] == {"version/one/v1": f"{change['time']} {change['user']}: {mine['event']}"}
    ran = project.cli("drift", one)
    assert ran.code == 2
    assert "      maximum_instances : 1 -> 2\n" in ran.out
    assert f"      last changed {change['time']} by {change['user']}: " in ran.out
    theirs = [change["address"] for change in drifted(project, two)["changes"]]
    assert theirs == ["version/two/v1", "env_var/two/v1/FOO"]


def test_a_stack_that_was_never_applied_is_told_as_such_and_blames_nobody(project: Project) -> None:
    apply(project, "one")
    file = str(project.write("three.yaml", stack="three", deployment={"name": "three"}, service={"name": "three"}))
    ran = project.cli("drift", file)
    assert ran.code == 0
    assert ran.out == (
        "three in project demo\nNothing of this stack is on UbiOps: it was never applied, as far as the audit trail "
        "goes back: that knows of no deleted deployment/three.\n"
    )
    assert (drifted(project, file)["basis"], drifted(project, file)["last_changed"]) == ("absent", {})


def test_who_deleted_a_deployment_is_told_once_nothing_is_left(project: Project) -> None:
    file = str(project.write())
    project.apply()
    api = project.api()
    api.delete_service("alpha")
    drift = drifted(project, file)
    assert [(change["address"], change["action"], change["fields"]) for change in drift["changes"]] == [
        ("service/alpha", "delete", [])
    ]
    assert drift["changes"][0]["user"]
    assert "  - service/alpha\n      not on UbiOps any more" in project.cli("drift", file).out
    api.delete_version("alpha", "v1")
    assert project.cli("drift", file).code == 2
    api.delete_deployment("alpha")
    ran = project.cli("drift", file)
    assert ran.code == 0
    assert re.search(r"on UbiOps: deployment/alpha was deleted at \S+Z by \S+@\S+\.\n", ran.out)
    assert project.cli("plan", file, "--detailed-exitcode").code == 2


def test_what_a_variable_was_taken_from_stands_with_the_applied_value(project: Project) -> None:
    file = apply(project, "one", env={"LEVEL": "debug"})
    project.write("one.yaml", stack="one", env={"FOO": "bar", "LEVEL": "${LEVEL}"}, deployment={"name": "one"},
                  service={"name": "one"})  # fmt: skip
    api = project.api()
    ident = next(item["id"] for item in api.env_vars("one", "v1") if item["name"] == "LEVEL")
    api.update_env_var("one", "v1", ident, {"name": "LEVEL", "value": "info"})
    ran = project.cli("drift", file, LEVEL="debug")
    assert '      value : "debug" (from ${LEVEL}) -> "info"\n' in ran.out


def test_drift_as_markdown_is_a_section_a_stack(project: Project) -> None:
    one, two = apply(project, "one"), apply(project, "two")
    project.api().update_service("one", {"rate_limit": 7})
    project.write("one.yaml", stack="one", env={"FOO": "bar"}, deployment={"name": "one"},
                  service={"name": "one"})  # fmt: skip
    project.api().update_version("one", "v1", {"maximum_instances": 4})
    ran = project.cli("drift", one, two, "--format", "markdown")
    assert ran.code == 2
    assert ran.out.startswith("### ⚠️ `one` in project `demo`\n\n````diff\n! version/one/v1\n")
    assert "maximum_instances : 1 -> 4" in ran.out
    assert "### 🟰 `two` in project `demo`\n\nNo drift: the project is as it was last applied.\n" in ran.out


def line(project: Project, **env: str) -> str:
    """The version that serves, of a line of versions."""
    project.apply(env=env, rollout={"strategy": "blue_green", "bake": 0})
    return str(next(raw["version"] for raw in project.api().versions("alpha") if raw["default"]))


def steps(drift: dict[str, Any]) -> list[tuple[str, str, Any, Any]]:
    return [
        (change["address"], field["path"], field["before"], field["after"])
        for change in drift["changes"]
        for field in change["fields"]
    ]


def test_of_a_line_the_version_that_was_applied_tells_what_changed_by_hand(project: Project) -> None:
    serving, file, api = line(project, FOO="bar"), str(project.folder / "stack.yaml"), project.api()
    [variable] = api.env_vars("alpha", serving)
    api.update_env_var("alpha", serving, variable["id"], {"name": "FOO", "value": "hand"})
    api.update_version("alpha", serving, {"maximum_instances": 4})
    drift = drifted(project, file)
    assert drift["basis"] == "applied"
    assert steps(drift) == [
        (f"version/alpha/{serving}", "maximum_instances", 1, 4),
        (f"env_var/alpha/{serving}/FOO", "value", "bar", "hand"),
    ]
    assert all(change["user"] for change in drift["changes"])
    assert project.plan()[0].rollout.new == f"{serving}-2"  # type: ignore[union-attr]
    ran = project.cli("drift", file, "--write")
    assert (ran.code, "2 written" in ran.err) == (2, True), ran.err


def test_a_file_of_a_line_that_has_moved_on_is_no_drift_beside_a_version_kept(project: Project) -> None:
    line(project, FOO="one")
    serving, file = line(project, FOO="two"), str(project.folder / "stack.yaml")
    project.write(env={"FOO": "three"}, rollout={"strategy": "blue_green", "bake": 0})
    assert project.plan()[0].rollout.serving == serving  # type: ignore[union-attr]
    assert project.cli("drift", file).out.endswith("`whisperctl plan` shows how.\n")
    project.api().update_version("alpha", serving, {"maximum_instances": 4})
    assert steps(drifted(project, file)) == [
        (f"version/alpha/{serving}", "maximum_instances", 1, 4),
        (f"env_var/alpha/{serving}/FOO", "value", "three", "two"),
    ]


def test_a_service_led_back_by_hand_is_drift_of_the_service(project: Project) -> None:
    earlier = line(project, FOO="one")
    serving, file = line(project, FOO="two"), str(project.folder / "stack.yaml")
    project.api().update_service("alpha", {"deployment": "alpha", "version": earlier})
    assert ("service/alpha", "version", serving, earlier) in steps(drifted(project, file))


class Trails:
    """A control plane of which only audit trails, and the names of a deployment's versions, are asked."""

    def __init__(self, versions: list[str], **trails: list[dict[str, str]]) -> None:
        self._versions, self._trails = versions, trails

    def versions(self, _deployment: str) -> list[dict[str, str]]:
        return [{"version": name} for name in self._versions]

    def audit(self, deployment: str | None, limit: int, offset: int) -> list[dict[str, str]]:
        return self._trails[deployment or "project"][offset : offset + limit]


def event(kind: str, name: str, action: str, text: str, hour: int = 9) -> dict[str, str]:
    return {"date": f"2026-11-29T{hour:02}:00:00+02:00", "user": "ann", "action": action, "object_type": kind,
            "object_name": name, "event": text}  # fmt: skip


def changed(address: Address, action: Action = "update") -> Change:
    return Change(address=address, action=action, reason="", effect="", source="")


FOO = env_var_address("one", "v1", "FOO")


def blamed(api: Trails, change: Change) -> list[str]:
    return [str(last) for last in last_changes(api, [change]).values()]  # type: ignore[arg-type]


def test_of_versions_whose_variables_share_a_name_the_event_must_name_the_version() -> None:
    v2 = event("environment_variable", "FOO", "update", "FOO of version v2 was updated")
    v1 = event("environment_variable", "FOO", "update", "FOO of version v1 was updated", hour=8)
    assert blamed(Trails(["v1", "v2"], one=[v2]), changed(FOO)) == []
    assert blamed(Trails(["v1", "v2"], one=[v2, v1]), changed(FOO)) == [f"2026-11-29T06:00:00Z ann: {v1['event']}"]
    assert blamed(Trails(["v1"], one=[v2 | {"event": "FOO was updated"}]), changed(FOO)) != []


def test_what_is_gone_was_not_taken_away_by_whoever_made_it() -> None:
    made = event("deployment_version", "v1", "create", "v1 was created")
    gone = event("deployment_version", "", "delete", "Version 'v1' was deleted")
    other = event("deployment_version", "", "delete", "Version 'v1-beta' was deleted")
    change = changed(version_address("one", "v1"), "delete")
    assert blamed(Trails(["v1"], one=[made]), change) == []
    assert blamed(Trails(["v1"], one=[other, gone, made]), change) == [f"2026-11-29T07:00:00Z ann: {gone['event']}"]


def test_a_busy_trail_is_read_on() -> None:
    noise = [event("deployment_version", "v2", "update", "v2 was updated")] * 150
    mine = event("deployment_version", "v1", "update", "v1 was updated")
    assert len(blamed(Trails(["v1", "v2"], one=[*noise, mine]), changed(version_address("one", "v1")))) == 1
