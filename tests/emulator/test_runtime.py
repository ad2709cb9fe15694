"""Instances as processes: woken, scaled, idle, crashing, side by side; with a clock that leaps."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import ubiops
from ubiops.utils.streaming import stream_request

from tests.emulator.conftest import LIVE, PROJECT, built, eventually, package
from tests.emulator.web_package import WEB
from tests.harness import loopback
from tests.harness.official import client_of
from ubiops_emulator import testing
from ubiops_emulator.platform import launching
from ubiops_emulator.store import Store
from ubiops_emulator.testing import Emulator

pytestmark = pytest.mark.skipif(LIVE, reason="starts emulators of its own")
PROCESS = """
import os, subprocess, sys
class Deployment:
    def __init__(self, base_directory, context):
        self.child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        print("LEVEL", os.environ.get("LEVEL"), "PATH", os.environ["PATH"].split(":")[0], flush=True)
        print("complaint", file=sys.stderr, flush=True)
    def request(self, data):
        if data == "crash":
            os._exit(7)
        if data == "fail":
            raise ValueError("no good")
        return [os.getpid(), self.child.pid, os.environ.get("LEVEL"), os.environ.get("UBIOPS_SECRET")]
"""


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator of this module's own: its clock leaps."""
    with testing.running("--speed", "1000", data=tmp_path_factory.mktemp("runtime")) as started:
        yield started


@pytest.fixture(scope="module")
def api(emulator: Emulator) -> Iterator[ubiops.CoreApi]:
    core = client_of(emulator)
    yield core
    core.api_client.close()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def instances(api: ubiops.CoreApi, name: str) -> list[Any]:
    return list(api.instances_list(PROJECT, name, "v1").results)


@pytest.fixture
def ready(api: ubiops.CoreApi, name: str, tmp_path: Path, version: Any) -> str:
    """A built deployment, asleep."""
    assert built(api, name, tmp_path, package(PROCESS)).status == "success"
    return name


def ask(api: ubiops.CoreApi, name: str, data: str = "x") -> Any:
    return api.deployment_requests_create(PROJECT, name, data=data)


def test_wakes_idles_and_takes_its_children_along(api: ubiops.CoreApi, http: httpx.Client, ready: str) -> None:
    assert instances(api, ready) == []
    answer = ask(api, ready)
    pids = answer.result[:2]
    assert all(alive(pid) for pid in pids)
    http.post("/_emulator/clock", json={"advance": 200})
    assert ask(api, ready).result[:2] == pids
    http.post("/_emulator/clock", json={"advance": 200})
    assert len(instances(api, ready)) == 1
    http.post("/_emulator/clock", json={"advance": 150})
    eventually(lambda: instances(api, ready), lambda items: not items)
    assert not any(alive(pid) for pid in pids)


def test_minimum_and_maximum(api: ubiops.CoreApi, ready: str) -> None:
    def scaled(low: int, high: int) -> Any:
        update = ubiops.DeploymentVersionUpdate(minimum_instances=low, maximum_instances=high)
        api.deployment_versions_update(PROJECT, ready, "v1", update)
        return eventually(
            lambda: instances(api, ready),
            lambda items: len(items) == low and all(item.status == "running" for item in items),
        )

    first = scaled(2, 2)
    assert len({ask(api, ready).result[0] for _ in range(2)}) >= 1
    fewer = scaled(1, 1)
    assert {item.id for item in fewer} < {item.id for item in first}
    scaled(0, 0)
    with pytest.raises(ubiops.exceptions.ApiException) as refused:
        ask(api, ready)
    assert "maximum_instances is 0" in str(refused.value)


def test_a_crash_is_seen_logged_and_repaired(api: ubiops.CoreApi, ready: str) -> None:
    first = ask(api, ready).result
    before = instances(api, ready)[0]
    answer = ask(api, ready, "crash")
    assert (answer.status, answer.error_message) == ("failed", "the instance's process ended with code 7")
    again = ask(api, ready).result
    assert again[0] != first[0]
    assert not alive(first[1])
    assert instances(api, ready)[0].id == before.id
    texts = [item.description for item in api.instance_events_list(PROJECT, ready, before.id, "v1").results]
    assert any("ended with code 7" in text for text in texts)
    events = api.project_events_list(PROJECT, type="instance_crashed")
    assert any(item.parent_object_name == ready for item in events)
    lines = api.logs_list(PROJECT, query=f"| deployment_name=`{ready}` and level=`error` |= `ended with code 7`")
    assert len(lines) == 1
    os.kill(again[0], signal.SIGKILL)
    third = eventually(lambda: ask(api, ready), lambda answer: answer.status == "completed")
    assert third.result[0] != again[0]


def test_errors_and_output_of_request(api: ubiops.CoreApi, ready: str) -> None:
    answer = ask(api, ready, "fail")
    assert (answer.status, answer.error_message) == ("failed", "ValueError: no good")
    lines = eventually(
        lambda: api.logs_list(PROJECT, query=f"| deployment_name=`{ready}` and system=`false`"),
        lambda items: any("ValueError: no good" in item.log for item in items),
    )
    by_level = {item.log.split()[0]: item.metadata for item in lines}
    assert by_level["LEVEL"].level == "info"
    assert by_level["complaint"].level == "error"
    assert by_level["complaint"].instance_id == instances(api, ready)[0].id
    traced = next(item for item in lines if item.log == "ValueError: no good")
    assert traced.metadata.deployment_request_id == answer.id


def test_environment_of_an_instance(api: ubiops.CoreApi, emulator: Emulator, ready: str) -> None:
    for create, args, value in (
        (api.project_environment_variables_create, (), "project"),
        (api.deployment_environment_variables_create, (ready,), "deployment"),
        (api.deployment_version_environment_variables_create, (ready, "v1"), "version"),
    ):
        create(PROJECT, *args, ubiops.EnvironmentVariableCreate(name="LEVEL", value=value, secret=value == "version"))
    assert ask(api, ready).result[2:] == ["version", None]
    line = api.logs_list(PROJECT, query=f"| deployment_name=`{ready}` |= `LEVEL`")[0].log
    assert line.split()[-1] == str(Path(sys.executable).parent)
    update = ubiops.EnvironmentVariableCreate(name="LEVEL", value="later", secret=True)
    api.deployment_version_environment_variables_update(PROJECT, ready, "LEVEL", "v1", update)
    assert ask(api, ready).result[2] == "version"
    api.instances_update(PROJECT, ready, instances(api, ready)[0].id, "v1", ubiops.InstanceUpdate(status="stopped"))
    assert ask(api, ready).result[2] == "later"
    api.project_environment_variables_delete(PROJECT, "LEVEL")


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system does not tell which cores there are")
def test_instances_that_start_one_after_the_other_are_not_all_bound_to_the_same_cores() -> None:
    usable = os.sched_getaffinity(0)
    if len(usable) < 2:
        assert launching.cores(0) == launching.cores(1) == "auto"
        return
    given = [{int(core) for core in launching.cores(turn).split(",")} for turn in range(len(usable) + 1)]
    assert all(len(one) == len(usable) - 1 and one < usable for one in given)
    assert set.union(*given[:2]) == usable
    assert given[-1] == given[0]


def test_an_instance_has_the_users_caches_and_little_else_of_his(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "DEBUG")
    monkeypatch.setenv("HF_HOME", "/models")
    monkeypatch.delenv("VLLM_CACHE_ROOT", raising=False)
    with closing(Store(tmp_path)) as store:
        default = launching.shell(store, sys.executable, {})
        monkeypatch.setenv("VLLM_CACHE_ROOT", "/elsewhere")
        own = launching.shell(store, sys.executable, {"HF_HOME": "/the/version's"})

    assert (default["HF_HOME"], default["VLLM_CACHE_ROOT"]) == ("/models", "/home/me/.cache/vllm")
    assert (own["HF_HOME"], own["VLLM_CACHE_ROOT"]) == ("/the/version's", "/elsewhere")
    assert "VLLM_LOGGING_LEVEL" not in own
    assert own["HOME"] == str(tmp_path / "home")


def test_a_new_revision_replaces_instances(api: ubiops.CoreApi, ready: str, tmp_path: Path) -> None:
    old = ask(api, ready).result[0]
    revision = built(api, ready, tmp_path, package(PROCESS.replace("os.getpid(),", "'new',")))
    assert revision.status == "success"
    eventually(lambda: alive(old), lambda yes: not yes)
    eventually(lambda: [item.status for item in instances(api, ready)], lambda states: states == ["running"])
    assert ask(api, ready).result[0] == "new"


STREAM = """
class Deployment:
    def __init__(self, base_directory, context): pass
    def request(self, data, context):
        for word in data.split():
            context["streaming_update"](word)
        return "done"
"""
MANY = """
class Deployment:
    def __init__(self, base_directory, context): pass
    def requests(self, data): return [item.upper() for item in data]
"""


def test_streamed_requests(api: ubiops.CoreApi, name: str, tmp_path: Path, version: Any) -> None:
    assert built(api, name, tmp_path, package(STREAM)).status == "success"
    items = list(stream_request(api.api_client, PROJECT, "deployment", name, "v1", "a b c", full_response=True))
    assert items[:3] == ["a", "b", "c"]
    assert (items[3].status, items[3].result) == ("completed", "done")


def test_a_class_with_requests_only(api: ubiops.CoreApi, name: str, tmp_path: Path, version: Any) -> None:
    revision = built(api, name, tmp_path, package(MANY))
    assert (revision.has_request_method, revision.has_requests_method) == (False, True)
    assert ask(api, name, "loud").result == "LOUD"


@pytest.mark.parametrize(("mode", "listed", "data"), [("none", 0, None), ("metadata", 1, None), ("full", 1, "x")])
def test_retention(
    api: ubiops.CoreApi, http: httpx.Client, ready: str, mode: str, listed: int, data: str | None
) -> None:
    update = ubiops.DeploymentVersionUpdate(request_retention_mode=mode, request_retention_time=3600)
    api.deployment_versions_update(PROJECT, ready, "v1", update)
    assert ask(api, ready).status == "completed"
    items = api.deployment_requests_list(PROJECT, ready)
    assert len(items) == listed
    for item in items:
        assert api.deployment_requests_input_get(PROJECT, ready, item.id).json() == data
    http.post("/_emulator/clock", json={"advance": 3601})
    eventually(lambda: api.deployment_requests_list(PROJECT, ready), lambda left: left == [])


def test_a_request_gives_up_in_time(
    api: ubiops.CoreApi, http: httpx.Client, name: str, tmp_path: Path, version: Any
) -> None:
    broken = "import os\nclass Deployment:\n    def __init__(self, b, c): os._exit(3)\n    def request(self, d): pass\n"
    assert built(api, name, tmp_path, package(broken)).status == "success"
    leap = threading.Timer(0.7, http.post, ("/_emulator/clock",), {"json": {"advance": 3600}})
    leap.start()
    answer = api.deployment_requests_create(PROJECT, name, data="x", timeout=3600)
    leap.join()
    assert (answer.status, answer.error_message) == ("failed", "The request timed out after 3600 seconds")
    assert api.deployment_versions_get(PROJECT, name, "v1").status == "unavailable"
    api.deployment_versions_delete(PROJECT, name, "v1")


def test_two_stacks_with_one_port_side_by_side(
    api: ubiops.CoreApi, emulator: Emulator, name: str, tmp_path: Path
) -> None:
    pids = set()
    for stack in (f"{name}-a", f"{name}-b"):
        api.deployments_create(PROJECT, ubiops.DeploymentCreate(name=stack, input_type="plain", output_type="plain"))
        api.deployment_versions_create(PROJECT, stack, ubiops.DeploymentVersionCreate(version="v1"))
        assert built(api, stack, tmp_path, package(WEB)).status == "success"
        made = api.services_create(PROJECT, ubiops.ServiceCreate(name=stack, deployment=stack, port=8080))
        asked = ask(api, stack).result
        headers = {"Authorization": f"Token {emulator.token}"}
        answer = loopback.get(f"{made.endpoint}/pid", headers=headers)
        assert answer.text == str(asked)
        pids.add(answer.text)
        api.services_delete(PROJECT, stack)
    assert len(pids) == 2
    for stack in (f"{name}-a", f"{name}-b"):
        api.deployments_delete(PROJECT, stack)
    eventually(lambda: any(alive(int(pid)) for pid in pids), lambda yes: not yes)


def test_service_traffic_and_sleep(
    api: ubiops.CoreApi, emulator: Emulator, http: httpx.Client, name: str, tmp_path: Path, version: Any
) -> None:
    assert built(api, name, tmp_path, package(WEB)).status == "success"
    made = api.services_create(PROJECT, ubiops.ServiceCreate(name=name, deployment=name, port=8080))
    headers = {"Authorization": f"Token {emulator.token}"}
    asleep = loopback.get(f"{made.endpoint}/health", headers=headers)
    assert asleep.status_code == 503
    assert f"POST …/deployments/{name}/versions/v1/requests" in asleep.json()["error"]
    assert instances(api, name) == []
    http.patch("/_emulator/switches", json={"service_traffic_wakes": True, "service_traffic_keeps_awake": True})
    eventually(lambda: loopback.get(f"{made.endpoint}/health", headers=headers).status_code, lambda code: code == 200)
    for _ in range(3):
        http.post("/_emulator/clock", json={"advance": 200})
        assert loopback.get(f"{made.endpoint}/health", headers=headers).status_code == 200
    http.patch("/_emulator/switches", json={"service_traffic_wakes": False, "service_traffic_keeps_awake": False})
    api.services_delete(PROJECT, name)
