"""One emulator for all conformance tests (each uses names of its own), and clients to talk to it."""

from __future__ import annotations

import io
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import ubiops

from tests.emulator_process import EmulatorProcess, start_emulator

PROJECT = "demo"
ECHO = """
class Deployment:
    def __init__(self, base_directory, context):
        print("starting", context["deployment"])

    def request(self, data):
        return {"echo": data}
"""


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    started = start_emulator(tmp_path_factory.mktemp("emulator"), "--speed", "1000")
    yield started
    assert started.stop() == 0


def client_of(emulator: EmulatorProcess, token: str | None = None) -> ubiops.CoreApi:
    """The official client as users set it up: validation on."""
    configuration = ubiops.Configuration(host=emulator.host)
    configuration.api_key["Authorization"] = f"Token {token or emulator.token}"
    return ubiops.CoreApi(ubiops.ApiClient(configuration))


@pytest.fixture(scope="session")
def api(emulator: EmulatorProcess) -> Iterator[ubiops.CoreApi]:
    core = client_of(emulator)
    yield core
    core.api_client.close()


@pytest.fixture
def http(emulator: EmulatorProcess) -> Iterator[httpx.Client]:
    """Raw HTTP with the token, for what the official client would not send."""
    headers = {"Authorization": f"Token {emulator.token}"}
    with httpx.Client(base_url=emulator.root, headers=headers, timeout=30) as client:
        yield client


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"t{uuid.uuid4().hex[:12]}"


def package(code: str = ECHO, **files: str) -> bytes:
    """A deployment package as people upload it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("deployment_package/deployment.py", code)
        for path, text in files.items():
            archive.writestr(f"deployment_package/{path.replace('__', '.')}", text)
    return stream.getvalue()


def environment_package(requirements: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("environment_package/requirements.txt", requirements)
    return stream.getvalue()


def written(folder: Path, content: bytes, file_name: str = "package.zip") -> str:
    path = folder / file_name
    path.write_bytes(content)
    return str(path)


def eventually(look: Callable[[], Any], wanted: Callable[[Any], bool], seconds: float = 20) -> Any:
    """Poll until what is seen is what is wanted."""
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if wanted(seen):
            return seen
        assert time.monotonic() < deadline, f"not seen in {seconds} s; last: {seen}"
        time.sleep(0.05)


@pytest.fixture
def version(api: ubiops.CoreApi, name: str) -> Any:
    """A plain deployment with one version, nothing uploaded."""
    api.deployments_create(PROJECT, ubiops.DeploymentCreate(name=name, input_type="plain", output_type="plain"))
    return api.deployment_versions_create(PROJECT, name, ubiops.DeploymentVersionCreate(version="v1"))


def built(api: ubiops.CoreApi, name: str, folder: Path, content: bytes | None = None) -> Any:
    """Upload a package to `name`/v1 and wait for its verdict."""
    path = written(folder, package() if content is None else content)
    upload = api.revisions_file_upload(PROJECT, name, "v1", file=path, _progress_bar=False)
    return eventually(
        lambda: api.revisions_get(PROJECT, name, upload.revision, "v1"),
        lambda revision: revision.status in {"success", "failed"},
    )
