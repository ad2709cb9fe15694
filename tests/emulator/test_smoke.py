"""The whole way once, with the official client over a real socket: from nothing to an answered request and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import ubiops

from tests.emulator.conftest import PROJECT, built, environment_package, eventually, package, written
from tests.harness import loopback

SERVER = """
import http.server, os, threading

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = (self.path + " " + os.environ["GREETING"] + " " + str(self.headers.get("Authorization"))).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

class Deployment:
    def __init__(self, base_directory, context):
        server = http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["WHISPERCTL_PORT"])), Answer)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print("listening", flush=True)

    def request(self, data):
        return "got " + data
"""


def test_from_nothing_to_an_answer_and_back(api: ubiops.CoreApi, name: str, tmp_path: Path) -> None:
    environment, deployment, service = f"{name}-env", name, f"{name}-svc"
    api.environments_create(PROJECT, ubiops.EnvironmentCreate(name=environment))
    tag = api.environment_tags_create(PROJECT, environment, ubiops.EnvironmentTagCreate(name="t1"))
    assert tag.status == "pending"
    archive = written(tmp_path, environment_package("click>=8\nabsent; python_version < '3'\n"))
    api.environment_tags_build(
        PROJECT,
        environment,
        "t1",
        file=archive,
        base_environment_name="ubiops-ubuntu24-04-python3-12",
        base_environment_tag="v5.25.0",
    )
    tag = eventually(
        lambda: api.environment_tags_get(PROJECT, environment, "t1"),
        lambda tag: tag.status in {"available", "failed"},
    )
    assert (tag.status, tag.error_message) == ("available", None)
    api.deployments_create(PROJECT, ubiops.DeploymentCreate(name=deployment, input_type="plain", output_type="plain"))
    version = api.deployment_versions_create(
        PROJECT,
        deployment,
        ubiops.DeploymentVersionCreate(
            version="v1",
            environment_name=environment,
            environment_tag="t1",
            instance_type_group_name="12288 MB + NVIDIA Tesla T4",
            minimum_instances=0,
            maximum_instances=1,
            maximum_idle_time=900,
            health_check={"port": 8080, "path": "/health", "interval": 1},
        ),
    )
    assert version.default is True
    assert version.health_check.path == "/health"
    api.deployment_version_environment_variables_create(
        PROJECT,
        deployment,
        "v1",
        ubiops.EnvironmentVariableCreate(name="GREETING", value="hello", secret=True),
    )
    revision = built(api, deployment, tmp_path, package(SERVER))
    assert (revision.status, revision.error_message) == ("success", "")
    created = api.services_create(
        PROJECT, ubiops.ServiceCreate(name=service, deployment=deployment, version="v1", port=8080)
    )
    token = api.api_client.configuration.api_key["Authorization"]
    with loopback.client(base_url=created.endpoint, headers={"Authorization": token}) as client:
        assert client.get("/health").status_code == 503
        answer = api.deployment_requests_create(PROJECT, deployment, data="ping")
        assert (answer.status, answer.result) == ("completed", "got ping")
        status = eventually(lambda: api.services_status_get(PROJECT, service), lambda status: status.ready is True)
        assert status.instances_ready == 1
        assert client.get("/docs?x=1").text == "/docs?x=1 hello None"
        assert client.get("/docs", headers={"Authorization": ""}).status_code == 401
    query = f"| deployment_name=`{deployment}` and system=`false`"
    eventually(lambda: [line.log for line in api.logs_list(PROJECT, query=query)], lambda logs: "listening" in logs)
    _removed(api, environment, deployment, service)


def _removed(api: ubiops.CoreApi, environment: str, deployment: str, service: str) -> None:
    with pytest.raises(ubiops.exceptions.ApiException) as refused:
        api.environment_tags_delete(PROJECT, environment, "t1")
    assert refused.value.status == 400
    api.services_delete(PROJECT, service)
    api.deployment_versions_delete(PROJECT, deployment, "v1")
    api.deployments_delete(PROJECT, deployment)
    api.environment_tags_delete(PROJECT, environment, "t1")
    api.environments_delete(PROJECT, environment)
    with pytest.raises(ubiops.exceptions.ApiException) as gone:
        api.deployments_get(PROJECT, deployment)
    assert gone.value.status == 404
    assert gone.value.get_body_message() == "Deployment was not found"


def test_requests_echo(api: ubiops.CoreApi, name: str, tmp_path: Path, version: Any) -> None:
    assert version.status == "unavailable"
    assert built(api, name, tmp_path).status == "success"
    assert api.deployment_requests_create(PROJECT, name, data="a").result == {"echo": "a"}


def test_missing_requirement_is_named(api: ubiops.CoreApi, name: str, tmp_path: Path, version: Any) -> None:
    revision = built(api, name, tmp_path, package(requirements__txt="click\nno-such-thing==1\nclick==0.1\n"))
    assert revision.status == "failed"
    assert "no-such-thing==1 (not installed)" in revision.error_message
    assert "click==0.1 (version " in revision.error_message
