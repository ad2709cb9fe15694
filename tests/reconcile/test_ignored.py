"""ignore_changes: used when the object is made, then neither planned, nor drift, nor written, and counted."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.harness.project import Project, actions
from tests.plan.states import stack
from whisperctl.operate.drift import find_drift
from whisperctl.state.ignored import ignored_paths, without
from whisperctl.state.resources import Address, env_var_address, service_address, version_address

IGNORED = [
    "version.minimum_instances",
    "version.health_check.interval",
    "version.labels.team",
    "env.TUNED",
    "env.HIDDEN",
    "service.rate_limit",
    "deployment.description",
]
GIVEN = {
    "ignore_changes": IGNORED,
    "deployment": {"description": "as made"},
    "version": {"minimum_instances": 1, "maximum_instances": 3, "labels": {"team": "a"}},
    "env": {"TUNED": "1", "HIDDEN": {"value": "hidden-value", "secret": True}, "OTHER": "x"},
    "service": {"rate_limit": 5},
}


def test_somebody_elses_values_are_neither_planned_nor_written(project: Project) -> None:
    project.apply(**GIVEN)
    api = project.api()
    made = api.version("alpha", "v1") or {}
    assert (made["minimum_instances"], made["labels"]["team"]) == (1, "a")
    assert (api.find_service("alpha") or {})["rate_limit"] == 5
    own = {item["name"]: item for item in api.env_vars("alpha", "v1")}
    api.update_env_var("alpha", "v1", own["TUNED"]["id"], {"value": "7"})
    api.update_env_var("alpha", "v1", own["HIDDEN"]["id"], {"value": "other-hidden"})
    api.update_service("alpha", {"rate_limit": 50})
    api.update_deployment("alpha", {"description": "by hand"})
    check = made["health_check"] | {"interval": 7}
    body = {"minimum_instances": 2, "health_check": check, "labels": made["labels"] | {"team": "b"}}
    api.update_version("alpha", "v1", body)
    plan = project.plan_one(**GIVEN)
    assert actions(plan) == {}
    assert [(str(address), path) for address, path in plan.ignored] == [
        ("deployment/alpha", "description"),
        ("version/alpha/v1", "health_check.interval"),
        ("version/alpha/v1", "labels.team"),
        ("version/alpha/v1", "minimum_instances"),
        ("env_var/alpha/v1/TUNED", "value"),
        ("service/alpha", "rate_limit"),
    ]
    [drift] = find_drift(project.load(), project.world())
    assert not drift.drifted
    shown = project.cli("plan", str(project.folder / "stack.yaml"))
    assert "6 ignored (ignore_changes): deployment/alpha description, " in shown.out
    [document] = json.loads(project.cli("plan", "--format", "json", str(project.folder / "stack.yaml")).out)["stacks"]
    assert {"address": "service/alpha", "path": "rate_limit"} in document["ignored"]
    # A change of something else, and of values that are ignored, leaves theirs where they are.
    changed = GIVEN | {"env": {"TUNED": "9", "HIDDEN": {"value": "third-value", "secret": True}, "OTHER": "y"}}
    changed |= {"version": {"minimum_instances": 0, "maximum_instances": 4, "labels": {"team": "c"}}}
    assert actions(project.plan_one(**changed)) == {
        "version/alpha/v1": "update",
        "env_var/alpha/v1/OTHER": "update",
    }
    project.apply(**changed)
    after = api.version("alpha", "v1") or {}
    assert (after["minimum_instances"], after["maximum_instances"], after["labels"]["team"]) == (2, 4, "b")
    assert after["health_check"]["interval"] == 7
    assert {item["name"]: item["value"] for item in api.env_vars("alpha", "v1")}["TUNED"] == "7"


def test_a_saved_plan_is_not_stale_for_what_is_ignored(project: Project) -> None:
    project.apply(**GIVEN)
    changed = GIVEN | {"service": {"rate_limit": 5, "concurrency_limit": 3}}
    file, plan = str(project.write(**changed)), str(project.folder / "saved.plan")
    assert project.cli("plan", "-o", plan, file).code == 0
    project.api().update_version("alpha", "v1", {"minimum_instances": 2})
    project.api().update_service("alpha", {"rate_limit": 50})
    ran = project.cli("apply", "--plan", plan)
    assert ran.code == 0, ran
    assert (project.api().find_service("alpha") or {})["rate_limit"] == 50


@pytest.mark.parametrize(
    ("path", "address", "ignored"),
    [
        ("version.minimum_instances", version_address("speech", "v1"), ("minimum_instances",)),
        ("version.labels.a.b", version_address("speech", "v1"), ("labels", "a.b")),
        ("version.minimum_instances", service_address("door"), None),
        ("service.port", service_address("door"), ("port",)),
        ("service.door.port", service_address("door"), ("port",)),
        ("service.door.port", service_address("gate"), None),
        ("env.A", env_var_address("speech", "v1", "A"), ()),
        ("env.A", env_var_address("speech", "v1", "AB"), None),
    ],
)
def test_a_path_of_the_file_is_fields_of_objects(path: str, address: Address, ignored: tuple[str, ...] | None) -> None:
    given = replace(stack(services=("door", "gate")), ignore_changes=(path,))
    assert ignored_paths(given, address) == (() if ignored is None else (ignored,))


def test_what_is_ignored_is_taken_out_of_fields() -> None:
    fields = {"a": 1, "labels": {"x.y": 1, "z": 2}}
    assert without(fields, (("labels", "x.y"), ("b",), ("a", "c"))) == {"a": 1, "labels": {"z": 2}}
    assert without(fields, ((),)) == {}
