"""`--builds venv`: a tag's requirements are really installed, once for each content, and instances run on them."""

from __future__ import annotations

import hashlib
import zipfile
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
import ubiops

from tests.emulator.conftest import BASE, LIVE, PROJECT, built, environment_package, eventually, package, written
from tests.harness.official import client_of
from ubiops_emulator import testing

pytestmark = pytest.mark.skipif(LIVE, reason="starts emulators of its own")
USER = """
import sys, tinything
class Deployment:
    def __init__(self, base_directory, context): pass
    def request(self, data): return [tinything.ANSWER, sys.prefix]
"""


def wheel(folder: Path) -> Path:
    """A distribution that no index has."""
    files = {
        "tinything.py": "ANSWER = 42\n",
        "tinything-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tinything\nVersion: 1.0\n",
        "tinything-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for name, text in files.items():
        digest = urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(text)}\n"
    path = folder / "tinything-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr("tinything-1.0.dist-info/RECORD", f"{record}tinything-1.0.dist-info/RECORD,,\n")
    return path


def test_requirements_are_installed(tmp_path: Path) -> None:
    emulator = testing.start("--speed", "1000", "--builds", "venv", data=tmp_path / "data")
    api = client_of(emulator)
    try:
        api.environments_create(PROJECT, ubiops.EnvironmentCreate(name="e"))
        _built_tag(api, tmp_path, "good", f"tinything @ file://{wheel(tmp_path)}\n", "available")
        error = _built_tag(api, tmp_path, "bad", "tinything @ file:///no/such.whl\n", "failed")
        assert "Installing the requirements failed" in error
        _built_tag(api, tmp_path, "again", f"tinything @ file://{wheel(tmp_path)}\n", "available")
        lines = api.logs_list(PROJECT, query="| environment_name=`e` and environment_tag=`again`")
        assert any("Using the environment built before" in line.log for line in lines)
        api.deployments_create(PROJECT, ubiops.DeploymentCreate(name="d", input_type="plain", output_type="plain"))
        version = ubiops.DeploymentVersionCreate(version="v1", environment_name="e", environment_tag="good")
        api.deployment_versions_create(PROJECT, "d", version)
        revision = built(api, "d", tmp_path, package(USER))
        assert (revision.status, revision.error_message) == ("success", "")
        answer, prefix = api.deployment_requests_create(PROJECT, "d", data="x").result
        assert answer == 42
        assert Path(prefix).parent == (tmp_path / "data" / "venvs").resolve()
    finally:
        api.api_client.close()
        assert emulator.stop() == 0


def _built_tag(api: ubiops.CoreApi, folder: Path, name: str, requirements: str, status: str) -> str:
    api.environment_tags_create(PROJECT, "e", ubiops.EnvironmentTagCreate(name=name))
    archive = written(folder, environment_package(requirements), f"{name}.zip")
    base = {"base_environment_name": BASE, "base_environment_tag": "v5.25.0"}
    api.environment_tags_build(PROJECT, "e", name, file=archive, **base)
    tag = eventually(
        lambda: api.environment_tags_get(PROJECT, "e", name),
        lambda tag: tag.status in {"available", "failed"},
        seconds=90,
    )
    assert tag.status == status, tag.error_message
    return str(tag.error_message)
