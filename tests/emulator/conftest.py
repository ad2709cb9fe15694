"""One emulator for all conformance tests (each uses names of its own), and clients to talk to it.

With WHISPERCTL_LIVE=1 the tests that need nothing but the official client run against the UbiOps project that
UBIOPS_API_HOST, UBIOPS_API_TOKEN and UBIOPS_PROJECT name; all others are skipped.
"""

from __future__ import annotations

import io
import os
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import ubiops

from tests.harness import loopback
from tests.harness.official import client_of
from ubiops_emulator import testing
from ubiops_emulator.testing import Emulator

LIVE = os.environ.get("WHISPERCTL_LIVE") == "1"
PROJECT = os.environ.get("UBIOPS_PROJECT", "") if LIVE else "demo"
PATIENCE = 1800.0 if LIVE else 20.0
BASE = "ubiops-ubuntu24-04-python3-12"
ECHO = """
class Deployment:
    def __init__(self, base_directory, context):
        print("starting", context["deployment"])

    def request(self, data):
        return {"echo": data}
"""


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    if LIVE:
        pytest.skip("speaks to the emulator itself, not to a live UbiOps")
    with testing.running("--speed", "1000", data=tmp_path_factory.mktemp("emulator")) as started:
        yield started


def live_client() -> ubiops.CoreApi:
    configuration = ubiops.Configuration(host=os.environ.get("UBIOPS_API_HOST", "https://api.ubiops.com/v2"))
    token = os.environ["UBIOPS_API_TOKEN"].removeprefix("Token ").strip()
    configuration.api_key["Authorization"] = f"Token {token}"
    return ubiops.CoreApi(ubiops.ApiClient(configuration))


@pytest.fixture(scope="session")
def api(request: pytest.FixtureRequest) -> Iterator[ubiops.CoreApi]:
    """The official client, to the emulator or, on demand, to a live project."""
    core = live_client() if LIVE else client_of(request.getfixturevalue("emulator"))
    yield core
    core.api_client.close()


@pytest.fixture
def http(emulator: Emulator) -> Iterator[httpx.Client]:
    """Raw HTTP with the token, for what the official client would not send."""
    headers = {"Authorization": f"Token {emulator.token}"}
    with loopback.client(base_url=emulator.root, headers=headers, timeout=30) as client:
        yield client


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    """A name that no other test uses; on a live project what bears it is deleted afterwards."""
    made = f"t{uuid.uuid4().hex[:12]}"
    yield made
    if LIVE:
        sweep(request.getfixturevalue("api"), made)


def sweep(api: ubiops.CoreApi, name: str) -> None:
    """Delete services, deployments and environments whose names begin so."""
    for kind, list_, delete in (
        ("service", api.services_list, api.services_delete),
        ("deployment", api.deployments_list, api.deployments_delete),
        ("environment", api.environments_list, api.environments_delete),
    ):
        for item in list_(PROJECT):
            if item.name.startswith(name):
                print(f"deleting {kind} {item.name}")
                delete(PROJECT, item.name)


def zipped(files: dict[str, str]) -> bytes:
    """A zip archive; the same files make the same bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return stream.getvalue()


def package(code: str = ECHO, **files: str) -> bytes:
    """A deployment package as people upload it; `requirements__txt` names a file beside deployment.py."""
    more = {f"deployment_package/{path.replace('__', '.')}": text for path, text in files.items()}
    return zipped({"deployment_package/deployment.py": code} | more)


def environment_package(requirements: str) -> bytes:
    return zipped({"environment_package/requirements.txt": requirements})


def written(folder: Path, content: bytes, file_name: str = "package.zip") -> str:
    path = folder / file_name
    path.write_bytes(content)
    return str(path)


def eventually(look: Callable[[], Any], fits: Callable[[Any], bool], seconds: float = PATIENCE) -> Any:
    """Poll until what is seen is what is wanted."""
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if fits(seen):
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
