"""The official waiting helpers, and the control-plane calls of the Whisper tutorial as its notebook makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
import ubiops
from ubiops.utils import wait_for_deployment_version, wait_for_environment, wait_for_revision
from ubiops.utils.exceptions import StatusError

from tests.emulator.conftest import BASE, LIVE, PROJECT, built, environment_package, package, written

TUTORIAL = """
class Deployment:
    def __init__(self, base_directory, context):
        print("vLLM server started")

    def request(self, data):
        return "healthy"
"""


def test_wait_for_environment_and_version(api: ubiops.CoreApi, name: str, tmp_path: Path, capsys: Any) -> None:
    client = api.api_client
    wait_for_environment(client, PROJECT, BASE)
    api.environments_create(PROJECT, ubiops.EnvironmentCreate(name=name))
    api.environment_tags_create(PROJECT, name, ubiops.EnvironmentTagCreate(name="t1"))
    archive = written(tmp_path, environment_package("click\n"))
    base = {"base_environment_name": BASE, "base_environment_tag": "v5.25.0"}
    api.environment_tags_build(PROJECT, name, "t1", file=archive, **base)
    api.deployments_create(PROJECT, ubiops.DeploymentCreate(name=name, input_type="plain", output_type="plain"))
    version = ubiops.DeploymentVersionCreate(version="v1", environment_name=name, environment_tag="t1")
    api.deployment_versions_create(PROJECT, name, version)
    path = written(tmp_path, package(), "p.zip")
    api.revisions_file_upload(PROJECT, name, "v1", file=path, _progress_bar=False)
    wait_for_deployment_version(client, PROJECT, name, "v1")
    assert "available" in capsys.readouterr().out
    assert api.deployment_versions_get(PROJECT, name, "v1").active_revision is not None


def test_wait_for_a_failing_revision(api: ubiops.CoreApi, name: str, tmp_path: Path, version: Any) -> None:
    failed = built(api, name, tmp_path, package("nothing = 1\n"))
    with pytest.raises(StatusError, match="has no class Deployment"):
        wait_for_revision(api.api_client, PROJECT, name, "v1", failed.id, quiet=True)


@pytest.mark.skipif(LIVE, reason="turns a switch of the emulator")
def test_the_tutorials_calls(api: ubiops.CoreApi, http: httpx.Client, name: str, tmp_path: Path) -> None:
    """Field names as in the notebook: the client drops those that UbiOps no longer knows."""
    before = http.patch("/_emulator/switches", json={"legacy_environment_names": True})
    assert before.status_code == 200
    api.deployments_create(
        project_name=PROJECT,
        data={
            "name": name,
            "description": "Whisper deployed with vLLM",
            "input_type": "plain",
            "output_type": "plain",
            "labels": {"controled_with": "notebook"},
        },
    )
    api.deployment_versions_create(
        project_name=PROJECT,
        deployment_name=name,
        data={
            "version": "v1",
            "environment": "python3-12",
            "instance_type_group_name": "12288 MB + NVIDIA Tesla T4",
            "maximum_instances": 1,
            "minimum_instances": 0,
            "maximum_idle_time": 900,
            "labels": {
                "openai-compatible": "true",
                "openai-model-names": "openai/whisper-small",
                "model-type": "speech-to-text",
            },
        },
    )
    for key, value, secret in (("MAX_MODEL_LEN", "448", False), ("HF_TOKEN", "hf_x", True)):
        api.deployment_version_environment_variables_create(
            project_name=PROJECT,
            deployment_name=name,
            version="v1",
            data={"name": key, "value": value, "secret": secret},
        )
    path = written(tmp_path, package(TUTORIAL), "package.zip")
    upload = api.revisions_file_upload(
        project_name=PROJECT, deployment_name=name, version="v1", file=path, _progress_bar=False
    )
    wait_for_deployment_version(
        client=api.api_client,
        project_name=PROJECT,
        deployment_name=name,
        version="v1",
        revision_id=upload.revision,
        quiet=True,
    )
    service = api.services_create(
        project_name=PROJECT,
        data={
            "name": name,
            "deployment": name,
            "version": "v1",
            "port": 8080,
            "authentication_required": True,
            "health_check_path": "/health",
            "request_storage_enabled": True,
        },
    )
    assert service.endpoint.startswith("http")
    answer = api.deployment_version_requests_create(
        project_name=PROJECT, deployment_name=name, version="v1", data="health", timeout=3600
    )
    assert answer.result == "healthy"
    update = {"minimum_instances": 0, "maximum_instances": 0}
    api.deployment_versions_update(project_name=PROJECT, deployment_name=name, version="v1", data=update)
    http.patch("/_emulator/switches", json={"legacy_environment_names": False})
    api.services_delete(PROJECT, name)
    api.deployments_delete(PROJECT, name)
