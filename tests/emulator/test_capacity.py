"""Room for so many instances of an instance type, and no more: who waits, for how long, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ubiops

from tests.emulator.conftest import LIVE, PROJECT, built, eventually
from tests.harness import loopback
from tests.harness.official import client_of
from ubiops_emulator import testing
from ubiops_emulator.testing import Emulator

pytestmark = pytest.mark.skipif(LIVE, reason="starts an emulator of its own")
T4, L4 = "12288mb-t4", "16384mb-l4"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    flags = ("--speed", "1000", "--runtime", "none", "--capacity", f"{T4}=1", "--capacity", f"{L4}=1")
    with testing.running(*flags, data=tmp_path_factory.mktemp("capacity")) as started:
        yield started


@pytest.fixture
def api(emulator: Emulator) -> Iterator[ubiops.CoreApi]:
    core = client_of(emulator)
    emulator.control("POST", "reset")
    emulator.control("PATCH", "capacity", {T4: 1, L4: 1})
    yield core
    core.api_client.close()


def deploy(api: ubiops.CoreApi, name: str, folder: Path, *types: tuple[str, int], instances: int = 1) -> None:
    """A deployment with that many instances, of a group of these types, each with its `schedule_timeout`."""
    known = {item.name: item.id for item in api.instance_types_list(PROJECT).results}
    members = [
        {"id": known[kind], "priority": number, "schedule_timeout": seconds}
        for number, (kind, seconds) in enumerate(types)
    ]
    group = api.instance_type_groups_create(PROJECT, {"name": name, "instance_types": members})
    api.deployments_create(PROJECT, ubiops.DeploymentCreate(name=name, input_type="plain", output_type="plain"))
    version = ubiops.DeploymentVersionCreate(
        version="v1", instance_type_group_id=group.id, minimum_instances=instances, maximum_instances=instances
    )
    api.deployment_versions_create(PROJECT, name, version)
    assert built(api, name, folder).status == "success"


def instances(api: ubiops.CoreApi, name: str) -> list[tuple[str, str | None]]:
    """Status and instance type of each."""
    listed = api.instances_list(PROJECT, name, "v1").results
    return [(item.status, item.instance_type.name if item.instance_type else None) for item in listed]


def events(api: ubiops.CoreApi, name: str) -> list[str]:
    [instance] = api.instances_list(PROJECT, name, "v1").results
    return [item.description for item in api.instance_events_list(PROJECT, name, instance.id, "v1").results]


def until(api: ubiops.CoreApi, name: str, *expected: tuple[str, str | None]) -> None:
    eventually(lambda: instances(api, name), lambda seen: sorted(seen, key=str) == sorted(expected, key=str))


def test_who_does_not_fit_waits_until_there_is_room(api: ubiops.CoreApi, tmp_path: Path) -> None:
    deploy(api, "first", tmp_path, (T4, 300))
    until(api, "first", ("running", T4))
    deploy(api, "second", tmp_path, (T4, 300))
    eventually(lambda: events(api, "second"), lambda seen: any("Attempting" in line for line in seen))
    assert instances(api, "second") == [("pending", None)]
    api.deployment_versions_update(PROJECT, "first", "v1", {"minimum_instances": 0, "maximum_instances": 0})
    until(api, "second", ("running", T4))
    assert f"Attempting to deploy instance with instance type {T4} on node pool local" in events(api, "second")


def test_after_its_timeout_the_next_type_of_the_group_is_tried(
    api: ubiops.CoreApi, emulator: Emulator, tmp_path: Path
) -> None:
    deploy(api, "first", tmp_path, (T4, 300))
    until(api, "first", ("running", T4))
    deploy(api, "second", tmp_path, (T4, 300), (L4, 300))
    eventually(lambda: events(api, "second"), lambda seen: any("Attempting" in line for line in seen))
    assert instances(api, "second") == [("pending", None)]
    emulator.control("POST", "clock", {"advance": 300})
    until(api, "second", ("running", L4))
    attempts = [line.split()[7] for line in events(api, "second") if "Attempting" in line]
    assert attempts == [T4, L4]


def test_without_room_anywhere_it_disappears_and_a_new_one_is_tried(
    api: ubiops.CoreApi, emulator: Emulator, tmp_path: Path
) -> None:
    emulator.control("PATCH", "capacity", {T4: 0, L4: 0})
    deploy(api, "none", tmp_path, (T4, 200), (L4, 100))
    eventually(lambda: events(api, "none"), lambda seen: any("Attempting" in line for line in seen))
    [before] = api.instances_list(PROJECT, "none", "v1").results
    emulator.control("POST", "clock", {"advance": 299})
    assert eventually(lambda: events(api, "none"), lambda seen: any(L4 in line for line in seen))
    emulator.control("POST", "clock", {"advance": 1})
    [after] = eventually(
        lambda: api.instances_list(PROJECT, "none", "v1").results,
        lambda seen: [item.id for item in seen] not in ([], [before.id]),
    )
    assert (after.status, after.instance_type) == ("pending", None)
    [event] = api.project_events_list(PROJECT)
    assert event.text == (
        f"Instance {before.id}: Instance could not be scheduled: no capacity for instance type {T4}, {L4}"
    )
    emulator.control("PATCH", "capacity", {T4: None})
    until(api, "none", ("running", T4))


def test_room_is_shared_by_all_versions_and_more_of_it_is_used_at_once(
    api: ubiops.CoreApi, emulator: Emulator, tmp_path: Path
) -> None:
    deploy(api, "several", tmp_path, (T4, 300), instances=3)
    until(api, "several", ("running", T4), ("pending", None), ("pending", None))
    emulator.control("PATCH", "capacity", {T4: 2})
    until(api, "several", ("running", T4), ("running", T4), ("pending", None))


def test_quotas_tell_the_room(api: ubiops.CoreApi) -> None:
    quotas = {item.resource: item.quota for item in api.quotas_list(PROJECT)}
    assert quotas == {"deployments": None, "deployment_versions": None, "environments": None, T4: 1, L4: 1}


@pytest.mark.parametrize(
    ("changes", "text"),
    [({"t4": 1}, "unknown instance type 't4'; known: 512mb, "), ({T4: -1}, f"{T4}: a number"), ({T4: "1"}, "a number")],
)
def test_rubbish_is_refused(emulator: Emulator, changes: dict[str, Any], text: str) -> None:
    headers = {"Authorization": f"Token {emulator.token}"}
    answer = loopback.request("PATCH", f"{emulator.root}/_emulator/capacity", json=changes, headers=headers)
    assert answer.status_code == 400
    assert text in answer.json()["error"]
