"""The official waiting helpers, and the control-plane calls of the Whisper tutorial as its notebook makes them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import ubiops
from ubiops.utils import wait_for_deployment_version, wait_for_environment, wait_for_revision
from ubiops.utils.exceptions import StatusError

from tests.emulator.conftest import BASE, LIVE, PROJECT, built, environment_package, package, written
from tests.harness.notebook import VERSION_FIELDS
from ubiops_emulator.testing import Emulator

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


@pytest.mark.skipif(LIVE, reason="UbiOps itself may know neither /v2.1 nor python3-12 any more")
def test_the_tutorials_calls_as_they_stand(emulator: Emulator, name: str, tmp_path: Path) -> None:
    """Fields, names and address as in the notebook, also those that UbiOps no longer knows; its editor's package."""
    configuration = ubiops.Configuration(host=f"{emulator.root}/v2.1")
    configuration.api_key["Authorization"] = f"Token {emulator.token}"
    with ubiops.ApiClient(configuration) as client:
        api = ubiops.CoreApi(client)
        assert api.service_status().status == "ok"
        create_as_the_notebook_does(api, name)
        upload = api.revisions_file_upload(
            project_name=PROJECT, deployment_name=name, version="v1", file=archived(tmp_path), _progress_bar=False
        )
        wait_for_deployment_version(
            client=api.api_client,
            project_name=PROJECT,
            deployment_name=name,
            version="v1",
            revision_id=upload.revision,
            quiet=True,
        )
        version = api.deployment_versions_get(PROJECT, name, "v1")
        assert (version.environment_name, version.maximum_idle_time) == (BASE, 900)
        service = api.services_create(project_name=PROJECT, data=notebook_service(name))
        assert service.endpoint.startswith("http")
        answer = api.deployment_version_requests_create(
            project_name=PROJECT, deployment_name=name, version="v1", data="health", timeout=3600
        )
        assert answer.result == "healthy"
        update = {"minimum_instances": 0, "maximum_instances": 0}
        api.deployment_versions_update(project_name=PROJECT, deployment_name=name, version="v1", data=update)
        api.services_delete(PROJECT, name)
        api.deployments_delete(PROJECT, name)


def create_as_the_notebook_does(api: ubiops.CoreApi, name: str) -> None:
    """Deployment, version and environment variables."""
    deployment = {"name": name, "description": "Whisper with vLLM", "input_type": "plain", "output_type": "plain"}
    api.deployments_create(project_name=PROJECT, data=deployment)
    api.deployment_versions_create(project_name=PROJECT, deployment_name=name, data=VERSION_FIELDS)
    for key, value in {"VLLM_ATTENTION_BACKEND": "TRITON_ATTN", "MAX_MODEL_LEN": "448"}.items():
        variable = ubiops.EnvironmentVariableCreate(name=key, value=value, secret=False)
        api.deployment_version_environment_variables_create(PROJECT, name, "v1", variable)


def notebook_service(name: str) -> dict[str, Any]:
    """With the fields that the client drops in silence, one of them misspelt there."""
    return {
        "name": name,
        "deployment": name,
        "version": "v1",
        "port": 8080,
        "health_check_path": "/health",
        "health_cheack_interval": 30,
        "request_storage_enabled": True,
        "authentication_required": True,
    }


def archived(folder: Path) -> str:
    """As the notebook packs: the files at the archive's root, `requirements.txt` and `ubiops.yaml` among them."""
    source = folder / "deployment_package"
    source.mkdir()
    (source / "deployment.py").write_text(TUTORIAL)
    (source / "requirements.txt").write_text("openai\nrequests\n")
    (source / "ubiops.yaml").write_text("apt:\n  packages:\n    - build-essential\n    - python3-dev\n    - ffmpeg\n")
    return shutil.make_archive(str(source), "zip", source)
