"""What survives: restarts, kill -9, orphans, a second emulator on the same data; and what is refused on upload."""

from __future__ import annotations

import io
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import ubiops

from tests.emulator.conftest import BASE, LIVE, PROJECT, built, eventually, package, zipped
from tests.emulator.test_runtime import PROCESS, alive
from tests.emulator.web_package import WEB
from tests.harness import loopback
from tests.harness.official import client_of
from ubiops_emulator import testing

pytestmark = pytest.mark.skipif(LIVE, reason="starts emulators of its own")
SPEED = ("--speed", "1000")


def headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Token {token}"}


def test_a_restart_keeps_state_endpoint_and_token(tmp_path: Path) -> None:
    first = testing.start(*SPEED, data=tmp_path)
    token = first.token
    assert stat.S_IMODE(first.token_file.stat().st_mode) == 0o600
    assert token not in " ".join(first.output)
    api = client_of(first)
    api.deployments_create(PROJECT, ubiops.DeploymentCreate(name="web", input_type="plain", output_type="plain"))
    api.deployment_versions_create(PROJECT, "web", ubiops.DeploymentVersionCreate(version="v1", minimum_instances=1))
    assert built(api, "web", tmp_path, package(WEB)).status == "success"
    made = api.services_create(PROJECT, ubiops.ServiceCreate(name="web", deployment="web", port=8080))
    _until_answered(made.endpoint, token)
    pid = int(loopback.get(f"{made.endpoint}/pid", headers=headers(token)).text)
    api.api_client.close()
    assert first.stop() == 0
    assert not alive(pid)
    second = testing.start(*SPEED, data=tmp_path)
    try:
        assert second.token == token
        api = client_of(second)
        assert api.services_get(PROJECT, "web").endpoint == made.endpoint
        _until_answered(made.endpoint, token)
        api.api_client.close()
    finally:
        assert second.stop(signal.SIGINT) == 130


def _until_answered(endpoint: str, token: str) -> None:
    eventually(lambda: loopback.get(f"{endpoint}/health", headers=headers(token)).status_code, lambda code: code == 200)


def test_kill_9_loses_no_acknowledged_write_and_leaves_no_process(tmp_path: Path) -> None:
    first = testing.start(*SPEED, data=tmp_path)
    api = client_of(first)
    api.deployments_create(PROJECT, ubiops.DeploymentCreate(name="d", input_type="plain", output_type="plain"))
    api.deployment_versions_create(PROJECT, "d", ubiops.DeploymentVersionCreate(version="v1"))
    assert built(api, "d", tmp_path, package(PROCESS)).status == "success"
    pids = api.deployment_requests_create(PROJECT, "d", data="x").result[:2]
    api.api_client.close()
    acknowledged: list[str] = []
    threads = [threading.Thread(target=_write, args=(first, number, acknowledged)) for number in range(4)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(acknowledged), lambda count: count > 40)
    first.process.kill()
    first.stop()
    for thread in threads:
        thread.join()
    second = testing.start(*SPEED, data=tmp_path)
    try:
        assert not any(alive(pid) for pid in pids)
        api = client_of(second)
        names_after = {item.name for item in api.environments_list(PROJECT, system=False)}
        assert set(acknowledged) <= names_after
        assert len(names_after) <= len(acknowledged) + 4
        assert api.instances_list(PROJECT, "d", "v1").results == []
        api.api_client.close()
    finally:
        assert second.stop() == 0


def _write(emulator: Any, number: int, acknowledged: list[str]) -> None:
    with loopback.client(base_url=emulator.host, headers=headers(emulator.token)) as client:
        for count in range(10_000):
            name = f"e{number}-{count}"
            try:
                answer = client.post(f"/projects/{PROJECT}/environments", json={"name": name})
            except httpx.HTTPError:
                return
            assert answer.status_code == 201
            acknowledged.append(name)


def test_a_build_survives_a_restart(tmp_path: Path) -> None:
    first = testing.start("--speed", "5", data=tmp_path)
    api = client_of(first)
    api.deployments_create(PROJECT, ubiops.DeploymentCreate(name="d", input_type="plain", output_type="plain"))
    api.deployment_versions_create(PROJECT, "d", ubiops.DeploymentVersionCreate(version="v1"))
    path = tmp_path / "package.zip"
    path.write_bytes(package())
    upload = api.revisions_file_upload(PROJECT, "d", "v1", file=str(path), _progress_bar=False)
    eventually(
        lambda: api.revisions_get(PROJECT, "d", upload.revision, "v1").status, lambda status: status == "building"
    )
    api.api_client.close()
    first.process.kill()
    first.stop()
    second = testing.start(*SPEED, data=tmp_path)
    api = client_of(second)
    loopback.post(f"{second.root}/_emulator/clock", json={"advance": 60}, headers=headers(second.token))
    try:
        eventually(
            lambda: api.revisions_get(PROJECT, "d", upload.revision, "v1").status, lambda status: status == "success"
        )
    finally:
        api.api_client.close()
        assert second.stop() == 0


def test_two_emulators_on_one_folder_are_refused(emulator: Any) -> None:
    command = [sys.executable, "-m", "whisperctl", "emulator", "--port", "0", "--data", str(emulator.token_file.parent)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 1
    assert "another emulator works on" in second.stderr
    assert second.stdout == ""


def test_a_taken_port_is_told(emulator: Any, tmp_path: Path) -> None:
    port = emulator.root.rsplit(":", 1)[1]
    command = [sys.executable, "-m", "whisperctl", "emulator", "--port", port, "--data", str(tmp_path)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in second.stderr


def _entry(name: str, text: bytes = b"x", mode: int = 0) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        info.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(info, text)
    return stream.getvalue()


def _twice() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("deployment.py", "")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("deployment.py", "")
    return stream.getvalue()


UPLOADS: dict[str, tuple[Callable[[], bytes], str]] = {
    "traversal": (lambda: _entry("../../etc/passwd"), "outside itself"),
    "absolute": (lambda: _entry("/etc/passwd"), "outside itself"),
    "backslash": (lambda: _entry("..\\evil.py"), "outside itself"),
    "drive": (lambda: _entry("C:/evil.py"), "outside itself"),
    "symlink": (lambda: _entry("p/link", b"/etc/passwd", stat.S_IFLNK | 0o777), "link or special file"),
    "bomb": (lambda: _entry("p/deployment.py", b"\0" * 80 * 2**20), "compressed beyond reason"),
    "twice": (_twice, "twice"),
    "no zip": (lambda: b"not a zip", "not a valid zip"),
    "empty": (lambda: b"", "empty"),
}


@pytest.mark.parametrize("case", UPLOADS)
def test_harmful_uploads_are_a_clear_400(http: httpx.Client, name: str, version: Any, case: str) -> None:
    make, text = UPLOADS[case]
    path = f"/v2/projects/{PROJECT}/deployments/{name}/versions/v1/revisions"
    answer = http.post(path, files={"file": ("package.zip", make(), "application/zip")})
    assert answer.status_code == 400
    assert text in answer.json()["error"]
    assert http.get(path).json() == []


def test_too_large_an_upload_is_413(http: httpx.Client, name: str, version: Any) -> None:
    path = f"/v2/projects/{PROJECT}/deployments/{name}/versions/v1/revisions"
    http.patch("/_emulator/switches", json={"upload_mebibytes": 1})
    sized = http.post(path, files={"file": ("package.zip", b"x" * 3 * 2**20)})
    http.patch("/_emulator/switches", json={"upload_mebibytes": 2048})
    assert sized.status_code == 413
    assert http.get(path).json() == []


def test_an_archive_that_unpacks_to_too_much_is_refused(http: httpx.Client, name: str, version: Any) -> None:
    path = f"/v2/projects/{PROJECT}/deployments/{name}/versions/v1/revisions"
    http.patch("/_emulator/switches", json={"unpacked_mebibytes": 1})
    answer = http.post(path, files={"file": ("p.zip", _entry("p/deployment.py", b"ab" * 2**20))})
    http.patch("/_emulator/switches", json={"unpacked_mebibytes": 8192})
    assert (answer.status_code, "more than 1 MiB" in answer.json()["error"]) == (400, True)


def test_image_archives(http: httpx.Client, api: ubiops.CoreApi, name: str) -> None:
    api.environments_create(PROJECT, ubiops.EnvironmentCreate(name=name))
    body = ubiops.EnvironmentTagCreate(name="t1", supports_request_format=False)
    api.environment_tags_create(PROJECT, name, body)
    path = f"/v2/projects/{PROJECT}/environments/{name}/tags/t1/build"
    assert http.post(path, files={"file": ("image.tar.gz", b"no tar")}).status_code == 400
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("manifest.json"), io.BytesIO())
    files = {"file": ("image.tar.gz", stream.getvalue())}
    query = {"base_environment_name": BASE, "base_environment_tag": "v5.25.0"}
    assert http.post(path, files=files, params=query).status_code == 400
    assert http.post(path, files=files).json() == {"success": True}
    tag = eventually(lambda: api.environment_tags_get(PROJECT, name, "t1"), lambda tag: tag.status == "available")
    assert (tag.size, tag.base_environment_name) == (len(stream.getvalue()), None)


@pytest.mark.parametrize(
    ("files", "good"),
    [
        ({"any-name/deployment.py": "X"}, True),
        ({"deployment.py": "X"}, True),
        ({"a/x.py": "", "deployment_package/deployment.py": "X"}, True),
        ({"a/x.py": "", "b/deployment.py": "X"}, False),
        ({"a/other.py": "X"}, False),
    ],
)
def test_package_layouts(
    api: ubiops.CoreApi, name: str, tmp_path: Path, version: Any, files: dict[str, str], good: bool
) -> None:
    code = "class Deployment:\n    def request(self, data): return data\n"
    content = zipped({path: text.replace("X", code) for path, text in files.items()})
    revision = built(api, name, tmp_path, content)
    assert (revision.status == "success") is good, revision.error_message


def test_a_service_whose_port_was_taken_moves(tmp_path: Path) -> None:
    first = testing.start(*SPEED, "--runtime", "none", data=tmp_path)
    api = client_of(first)
    api.deployments_create(PROJECT, ubiops.DeploymentCreate(name="d", input_type="plain", output_type="plain"))
    api.deployment_versions_create(PROJECT, "d", ubiops.DeploymentVersionCreate(version="v1"))
    made = api.services_create(PROJECT, ubiops.ServiceCreate(name="d", deployment="d", port=8080))
    api.api_client.close()
    assert first.stop() == 0
    port = int(made.endpoint.rsplit(":", 1)[1])
    with socket.create_server(("127.0.0.1", port)):
        second = testing.start(*SPEED, "--runtime", "none", data=tmp_path)
        api = client_of(second)
        try:
            moved = eventually(
                lambda: api.services_get(PROJECT, "d").endpoint, lambda endpoint: endpoint != made.endpoint
            )
            assert loopback.get(f"{moved}/health", headers=headers(second.token)).status_code == 503
        finally:
            api.api_client.close()
            assert second.stop() == 0
    assert f"port {port} of service" in second.log.read_text()


def test_services_of_many_clients_listen_when_they_are_told(http: httpx.Client, name: str, version: Any) -> None:
    def make(number: int) -> int:
        body = {"name": f"{name}-{number}", "deployment": name, "port": 8080}
        endpoint = http.post(f"/v2/projects/{PROJECT}/services", json=body).json()["endpoint"]
        return loopback.get(endpoint).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(make, range(24))) == {401}
    for number in range(24):
        assert http.delete(f"/v2/projects/{PROJECT}/services/{name}-{number}").status_code == 204
