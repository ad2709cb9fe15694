"""The command itself: what it prints, what it refuses, and `--runtime none`."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ubiops

from tests.emulator.conftest import LIVE, PROJECT, built, eventually, package
from tests.harness import loopback
from tests.harness.official import client_of
from ubiops_emulator import testing
from ubiops_emulator.runtime.models import served_names

UNHEALTHY = {"kind": "unhealthy"}
pytestmark = pytest.mark.skipif(LIVE, reason="starts emulators of its own")


def run(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "whisperctl", "emulator", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (["--fault", "nonsense"], 64, "unknown fault kind 'nonsense'; known: latency"),
        (["--fault", "latency,ms=x"], 64, "fault field ms: a number is required"),
        (["--switch", "rate_limit"], 64, "is not name=on, name=off or name=NUMBER"),
        (["--switch", "wild=on"], 64, "unknown switch wild; known: duplicate_status"),
        (["--speed", "0"], 64, "--speed"),
        (["--data", "/proc/nothing"], 1, "cannot write /proc/nothing: No such file or directory; use another --data"),
    ],
)
def test_wrong_usage_is_one_clear_message(args: list[str], code: int, text: str) -> None:
    done = run("--port", "0", *args)
    assert (done.returncode, done.stdout) == (code, "")
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_state_is_told(tmp_path: Path) -> None:
    (tmp_path / "state.sqlite").write_bytes(b"not a database" * 100)
    done = run("--port", "0", "--data", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: the state in {tmp_path} cannot be used: file is not a database")


def test_a_pipe_does_not_go_away_for_the_token(tmp_path: Path) -> None:
    """Nor what leads to one, as /dev/stdout does."""
    pipe = tmp_path / "pipe"
    os.mkfifo(tmp_path / "fifo")
    pipe.symlink_to("fifo")
    done = run("--port", "0", "--data", str(tmp_path / "data"), "--write-token", str(pipe))
    assert done.returncode == 1
    assert done.stderr == f"error: cannot write {pipe}: it is no file; use another --write-token\n"
    assert pipe.is_symlink()


def test_what_it_prints(tmp_path: Path) -> None:
    token = tmp_path / "with space" / "tokens file"
    token.parent.mkdir()
    emulator = testing.start("--write-token", str(token), data=tmp_path / "data")
    emulator.stop()
    assert emulator.output == [
        f"export UBIOPS_API_HOST={emulator.host}",
        "export UBIOPS_PROJECT=demo",
        f"export UBIOPS_API_TOKEN=\"$(cat '{token}')\"",
    ]
    assert f"running on {emulator.root}; Ctrl-C ends it" in emulator.log.read_text()
    assert len(token.read_text().strip()) == 40
    assert token.stat().st_mode & 0o777 == 0o600


def test_only_the_books(tmp_path: Path) -> None:
    emulator = testing.start("--speed", "1000", "--runtime", "none", data=tmp_path)
    api = client_of(emulator)
    try:
        _deploy(api, tmp_path)
        answer = api.deployment_requests_create(PROJECT, "d", data="x")
        assert "no code was executed" in answer.result
        states = [item.status for item in api.instances_list(PROJECT, "d", "v1").results]
        assert states == ["running"]
        made = api.services_get(PROJECT, "d")
        assert api.services_status_get(PROJECT, "d").ready is True
        headers = {"Authorization": f"Token {emulator.token}"}
        models = loopback.get(f"{made.endpoint}/v1/models", headers=headers).json()
        assert [item["id"] for item in models["data"]] == ["a/b", "c"]
        assert loopback.get(f"{made.endpoint}/health", headers=headers).status_code == 200
        assert loopback.get(f"{made.endpoint}/docs", headers=headers).status_code == 501
        assert loopback.post(f"{emulator.root}/_emulator/faults", headers=headers, json=UNHEALTHY).status_code == 200
        answer = loopback.get(f"{made.endpoint}/health", headers=headers)
        assert (answer.status_code, "not healthy" in answer.text) == (503, True)
        assert api.services_status_get(PROJECT, "d").ready is False
        loopback.request("DELETE", f"{emulator.root}/_emulator/faults", headers=headers)
        assert loopback.get(f"{made.endpoint}/health", headers=headers).status_code == 200
        api.instances_update(
            PROJECT,
            "d",
            api.instances_list(PROJECT, "d", "v1").results[0].id,
            "v1",
            ubiops.InstanceUpdate(status="stopped"),
        )
        eventually(lambda: api.instances_list(PROJECT, "d", "v1").results, lambda items: not items)
    finally:
        api.api_client.close()
        assert emulator.stop() == 0


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("CONFIG = {'served_names': ['a/b', 'c']}", []),
        (
            "CONFIG = {'port': 8080}\nX = ['vllm', 'serve', 'm', '--served-model-name', 'a/b', 'c', '--port', '1']",
            ["a/b", "c"],
        ),
        ("NAMES = ['a/b', 'c']\nX = ['--port', '1', '--served-model-name', *NAMES]", ["a/b", "c"]),
        ("C = {'names': ('a', 'b')}\nX = ['--served-model-name', *given.names, '--port']", ["a", "b"]),
        ("C = {'names': ('a', 'b')}\nX = ['--served-model-name', *C['names']]", ["a", "b"]),
        ("run(name='a')\nX = ['--served-model-name', name, 'b']", ["a", "b"]),
        ("NAMES = [x for x in 'ab']\nX = ['--served-model-name', *NAMES]", []),
        ("NAMES = ['a', n]\nX = ['--served-model-name', *NAMES]", []),
        ("X = ('serve', '--served-model-name', name, 'c')", []),
        ("X = 'vllm serve m --served-model-name a/b --port 1'", ["a/b"]),
        ("X = '--served-model-name'", []),
    ],
)
def test_models_that_a_package_names(code: str, names: list[str]) -> None:
    assert served_names(ast.parse(code)) == names


def _deploy(api: Any, folder: Path) -> None:
    api.deployments_create(PROJECT, ubiops.DeploymentCreate(name="d", input_type="plain", output_type="plain"))
    version = ubiops.DeploymentVersionCreate(
        version="v1",
        health_check={"port": 8080, "path": "/health"},
        maximum_instances=1,
        labels={"openai-model-names": "a/b;c"},
    )
    api.deployment_versions_create(PROJECT, "d", version)
    revision = built(api, "d", folder, package(requirements__txt="no-such-thing==1\n"))
    assert revision.status == "success"
    api.services_create(PROJECT, ubiops.ServiceCreate(name="d", deployment="d", port=8080))
