"""Every method of the official client for deployments, versions, revisions, environments, tags and variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import ubiops
from ubiops.exceptions import ApiException

from tests.emulator.conftest import BASE, LIVE, PROJECT, built, environment_package, eventually, package, written


def refused(status: int, call: Any, *args: Any, **kwargs: Any) -> str:
    """The error text of a call that must be refused with this status."""
    with pytest.raises(ApiException) as caught:
        call(*args, **kwargs)
    # Which of the two a live UbiOps takes for conflicts is not documented.
    allowed = {400, 409} if LIVE and status == 400 else {status}
    assert caught.value.status in allowed, caught.value
    return str(caught.value.get_body_message())


def test_deployments(api: ubiops.CoreApi, name: str) -> None:
    fields = [{"name": "text", "data_type": "string"}]
    created = api.deployments_create(
        PROJECT,
        ubiops.DeploymentCreate(
            name=name,
            description="d",
            input_type="structured",
            output_type="plain",
            input_fields=fields,
            labels={"team": name, "x": "y"},
        ),
    )
    assert created.project == PROJECT
    assert created.supports_request_format is True
    assert not hasattr(created, "default_version")
    assert api.deployments_get(PROJECT, name).default_version is None
    listed = api.deployments_list(PROJECT, labels=f"team:{name},nothing:x")
    assert [item.name for item in listed] == [name]
    assert not hasattr(listed[0].input_fields[0], "widget")
    assert api.deployments_list(PROJECT, labels=f"team:not-{name}") == []
    updated = api.deployments_update(PROJECT, name, ubiops.DeploymentUpdate(labels={"only": "this"}))
    assert updated.labels == {"only": "this"}
    assert updated.description == "d"
    renamed = api.deployments_update(PROJECT, name, ubiops.DeploymentUpdate(name=f"{name}-b"))
    assert renamed.id == created.id
    assert refused(404, api.deployments_get, PROJECT, name) == "Deployment was not found"
    again = ubiops.DeploymentCreate(name=f"{name}-b", input_type="plain", output_type="plain")
    assert "already exists" in refused(400, api.deployments_create, PROJECT, again)
    assert api.deployment_audit_events_list(PROJECT, f"{name}-b")[0].action == "update"
    assert api.deployments_delete(PROJECT, f"{name}-b") is None
    assert api.template_deployments_list() == []


def test_versions_defaults_and_default_version(api: ubiops.CoreApi, name: str, tmp_path: Path, version: Any) -> None:
    assert (version.minimum_instances, version.maximum_instances, version.maximum_idle_time) == (0, 5, 300)
    assert (version.request_retention_mode, version.request_retention_time) == ("full", 604800)
    assert (version.scaling_strategy, version.maximum_queue_size, version.ports) == ("default", 100000, [])
    assert version.environment_name == BASE
    assert version.environment_tag
    assert version.active_revision is None
    assert version.default is True
    assert api.deployments_get(PROJECT, name).default_version == "v1"
    other = api.deployment_versions_create(
        PROJECT, name, ubiops.DeploymentVersionCreate(version="v2", labels={"n": name}, minimum_instances=0)
    )
    assert other.default is False
    promote = ubiops.DeploymentUpdate(default_version="v2")
    text = "Default cannot be set to an unavailable version"
    assert refused(400, api.deployments_update, PROJECT, name, promote) == text
    missing = ubiops.DeploymentUpdate(default_version="v9")
    assert refused(404, api.deployments_update, PROJECT, name, missing) == "Deployment version was not found"
    assert [item.version for item in api.deployment_versions_list(PROJECT, name, labels=f"n:{name}")] == ["v2"]
    listed = api.deployment_versions_list(PROJECT, name)
    assert not hasattr(listed[0], "health_check")
    path = written(tmp_path, package())
    upload = api.revisions_file_upload(PROJECT, name, "v2", file=path, _progress_bar=False)
    eventually(
        lambda: api.revisions_get(PROJECT, name, upload.revision, "v2").status, lambda status: status == "success"
    )
    assert api.deployments_update(PROJECT, name, promote).default_version == "v2"
    assert api.deployment_versions_get(PROJECT, name, "v1").default is False
    changed = api.deployment_versions_update(
        PROJECT, name, "v1", ubiops.DeploymentVersionUpdate(version="v1b", maximum_instances=3, description="x")
    )
    assert (changed.version, changed.maximum_instances, changed.description) == ("v1b", 3, "x")
    api.deployment_versions_delete(PROJECT, name, "v1b")
    assert refused(404, api.deployment_versions_get, PROJECT, name, "v1b") == "Deployment version was not found"


def test_version_below_a_missing_deployment(api: ubiops.CoreApi, name: str) -> None:
    body = ubiops.DeploymentVersionCreate(version="v1")
    assert refused(404, api.deployment_versions_create, PROJECT, name, body) == "Deployment was not found"


def test_environment_of_the_wrong_format_is_refused(api: ubiops.CoreApi, name: str) -> None:
    api.deployments_create(PROJECT, ubiops.DeploymentCreate(name=name, supports_request_format=False))
    body = ubiops.DeploymentVersionCreate(version="v1", environment_name=BASE)
    text = refused(400, api.deployment_versions_create, PROJECT, name, body)
    assert text == "Given environment is not supported for the deployment"


def test_revisions(api: ubiops.CoreApi, name: str, tmp_path: Path, version: Any) -> None:
    first = built(api, name, tmp_path)
    assert (first.status, first.has_request_method, first.has_requests_method) == ("success", True, False)
    assert first.empty is False
    path = written(tmp_path, package("class Wrong: pass\n"), "wrong.zip")
    upload = api.revisions_file_upload(PROJECT, name, "v1", file=path, _progress_bar=False)
    bad = eventually(
        lambda: api.revisions_get(PROJECT, name, upload.revision, "v1"), lambda item: item.status == "failed"
    )
    assert "Deployment" in bad.error_message
    now = api.deployment_versions_get(PROJECT, name, "v1")
    assert (now.active_revision, now.latest_revision) == (first.id, bad.id)
    assert [item.id for item in api.revisions_list(PROJECT, name, "v1")] == [bad.id, first.id]
    again = api.revisions_rebuild(PROJECT, name, first.id, "v1", data={})
    assert again.id != first.id
    copied = api.revisions_file_upload(
        PROJECT, name, "v1", source_deployment=name, source_version="v1", _progress_bar=False
    )
    assert api.revisions_get(PROJECT, name, copied.revision, "v1").empty is False
    empty = api.revisions_file_upload(PROJECT, name, "v1", _progress_bar=False)
    assert api.revisions_get(PROJECT, name, empty.revision, "v1").empty is True
    with api.revisions_file_download(PROJECT, name, first.id, "v1") as stream:
        assert stream.read() == package()


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("def broken(:\n", "not valid Python"),
        ("import no_such_module\nclass Deployment:\n    def request(self, data): pass\n", "no_such_module"),
        ("class Deployment:\n    pass\n", "neither a request nor a requests method"),
        ("import sys\nsys.exit(3)\nclass Deployment: pass\n", "SystemExit"),
    ],
)
def test_failing_builds_say_why(
    api: ubiops.CoreApi, name: str, tmp_path: Path, version: Any, code: str, text: str
) -> None:
    revision = built(api, name, tmp_path, package(code))
    assert revision.status == "failed"
    assert text in revision.error_message


def test_environments_and_tags(api: ubiops.CoreApi, name: str, tmp_path: Path) -> None:
    created = api.environments_create(PROJECT, ubiops.EnvironmentCreate(name=name, labels={"n": name}))
    assert (created.system, created.project) == (False, PROJECT)
    assert [item.name for item in api.environments_list(PROJECT, labels=f"n:{name}")] == [name]
    assert BASE in {item.name for item in api.environments_list(PROJECT, system=True)}
    assert BASE not in {item.name for item in api.environments_list(PROJECT, system=False)}
    changed = api.environments_update(PROJECT, name, ubiops.EnvironmentUpdate(description="d"))
    assert (changed.description, changed.labels) == ("d", {"n": name})
    tag = api.environment_tags_create(PROJECT, name, ubiops.EnvironmentTagCreate(name="t1"))
    assert (tag.status, tag.size, tag.base_environment_name, tag.built) == ("pending", None, None, True)
    assert "already exists" in refused(
        400, api.environment_tags_create, PROJECT, name, ubiops.EnvironmentTagCreate(name="t1")
    )
    archive = written(tmp_path, environment_package("click\n"))
    refused(400, api.environment_tags_build, PROJECT, name, "t1", file=archive)
    api.environment_tags_build(
        PROJECT, name, "t1", file=archive, base_environment_name=BASE, base_environment_tag="v5.25.0"
    )
    ready = eventually(
        lambda: api.environment_tags_get(PROJECT, name, "t1"), lambda tag: tag.status not in {"queued", "building"}
    )
    assert (ready.status, ready.error_message, ready.base_environment_name) == ("available", None, BASE)
    assert ready.size > 0
    files = api.environment_tag_dependencies_list(PROJECT, name, "t1")
    assert [(item.name, item.content) for item in files] == [("requirements.txt", "click\n")]
    text = refused(
        400,
        api.environment_tags_build,
        PROJECT,
        name,
        "t1",
        file=archive,
        base_environment_name=BASE,
        base_environment_tag="v5.25.0",
    )
    assert "available" in text
    refused(400, api.environment_tags_rebuild, PROJECT, name, "t1")
    with api.environment_tags_download(PROJECT, name, "t1") as stream:
        assert stream.read() == environment_package("click\n")
    api.environment_tags_create(PROJECT, name, ubiops.EnvironmentTagCreate(name="t2"))
    api.environment_tags_build(PROJECT, name, "t2", source_environment=name, source_tag="t1")
    assert {item.name for item in api.environment_tags_list(PROJECT, name)} == {"t1", "t2"}
    assert api.environment_tags_usage(PROJECT, name, "t1") == []
    eventually(lambda: api.environment_tags_get(PROJECT, name, "t2").status, lambda status: status == "available")
    api.environment_tags_delete(PROJECT, name, "t2")
    api.environments_delete(PROJECT, name)
    assert refused(404, api.environments_get, PROJECT, name) == "Environment was not found"


def test_tag_in_use(api: ubiops.CoreApi, name: str, tmp_path: Path) -> None:
    api.environments_create(PROJECT, ubiops.EnvironmentCreate(name=name))
    api.environment_tags_create(PROJECT, name, ubiops.EnvironmentTagCreate(name="t1"))
    api.deployments_create(PROJECT, ubiops.DeploymentCreate(name=name, input_type="plain", output_type="plain"))
    made = api.deployment_versions_create(
        PROJECT, name, ubiops.DeploymentVersionCreate(version="v1", environment_name=name)
    )
    assert made.environment_tag == "t1"
    usage = api.environment_tags_usage(PROJECT, name, "t1")
    assert [(item.id, item.deployment, item.version) for item in usage] == [(made.id, name, "v1")]
    refused(400, api.environment_tags_delete, PROJECT, name, "t1")
    refused(400, api.environments_delete, PROJECT, name)
    revision = built(api, name, tmp_path)
    assert revision.status == "failed"
    assert "Environment tag is not available" in revision.error_message
    api.deployments_delete(PROJECT, name)
    api.environments_delete(PROJECT, name)


def test_system_environments_cannot_be_changed(api: ubiops.CoreApi) -> None:
    assert api.environments_get(PROJECT, BASE).system is True
    assert "v5.25.0" in {tag.name for tag in api.environment_tags_list(PROJECT, BASE)}
    refused(403, api.environments_update, PROJECT, BASE, ubiops.EnvironmentUpdate(description="mine"))
    refused(403, api.environments_delete, PROJECT, BASE)


def test_tag_secrets(api: ubiops.CoreApi, name: str) -> None:
    api.environments_create(PROJECT, ubiops.EnvironmentCreate(name=name))
    for tag in ("t1", "t2"):
        api.environment_tags_create(PROJECT, name, ubiops.EnvironmentTagCreate(name=tag))
    secret = ubiops.EnvironmentVariableCreate(name="UV_DEFAULT_INDEX", value="https://u:p@host", secret=True)
    made = api.environment_tag_secrets_create(PROJECT, name, "t1", secret)
    assert (made.value, made.secret) == (None, True)
    plain = ubiops.EnvironmentVariableCreate(name="PLAIN", value="x", secret=False)
    assert "must be true" in refused(400, api.environment_tag_secrets_create, PROJECT, name, "t1", plain)
    assert api.environment_tag_secrets_get(PROJECT, name, made.id, "t1").name == "UV_DEFAULT_INDEX"
    changed = ubiops.EnvironmentVariableCreate(name="OTHER", value="y", secret=True)
    assert api.environment_tag_secrets_update(PROJECT, name, made.id, "t1", changed).name == "OTHER"
    copy = ubiops.EnvironmentSecretCopy(source_environment=name, source_tag="t1")
    copied = api.environment_tag_secrets_copy(PROJECT, name, "t2", copy)
    assert [item.name for item in copied] == ["OTHER"]
    api.environment_tag_secrets_delete(PROJECT, name, made.id, "t1")
    assert api.environment_tag_secrets_list(PROJECT, name, "t1") == []
    assert len(api.environment_tag_secrets_list(PROJECT, name, "t2")) == 1


def test_variables_on_three_levels(api: ubiops.CoreApi, name: str, version: Any) -> None:
    upper = name.upper()

    def variable(value: str, *, secret: bool = False) -> Any:
        return ubiops.EnvironmentVariableCreate(name=upper, value=value, secret=secret)

    top = api.project_environment_variables_create(PROJECT, variable("project"))
    try:
        inherited = _of(api.deployment_environment_variables_list(PROJECT, name), upper)
        assert (inherited.value, inherited.inheritance_type, inherited.inheritance_name) == (
            "project",
            "project",
            PROJECT,
        )
        refused(404, api.deployment_environment_variables_get, PROJECT, name, top.id)
        api.deployment_environment_variables_create(PROJECT, name, variable("deployment"))
        seen = _of(api.deployment_version_environment_variables_list(PROJECT, name, "v1"), upper)
        assert (seen.value, seen.inheritance_type) == ("deployment", "deployment")
        own = api.deployment_version_environment_variables_create(PROJECT, name, "v1", variable("version", secret=True))
        assert own.value is None
        seen = _of(api.deployment_version_environment_variables_list(PROJECT, name, "v1"), upper)
        assert (seen.value, seen.secret, seen.inheritance_type) == (None, True, None)
        _version_level(api, name, upper, variable)
        api.project_environment_variables_update(PROJECT, top.id, variable("changed"))
        assert api.project_environment_variables_get(PROJECT, upper).value == "changed"
        assert upper in {item.name for item in api.project_environment_variables_list(PROJECT)}
    finally:
        api.project_environment_variables_delete(PROJECT, top.id)
    refused(404, api.project_environment_variables_get, PROJECT, top.id)


def _version_level(api: ubiops.CoreApi, name: str, upper: str, variable: Any) -> None:
    create = api.deployment_version_environment_variables_create
    assert "already exists" in refused(400, create, PROJECT, name, "v1", variable("again"))
    update = api.deployment_version_environment_variables_update
    assert "secret" in refused(400, update, PROJECT, name, upper, "v1", variable("open"))
    assert update(PROJECT, name, upper, "v1", variable("kept", secret=True)).value is None
    api.deployment_versions_create(PROJECT, name, ubiops.DeploymentVersionCreate(version="v2"))
    copied = api.deployment_version_environment_variables_copy(
        PROJECT, name, "v2", ubiops.EnvironmentVariableCopy(source_deployment=name, source_version="v1")
    )
    assert [(item.name, item.secret) for item in copied] == [(upper, True)]
    assert api.deployment_version_environment_variables_get(PROJECT, name, upper, "v2").secret is True
    api.deployment_version_environment_variables_delete(PROJECT, name, upper, "v2")
    changed = api.deployment_environment_variables_update(PROJECT, name, upper, variable("other"))
    assert changed.value == "other"
    api.deployment_environment_variables_copy(
        PROJECT, name, ubiops.EnvironmentVariableCopy(source_deployment=name, source_version="v1")
    )
    assert api.deployment_environment_variables_get(PROJECT, name, upper).secret is True
    api.deployment_environment_variables_delete(PROJECT, name, upper)


def _of(items: list[Any], name: str) -> Any:
    return next(item for item in items if item.name == name)
