"""The official client through services, groups, instances, requests, logs, users, roles, records and metrics."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import ubiops

from tests.emulator.conftest import LIVE, PROJECT, built, eventually
from tests.emulator.test_resources import refused
from tests.harness.official import client_of
from ubiops_emulator.testing import Emulator

CPU, T4 = "16384 MB + 4 vCPU", "12288 MB + NVIDIA Tesla T4"


def test_status_user_and_project(api: ubiops.CoreApi) -> None:
    assert api.service_status().status == "ok"
    assert "@" in api.user_get().email
    assert api.projects_get(PROJECT).name == PROJECT
    assert PROJECT in {item.name for item in api.projects_list()}
    assert api.projects_resource_usage(PROJECT).deployments >= 0
    assert all(item.resource for item in api.quotas_list(PROJECT))
    assert refused(404, api.projects_get, "no-such-project") == "Project was not found"
    assert any(item.email for item in api.project_users_list(PROJECT))


@pytest.mark.skipif(LIVE, reason="a live project has its own groups")
def test_documented_groups_exist(api: ubiops.CoreApi) -> None:
    names = {group.name for group in api.instance_type_groups_list(PROJECT).results}
    assert {CPU, T4, "16384 MB + 4 vCPU + NVIDIA Ada Lovelace L4"} <= names
    gpus = [name for name in names if "NVIDIA" in name]
    assert {part for name in gpus for part in name.split()} >= {"T4", "L4", "A10", "A100", "H100", "H200"}


def test_instance_type_groups(api: ubiops.CoreApi, name: str) -> None:
    types = api.instance_types_list(PROJECT, limit=2)
    assert len(types.results) == 2
    following = api.instance_types_list(PROJECT, limit=2, cursor=types.next)
    assert {item.id for item in types.results}.isdisjoint(item.id for item in following.results)
    first, second = (item.id for item in types.results)
    made = api.instance_type_groups_create(
        PROJECT,
        ubiops.InstanceTypeGroupCreate(
            name=name, instance_types=[{"id": first, "priority": 1, "schedule_timeout": 60}, {"id": second}]
        ),
    )
    assert {item.id for item in made.instance_types} == {first, second}
    twin = api.instance_type_groups_create(
        PROJECT, ubiops.InstanceTypeGroupCreate(name=name, instance_types=[{"id": first}])
    )
    assert twin.id != made.id
    changed = api.instance_type_groups_update(
        PROJECT, made.id, ubiops.InstanceTypeGroupUpdate(instance_types=[{"id": second}])
    )
    assert [item.id for item in changed.instance_types] == [second]
    empty = ubiops.InstanceTypeGroupUpdate(instance_types=[])
    refused(400, api.instance_type_groups_update, PROJECT, made.id, empty)
    api.deployments_create(PROJECT, ubiops.DeploymentCreate(name=name, input_type="plain", output_type="plain"))
    version = api.deployment_versions_create(
        PROJECT, name, ubiops.DeploymentVersionCreate(version="v1", instance_type_group_id=made.id)
    )
    assert (version.instance_type_group_name, version.instance_type) == (name, changed.instance_types[0].name)
    usage = api.instance_type_groups_usage(PROJECT, made.id).results
    assert [(item.id, item.version) for item in usage] == [(version.id, "v1")]
    refused(400, api.instance_type_groups_delete, PROJECT, made.id)
    api.deployments_delete(PROJECT, name)
    for group in (made, twin):
        api.instance_type_groups_delete(PROJECT, group.id)
    refused(404, api.instance_type_groups_get, PROJECT, made.id)


def test_services(api: ubiops.CoreApi, name: str, version: Any) -> None:
    made = api.services_create(
        PROJECT, ubiops.ServiceCreate(name=name, deployment=name, port=8080, labels={"n": name}, rate_limit=5)
    )
    assert (made.version, made.authentication_required, made.type) == (None, True, "standard")
    assert made.endpoint.startswith("http")
    assert [item.name for item in api.services_list(PROJECT, labels=f"n:{name}")] == [name]
    assert [item.id for item in api.services_list(PROJECT, deployment_version_ids=version.id)] == [made.id]
    status = api.services_status_get(PROJECT, name)
    assert (status.id, status.ready, status.instances_ready) == (made.id, False, 0)
    changed = api.services_update(PROJECT, name, ubiops.ServiceUpdate(version="v1", port=9000, name=f"{name}-b"))
    assert (changed.id, changed.version, changed.port, changed.endpoint) == (made.id, "v1", 9000, made.endpoint)
    assert "service" in refused(400, api.deployment_versions_delete, PROJECT, name, "v1")
    assert "service" in refused(400, api.deployments_delete, PROJECT, name)
    api.deployments_update(PROJECT, name, ubiops.DeploymentUpdate(name=f"{name}-d"))
    assert api.services_get(PROJECT, f"{name}-b").deployment == f"{name}-d"
    again = ubiops.ServiceCreate(name=f"{name}-b", deployment=f"{name}-d", port=1)
    assert "already exists" in refused(400, api.services_create, PROJECT, again)
    lost = ubiops.ServiceCreate(name=f"{name}-c", deployment="nowhere", port=1)
    assert refused(404, api.services_create, PROJECT, lost) == "Deployment was not found"
    api.services_delete(PROJECT, f"{name}-b")
    assert refused(404, api.services_get, PROJECT, f"{name}-b") == "Service was not found"


def test_service_user_limits(api: ubiops.CoreApi, name: str, version: Any) -> None:
    api.services_create(PROJECT, ubiops.ServiceCreate(name=name, deployment=name, port=8080))
    user = api.user_get().id
    rate = api.services_user_rate_limit_create(PROJECT, name, ubiops.ServicesUserRateLimitCreate(user_id=user, limit=7))
    assert (rate.limit, rate.user_id) == (7, user)
    update = ubiops.ServicesUserRateLimitUpdate(limit=8)
    assert api.services_user_rate_limit_update(PROJECT, name, user, update).limit == 8
    assert [item.limit for item in api.services_user_rate_limit_list(PROJECT, name)] == [8]
    limit = ubiops.ServicesUserConcurrencyLimitCreate(user_id=user, limit=2)
    api.services_user_concurrency_limit_create(PROJECT, name, limit)
    assert api.services_user_concurrency_limit_get(PROJECT, name, user).limit == 2
    api.services_user_concurrency_limit_update(PROJECT, name, user, ubiops.ServicesUserConcurrencyLimitUpdate(limit=3))
    assert [item.limit for item in api.services_user_concurrency_limit_list(PROJECT, name)] == [3]
    api.services_user_concurrency_limit_delete(PROJECT, name, user)
    api.services_user_rate_limit_delete(PROJECT, name, user)
    refused(404, api.services_user_rate_limit_get, PROJECT, name, user)
    api.services_delete(PROJECT, name)


@pytest.mark.filterwarnings("ignore:.* is deprecated and will be removed:DeprecationWarning")
def test_instances_requests_and_logs(api: ubiops.CoreApi, name: str, tmp_path: Path, version: Any) -> None:
    early = refused(400, api.deployment_requests_create, PROJECT, name, data="x")
    assert "not available" in early
    revision = built(api, name, tmp_path)
    done = api.deployment_version_requests_create(PROJECT, name, "v1", data="hello")
    assert (done.status, done.result) == ("completed", {"echo": "hello"})
    instances = api.instances_list(PROJECT, name, "v1").results
    assert [item.status for item in instances] == ["running"]
    assert instances[0].instance_type.name
    detail = api.instances_get(PROJECT, name, instances[0].id, "v1")
    assert (detail.deployment, detail.version) == (name, "v1")
    mine = [item for item in api.project_instances_list(PROJECT).results if item.deployment == name]
    assert [item.id for item in mine] == [detail.id]
    assert api.project_instances_get(PROJECT, detail.id).id == detail.id
    texts = [event.description for event in api.instance_events_list(PROJECT, name, detail.id, "v1").results]
    assert any("instance type" in text for text in texts)
    assert any("initialising" in text for text in texts)
    assert api.deployment_versions_get(PROJECT, name, "v1").status == "available"
    _requests(api, name, done.id)
    _logs(api, name, revision.id)
    stopped = api.instances_update(PROJECT, name, detail.id, "v1", ubiops.InstanceUpdate(status="stopped"))
    assert stopped.status == "stopping"
    eventually(
        lambda: {item.id for item in api.instances_list(PROJECT, name, "v1").results},
        lambda idents: detail.id not in idents,
    )
    other = ubiops.InstanceUpdate(status="running")
    refused(404, api.project_instances_update, PROJECT, detail.id, other)


def _requests(api: ubiops.CoreApi, name: str, ident: str) -> None:
    assert [item.id for item in api.deployment_requests_list(PROJECT, name)] == [ident]
    assert api.deployment_version_requests_list(PROJECT, name, "v1", status="failed") == []
    single = api.deployment_requests_get(PROJECT, name, ident)
    assert (single.status, single.deployment, single.input_size > 0) == ("completed", name, True)
    assert api.deployment_requests_input_get(PROJECT, name, ident).json() == "hello"
    assert api.deployment_requests_output_get(PROJECT, name, ident).json() == {"echo": "hello"}
    assert ident in {item.id for item in api.project_requests_list(PROJECT)}
    batch = api.batch_deployment_requests_create(PROJECT, name, data=["a", "b"])
    assert [item.status for item in batch] == ["pending", "pending"]
    idents = [item.id for item in batch]
    details = eventually(
        lambda: api.deployment_requests_batch_get(PROJECT, name, idents),
        lambda items: all(item.status == "completed" for item in items),
    )
    assert [item.result for item in details] == [{"echo": "a"}, {"echo": "b"}]
    assert api.deployment_requests_batch_delete(PROJECT, name, idents) == {"success": True}
    refused(404, api.deployment_requests_get, PROJECT, name, idents[0])
    api.deployment_requests_delete(PROJECT, name, ident)


def _logs(api: ubiops.CoreApi, name: str, revision: str) -> None:
    query = f"| deployment_name=`{name}` and deployment_version=`v1` and deployment_version_revision_id=`{revision}`"
    lines = api.logs_list(PROJECT, query=query)
    assert any(line.log == f"starting {name}" and line.metadata.system is False for line in lines)
    assert any(line.log == "Build finished" and line.metadata.system is True for line in lines)
    assert [line.timestamp for line in lines] == sorted(line.timestamp for line in lines)
    text = api.logs_list(PROJECT, query=f'|= "starting" | deployment_name="{name}"')
    assert {line.log for line in text} == {f"starting {name}"}
    assert api.logs_list(PROJECT, query=f"| deployment_name=`{name}` |= `no such line`") == []
    now = datetime.now(UTC)
    backward = api.logs_list(
        PROJECT,
        query=f"| deployment_name=`{name}`",
        start=(now + timedelta(minutes=1)).isoformat(),
        end=(now - timedelta(hours=1)).isoformat(),
        limit=2,
    )
    assert [line.timestamp for line in backward] == sorted((line.timestamp for line in backward), reverse=True)
    assert len(backward) == 2
    refused(400, api.logs_list, PROJECT, query="| nonsense=`x`")
    refused(400, api.logs_list, PROJECT, start=now.isoformat())


def test_service_users_and_roles(api: ubiops.CoreApi, name: str) -> None:
    user = api.service_users_create(PROJECT, ubiops.ServiceUserCreate(name=name))
    assert len(user.token) == 40
    assert user.email.endswith(f".{PROJECT}@serviceuser.ubiops.com")
    assert not hasattr(api.service_users_get(PROJECT, user.id), "token")
    assert user.id in {item.id for item in api.service_users_list(PROJECT)}
    changed = api.service_users_update(PROJECT, user.id, ubiops.ServiceUserCreate(description="d"))
    assert changed.description == "d"
    permissions = {item.name for item in api.permissions_list()}
    assert {"deployments.list", "deployments.versions.list"} <= permissions
    role = api.roles_create(PROJECT, ubiops.RoleCreate(name=name, permissions=["deployments.list"]))
    assert role.default is False
    assert api.roles_get(PROJECT, name).permissions == ["deployments.list"]
    updated = api.roles_update(PROJECT, name, ubiops.RoleUpdate(permissions=["deployments.get"]))
    assert updated.permissions == ["deployments.get"]
    viewer = next(item for item in api.roles_list(PROJECT) if item.name == "project-viewer")
    assert viewer.default is True
    refused(400, api.roles_delete, PROJECT, "project-viewer")
    refused(400, api.roles_update, PROJECT, name, ubiops.RoleUpdate(name="project-viewer"))
    grant = api.role_assignments_create(
        PROJECT, ubiops.RoleAssignmentCreate(assignee=user.id, assignee_type="user", role=name)
    )
    assert (grant.resource, grant.resource_type) == (PROJECT, "project")
    assignments = api.role_assignments_per_object_list(PROJECT, assignee=user.id, assignee_type="user")
    assert [item.id for item in assignments] == [grant.id]
    assert api.role_assignments_get(PROJECT, grant.id).role == name
    refused(400, api.roles_delete, PROJECT, name)
    api.role_assignments_delete(PROJECT, grant.id)
    api.roles_delete(PROJECT, name)
    api.service_users_delete(PROJECT, user.id)
    refused(404, api.service_users_get, PROJECT, user.id)


ALLOWED = {
    None: (403, 403, 403),
    "project-viewer": (200, 403, 403),
    "project-editor": (200, 200, 403),
    "project-admin": (200, 200, 200),
}


@pytest.mark.parametrize("role", ALLOWED)
def test_what_a_role_may(emulator: Emulator, api: ubiops.CoreApi, name: str, role: str | None) -> None:
    user = api.service_users_create(PROJECT, ubiops.ServiceUserCreate(name=name))
    if role is not None:
        api.role_assignments_create(
            PROJECT, ubiops.RoleAssignmentCreate(assignee=user.id, assignee_type="user", role=role)
        )
    theirs = client_of(emulator, user.token)
    body = ubiops.DeploymentCreate(name=name, input_type="plain", output_type="plain")
    api.deployments_create(PROJECT, ubiops.DeploymentCreate(name=f"{name}-x", supports_request_format=False))
    calls: list[Callable[[], Any]] = [
        lambda: theirs.deployments_list(PROJECT),
        lambda: theirs.deployments_create(PROJECT, body),
        lambda: theirs.deployments_delete(PROJECT, f"{name}-x"),
    ]
    seen = []
    for call in calls:
        try:
            call()
            seen.append(200)
        except ubiops.exceptions.ApiException as err:
            seen.append(err.status)
    theirs.api_client.close()
    assert tuple(seen) == ALLOWED[role]


def test_a_reset_token_ends_the_old_one(emulator: Emulator, api: ubiops.CoreApi, name: str) -> None:
    user = api.service_users_create(PROJECT, ubiops.ServiceUserCreate(name=name))
    old, fresh = client_of(emulator, user.token), api.service_users_token(PROJECT, user.id).token
    assert refused(401, old.user_get) == "Invalid token."
    new = client_of(emulator, fresh)
    assert new.user_get().email == user.email
    old.api_client.close()
    new.api_client.close()


def test_audit_events_and_metrics(api: ubiops.CoreApi, name: str, version: Any) -> None:
    entries = [item for item in api.deployment_audit_events_list(PROJECT, name) if item.action == "create"]
    assert {(item.object_type, item.user) for item in entries} == {
        ("deployment", api.user_get().email),
        ("deployment_version", api.user_get().email),
    }
    assert api.project_audit_events_list(PROJECT, action="create", limit=1)[0].action == "create"
    assert api.project_events_list(PROJECT, object_type="deployment_version", object_id=version.id) == []
    metric = api.metrics_get(PROJECT, "deployments.requests")
    assert (metric.custom, metric.metric_type) == (False, "delta")
    assert metric.name in {item.name for item in api.metrics_list(PROJECT, custom=False)}
    now = datetime.now(UTC)
    series = api.time_series_data_list(
        PROJECT,
        metric="deployments.requests",
        start_date=(now - timedelta(minutes=5)).isoformat(),
        end_date=now.isoformat(),
        aggregation_period=60,
        labels=f"deployment_version_id:{version.id}",
    )
    assert [point.value for point in series.data_points] == [0.0] * len(series.data_points)
    assert len(series.data_points) in {5, 6}


@pytest.mark.usefixtures("emulator")
def test_series_of_instances_and_credits(api: ubiops.CoreApi, name: str, version: Any, tmp_path: Path) -> None:
    """A delta metric is a rate in the unit that is asked for, a gauge a mean; an instance costs while it runs."""
    built(api, name, tmp_path)
    api.deployment_versions_update(PROJECT, name, version.version, {"minimum_instances": 1})

    def read(metric: str, **more: int) -> float:
        now = datetime.now(UTC)
        points = api.time_series_data_list(
            PROJECT,
            metric=f"deployments.{metric}",
            start_date=(now - timedelta(hours=1)).isoformat(),
            end_date=now.isoformat(),
            aggregation_period=3600,
            labels=f"deployment_version_id:{version.id}",
            **more,
        ).data_points
        return float(sum(point.value for point in points))

    eventually(lambda: read("instances"), lambda mean: mean > 0)
    first = read("credits", unit_period=3600)
    assert read("credits", unit_period=3600) >= first > 0
    assert read("credits") * 3600 == pytest.approx(read("credits", unit_period=3600), rel=0.5)
    with pytest.raises(ubiops.exceptions.ApiException, match="unit_period"):
        read("credits", unit_period=7)
