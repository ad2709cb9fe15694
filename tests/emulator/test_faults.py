"""Faults, limiter, journal, switches, reset and snapshots: each does what it says, and only with the token."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import ubiops

from tests.emulator.conftest import LIVE, PROJECT, built, eventually, package
from tests.emulator.web_package import WEB
from tests.harness import loopback
from tests.harness.official import client_of
from ubiops_emulator import testing
from ubiops_emulator.testing import Emulator

pytestmark = pytest.mark.skipif(LIVE, reason="starts emulators of its own")
DEPLOYMENTS = f"/v2/projects/{PROJECT}/deployments"
PLAIN = {"input_type": "plain", "output_type": "plain"}


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator of this module's own: it is made to misbehave."""
    with testing.running(
        "--speed", "1000", "--fault", "latency,ms=1,path=/none", data=tmp_path_factory.mktemp("faults")
    ) as started:
        yield started


@pytest.fixture(scope="module")
def api(emulator: Emulator) -> Iterator[ubiops.CoreApi]:
    core = client_of(emulator)
    yield core
    core.api_client.close()


@pytest.fixture(autouse=True)
def unbroken(http: httpx.Client) -> Iterator[None]:
    yield
    http.delete("/_emulator/faults")
    http.patch("/_emulator/switches", json={"rate_limit": 0})


def fault(http: httpx.Client, kind: str, **values: Any) -> None:
    assert http.post("/_emulator/faults", json={"kind": kind, **values}).status_code == 200


def test_latency(http: httpx.Client) -> None:
    fault(http, "latency", ms=300, jitter=50, count=1, path="/deployments$")
    began = time.monotonic()
    http.get(DEPLOYMENTS)
    assert time.monotonic() - began >= 0.25
    began = time.monotonic()
    http.get(DEPLOYMENTS)
    assert time.monotonic() - began < 0.2


def test_throttled_client_waits_and_goes_on(http: httpx.Client, api: ubiops.CoreApi) -> None:
    fault(http, "throttle", reset=0, count=1)
    assert api.deployments_list(PROJECT) is not None
    fault(http, "throttle", reset=7, count=1)
    answer = http.get(DEPLOYMENTS)
    assert answer.status_code == 429
    assert (answer.headers["x-ratelimit-reset"], answer.headers["x-ratelimit-remaining"]) == ("7", "0")


def test_html_errors(http: httpx.Client, api: ubiops.CoreApi) -> None:
    fault(http, "error", status=503, method="GET", count=1)
    answer = http.get(DEPLOYMENTS)
    assert (answer.status_code, answer.headers["content-type"]) == (503, "text/html; charset=utf-8")
    assert http.get(DEPLOYMENTS).status_code == 200


@pytest.mark.parametrize(("kind", "there"), [("drop-before", False), ("drop-after", True)])
def test_dropped_answers(http: httpx.Client, name: str, kind: str, there: bool) -> None:
    fault(http, kind, method="POST", path="/deployments$", count=1)
    with pytest.raises(httpx.TransportError):
        http.post(DEPLOYMENTS, json={"name": name} | PLAIN)
    assert (http.get(f"{DEPLOYMENTS}/{name}").status_code == 200) is there
    last = [entry for entry in http.get("/_emulator/journal").json() if entry.get("fault") == kind][-1]
    assert (last["status"], last["method"], last["path"]) == (0, "POST", DEPLOYMENTS)


def test_a_dropped_upload_has_had_its_effect(http: httpx.Client, name: str, version: Any) -> None:
    path = f"{DEPLOYMENTS}/{name}/versions/v1/revisions"
    fault(http, "drop-after", method="POST", path="/revisions$", count=1)
    with pytest.raises(httpx.TransportError):
        http.post(path, files={"file": ("p.zip", package())})
    assert len(http.get(path).json()) == 1


def test_stale_reads(http: httpx.Client, name: str) -> None:
    http.post(DEPLOYMENTS, json={"name": name} | PLAIN)
    fault(http, "stale", path=f"/{name}$", probability=0.0)
    http.get(f"{DEPLOYMENTS}/{name}")
    http.patch(f"{DEPLOYMENTS}/{name}", json={"description": "new"})
    http.delete("/_emulator/faults")
    fault(http, "stale", path=f"/{name}$")
    http.get(f"{DEPLOYMENTS}/{name}")
    http.patch(f"{DEPLOYMENTS}/{name}", json={"description": "newer"})
    assert http.get(f"{DEPLOYMENTS}/{name}").json()["description"] == "new"
    assert http.get(f"{DEPLOYMENTS}/{name}").json()["description"] == "newer"
    http.patch(f"{DEPLOYMENTS}/{name}", json={"description": "newest"})
    http.delete("/_emulator/faults")
    assert http.get(f"{DEPLOYMENTS}/{name}").json()["description"] == "newest"


def test_a_created_object_may_seem_absent(http: httpx.Client, name: str) -> None:
    fault(http, "stale", path=f"/{name}$")
    assert http.get(f"{DEPLOYMENTS}/{name}").status_code == 404
    http.post(DEPLOYMENTS, json={"name": name} | PLAIN)
    assert http.get(f"{DEPLOYMENTS}/{name}").status_code == 404
    assert http.get(f"{DEPLOYMENTS}/{name}").status_code == 200


def test_failing_and_endless_builds(
    http: httpx.Client, api: ubiops.CoreApi, name: str, tmp_path: Path, version: Any
) -> None:
    fault(http, "build-fail", text="out of credits", count=1)
    failed = built(api, name, tmp_path)
    assert (failed.status, failed.error_message) == ("failed", "out of credits")
    fault(http, "build-endless", count=1)
    again = api.revisions_rebuild(PROJECT, name, failed.id, "v1", data={})
    eventually(lambda: api.revisions_get(PROJECT, name, again.id, "v1").status, lambda status: status == "building")
    http.post("/_emulator/clock", json={"advance": 100_000})
    time.sleep(0.2)
    assert api.revisions_get(PROJECT, name, again.id, "v1").status == "building"
    assert built(api, name, tmp_path).status == "success"


def test_an_endless_tag_build_can_be_cancelled(http: httpx.Client, api: ubiops.CoreApi, name: str) -> None:
    api.environments_create(PROJECT, ubiops.EnvironmentCreate(name=name))
    api.environment_tags_create(PROJECT, name, ubiops.EnvironmentTagCreate(name="t1"))
    fault(http, "build-endless", count=1)
    path = f"/v2/projects/{PROJECT}/environments/{name}/tags/t1"
    query = {"base_environment_name": "ubiops-ubuntu24-04-python3-13", "base_environment_tag": "v5.25.0"}
    assert http.post(f"{path}/build", params=query, files={"file": ("e.zip", package())}).status_code == 200
    assert http.delete(path).status_code == 400
    eventually(lambda: http.get(path).json()["status"], lambda status: status == "building")
    tag = api.environment_tags_update(PROJECT, name, "t1", ubiops.EnvironmentTagUpdate(status="cancelled"))
    assert tag.status == "cancelled"
    assert http.patch(path, json={"status": "cancelled"}).status_code == 400
    assert http.delete(path).status_code == 204


def test_instances_that_do_not_get_healthy(
    http: httpx.Client, api: ubiops.CoreApi, name: str, tmp_path: Path, version: Any
) -> None:
    fault(http, "unhealthy")
    check = {"health_check": {"port": 8080, "path": "/health", "interval": 1}, "minimum_instances": 1}
    http.patch(f"{DEPLOYMENTS}/{name}/versions/v1", json=check)
    assert built(api, name, tmp_path, package(WEB)).status == "success"
    api.services_create(PROJECT, ubiops.ServiceCreate(name=name, deployment=name, port=8080))
    eventually(
        lambda: [item.status for item in api.instances_list(PROJECT, name, "v1").results],
        lambda states: states == ["running"],
    )
    assert api.services_status_get(PROJECT, name).ready is False
    http.delete("/_emulator/faults")
    eventually(lambda: api.services_status_get(PROJECT, name).ready, bool)
    api.services_delete(PROJECT, name)
    api.deployments_delete(PROJECT, name)


def test_the_real_limiter(http: httpx.Client) -> None:
    quiet = http.get("/v2/status").headers
    assert quiet["x-ratelimit-limit"] == "30"
    http.patch("/_emulator/switches", json={"rate_limit": 300})
    codes = [http.get(DEPLOYMENTS) for _ in range(301)]
    refused = codes[-1]
    assert refused.status_code == 429
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert 0 < int(refused.headers["x-ratelimit-reset"]) <= 60
    assert http.get(f"/v2/projects/{PROJECT}/environments/x/tags/y/download").status_code == 404
    http.post("/_emulator/clock", json={"advance": 60})
    assert http.get(DEPLOYMENTS).status_code == 200


def test_every_answer_tells_the_limit(http: httpx.Client) -> None:
    for path, status in (("/v2/status", 200), (DEPLOYMENTS, 200), (f"{DEPLOYMENTS}/no", 404), ("/v2/no", 501)):
        answer = http.get(path)
        assert answer.status_code == status
        assert {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"} <= set(answer.headers)
    assert "GET /v2/no" in http.get("/v2/no").json()["error"]


def test_journal_counts_and_tells_no_secrets(http: httpx.Client, emulator: Emulator, name: str) -> None:
    http.delete("/_emulator/journal")
    http.get(f"{DEPLOYMENTS}/none")
    start = http.get("/_emulator/journal").json()[-1]["n"]
    http.get(DEPLOYMENTS)
    http.post(f"/v2/projects/{PROJECT}/environment-variables", json={"name": "K", "value": name, "secret": True})
    entries = http.get("/_emulator/journal", params={"since": start}).json()
    assert [(entry["method"], entry["status"]) for entry in entries] == [("GET", 200), ("POST", 201)]
    text = http.get("/_emulator/journal").text
    assert name not in text
    assert emulator.token not in text
    http.delete(f"/v2/projects/{PROJECT}/environment-variables/K")


@pytest.mark.parametrize("path", ["journal", "faults", "switches"])
def test_control_needs_the_token_and_the_host(http: httpx.Client, path: str) -> None:
    assert http.get(f"/_emulator/{path}", headers={"Authorization": ""}).status_code == 401
    assert http.get(f"/_emulator/{path}", headers={"Host": "rebound.example:80"}).status_code == 421
    assert http.get(f"/_emulator/{path}").status_code == 200
    assert http.get("/_emulator/nothing").status_code == 501


def test_only_an_admin_controls(http: httpx.Client, api: ubiops.CoreApi, name: str) -> None:
    user = api.service_users_create(PROJECT, ubiops.ServiceUserCreate(name=name))
    headers = {"Authorization": f"Token {user.token}"}
    assert http.get("/_emulator/journal", headers=headers).status_code == 403


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"kind": "nonsense"}, "unknown fault kind"),
        ({"kind": "latency", "mss": 1}, "unknown fault field mss"),
        ({"kind": "latency", "ms": "1"}, "int is required"),
        ({"kind": "latency", "path": "("}, "fault field path"),
    ],
)
def test_wrong_faults_are_refused(http: httpx.Client, body: dict[str, Any], text: str) -> None:
    answer = http.post("/_emulator/faults", json=body)
    assert answer.status_code == 400
    assert text in answer.json()["error"]


def test_wrong_switches_are_refused(http: httpx.Client) -> None:
    assert "unknown switch" in http.patch("/_emulator/switches", json={"nothing": True}).json()["error"]
    assert "on or off" in http.patch("/_emulator/switches", json={"service_traffic_wakes": 1}).json()["error"]


def test_a_reset_lets_go_of_who_waits(http: httpx.Client, api: ubiops.CoreApi, name: str, tmp_path: Path) -> None:
    http.post("/_emulator/reset")  # instances of other tests may still be ending
    http.post(DEPLOYMENTS, json={"name": name} | PLAIN)
    http.post(f"{DEPLOYMENTS}/{name}/versions", json={"version": "v1"})
    never = (
        "import time\nclass Deployment:\n    def __init__(self, *_): time.sleep(600)\n    def request(self, d): pass\n"
    )
    assert built(api, name, tmp_path, package(never)).status == "success"
    with ThreadPoolExecutor() as pool:
        path = f"{DEPLOYMENTS}/{name}/requests"
        waiting = pool.submit(http.post, path, content="x", headers={"Content-Type": "text/plain"})
        pending = {"status": "pending"}
        eventually(lambda: http.get(path, params=pending).json(), lambda listed: len(listed) == 1)
        eventually(lambda: http.get("/_emulator/processes").json(), lambda pids: len(pids) == 1)
        http.post("/_emulator/reset")
        answer = waiting.result(timeout=10)
    assert (answer.status_code, answer.json()["status"]) == (200, "pending")
    assert http.get("/_emulator/processes").json() == {}


def test_snapshot_restore_and_reset(http: httpx.Client, api: ubiops.CoreApi, name: str, tmp_path: Path) -> None:
    http.post(DEPLOYMENTS, json={"name": name} | PLAIN)
    http.post(f"{DEPLOYMENTS}/{name}/versions", json={"version": "v1", "minimum_instances": 1})
    assert built(api, name, tmp_path, package(WEB)).status == "success"
    made = http.post(f"/v2/projects/{PROJECT}/services", json={"name": name, "deployment": name, "port": 8080}).json()
    eventually(lambda: http.get(f"{made['endpoint']}/health").status_code, lambda code: code == 200)
    assert http.post("/_emulator/snapshot", json={"name": name}).status_code == 200
    assert http.post("/_emulator/reset").status_code == 200
    assert http.get(DEPLOYMENTS).json() == []
    eventually(lambda: _status(made["endpoint"]), lambda code: code == 0)
    assert http.post("/_emulator/restore", json={"name": name}).status_code == 200
    assert name in {item["name"] for item in http.get(DEPLOYMENTS).json()}
    eventually(lambda: _status(made["endpoint"]), lambda code: code == 401)
    assert http.post("/_emulator/restore", json={"name": "absent"}).status_code == 404
    assert http.post("/_emulator/snapshot", json={"name": "../x"}).status_code == 400


def _status(endpoint: str) -> int:
    """0 where nobody listens."""
    try:
        return loopback.get(f"{endpoint}/health").status_code
    except httpx.TransportError:
        return 0
