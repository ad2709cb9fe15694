"""The official `ubiops` command line as people run it: another process, with a home of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ubiops

from tests.emulator.conftest import BASE, LIVE, PROJECT, environment_package, package, written

UBIOPS = shutil.which("ubiops", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
pytestmark = [
    pytest.mark.skipif(UBIOPS is None, reason="the official command line (ubiops-cli) is not installed"),
    pytest.mark.skipif(LIVE, reason="signs in with the emulator's token"),
]
Run = Callable[..., str]


@pytest.fixture(scope="module")
def run(emulator: Any, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run it; its standard output, or an assertion with what it complained of."""
    home = tmp_path_factory.mktemp("home")
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONWARNINGS": "ignore", "LC_ALL": "C.UTF-8"}

    def made(*args: str, code: int = 0) -> str:
        done = subprocess.run(
            [str(UBIOPS), *args], capture_output=True, text=True, timeout=60, env=env, cwd=home, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + (done.stderr if code else "")

    made("signin", "--token", "-p", f"Token {emulator.token}", "--api", emulator.host)
    return made


def test_the_main_resources(run: Run, api: ubiops.CoreApi, name: str, tmp_path: Path) -> None:
    deployment = tmp_path / "deployment.yaml"
    deployment.write_text("input_type: plain\noutput_type: plain\ndeployment_description: from the command line\n")
    run("deployments", "create", name, "-f", str(deployment))
    _environment(run, name, tmp_path)
    limits = ["--minimum_instances", "0", "--maximum_instances", "1", "--maximum_idle_time", "300"]
    health = ["--hc_port", "8080", "--hc_path", "/health", "--hc_interval", "5", "--hc_timeout", "3"]
    run("versions", "create", "v1", "-d", name, "-e", name, "--tag", "t1", *limits, *health)
    assert api.deployment_versions_get(PROJECT, name, "v1").health_check.port == 8080
    run("env", "create", "GREETING", "--value", "again", "-d", name, "-v", "v1", "--overwrite")
    assert "again" in run("env", "list", "-d", name, "-v", "v1")
    archive = written(tmp_path, package())
    run("revisions", "upload", "-d", name, "-v", "v1", "-a", archive, "-pb", "False")
    run("versions", "wait", "v1", "-d", name)
    assert "success" in run("revisions", "list", "-d", name, "-v", "v1")
    service = tmp_path / "service.yaml"
    service.write_text(f"service_deployment: {name}\nservice_version: v1\nport: 8080\nrate_limit: 100\n")
    run("services", "create", name, "-f", str(service), "--overwrite")
    assert json.loads(run("services", "get", name, "-fmt", "json"))["endpoint"].startswith("http://127.0.0.1:")
    assert "ready: false" in run("services", "status", name)
    run("deployments", "requests", "create", name, "-v", "v1", "--data", "hello")
    assert "running" in run("instances", "list", "-d", name, "-v", "v1")
    logs = run("logs", "-q", f'| deployment_name="{name}"', "--no_pager")
    assert f"starting {name}" in logs
    run("services", "delete", name, "--assume_yes")
    run("deployments", "delete", name, "--assume_yes")
    assert "was not found" in run("deployments", "get", name, code=1)


def _environment(run: Run, name: str, tmp_path: Path) -> None:
    described = tmp_path / "environment.yaml"
    described.write_text(f"environment_name: {name}\nenvironment_description: mine\n")
    run("environments", "create", "-f", str(described))
    run("tags", "create", "t1", "-e", name)
    archive = written(tmp_path, environment_package("click\n"), "environment.zip")
    run("tags", "build", "t1", "-e", name, "-base_env", BASE, "-base_tag", "v5.25.0", "-a", archive, "-pb", "False")
    assert "t1" in run("tags", "list", "-e", name)
