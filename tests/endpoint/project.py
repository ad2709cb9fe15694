"""A UbiOps (the emulator) in front of the test server's instance, and the commands in it."""

from __future__ import annotations

import io
import subprocess
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.endpoint import fake_vllm, tones
from tests.harness import loopback, program
from ubiops_emulator import testing
from ubiops_emulator.testing import Emulator
from whisperctl.control.api import Api

DEPLOYMENT = """
import json, os, threading
import fake_vllm

class Deployment:
    def __init__(self, base_directory, context):
        vllm = fake_vllm.FakeVllm()
        vllm.token = None
        server = fake_vllm.bound(vllm, int(os.environ["WHISPERCTL_PORT"]))
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def request(self, data):
        return json.dumps({"status": "healthy", "asked": data})
"""


def package() -> bytes:
    """The test server as a deployment package."""
    return package_of(DEPLOYMENT, *(Path(str(module.__file__)) for module in (fake_vllm, tones)))


def package_of(deployment: str, *sources: Path) -> bytes:
    """A deployment package of this code, with modules beside it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("deployment_package/deployment.py", deployment)
        for source in sources:
            text = source.read_text().replace("from tests.endpoint import", "import")
            archive.writestr(f"deployment_package/{source.name}", text)
    return stream.getvalue()


class Project:
    """A project in which `tones` is deployed, asleep until a request wakes it."""

    def __init__(self, emulator: Emulator, content: bytes) -> None:
        self.emulator, self.content = emulator, content
        self.api = Api(emulator.host, "demo", emulator.token)

    def deploy(self) -> None:
        self.api.create_deployment({"name": "tones", "input_type": "plain", "output_type": "plain"})
        group = next(one["name"] for one in self.api.groups() if "vCPU" in one["name"])
        self.api.create_version(
            "tones",
            {
                "version": "v1",
                "environment": "ubiops-ubuntu24-04-python3-12",
                "instance_type_group_name": group,
                "minimum_instances": 0,
                "maximum_instances": 1,
                "maximum_idle_time": 900,
                "health_check": {"port": 8080, "path": "/health", "interval": 1},
            },
        )
        revision = self.upload()
        until(lambda: self.api.revision("tones", "v1", revision)["status"] == "success")
        self.api.create_service({"name": "tones-service", "deployment": "tones", "version": "v1", "port": 8080})

    def upload(self) -> str:
        """Upload the package; plainly, because the official client leaves the file that it uploads open."""
        answer = loopback.post(
            f"{self.emulator.host}/projects/demo/deployments/tones/versions/v1/revisions",
            headers={"Authorization": f"Token {self.emulator.token}"},
            files={"file": ("package.zip", self.content, "application/zip")},
        )
        return str(answer.json()["revision"])

    def environment(self) -> dict[str, str]:
        return program.environment(self.emulator, UBIOPS_API_TOKEN=f"Token {self.emulator.token}", COLUMNS="")

    def run(self, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        ran = program.run(*arguments, environ=self.environment(), folder=folder)
        assert self.emulator.token not in ran.all
        assert "Traceback" not in ran.err, ran.err
        return subprocess.CompletedProcess(arguments, ran.code, ran.out, ran.err)


def until(met: Any, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def deployed(data: Path, content: bytes | None = None) -> Iterator[Project]:
    """A project of its own, with an instance of a package that is awake (the test server's), until the block ends."""
    emulator = testing.start("--speed", "1000", data=data)
    try:
        fresh = Project(emulator, content or package())
        fresh.deploy()
        fresh.api.create_request("tones", "v1", "wake up", 60)
        until(lambda: fresh.api.service_status("tones-service")["ready"])
        yield fresh
    finally:
        emulator.stop()
