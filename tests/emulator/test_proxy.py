"""The data plane: what reaches an instance through its service, and what does not."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import ubiops
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.emulator.conftest import PROJECT, built, eventually, package
from tests.emulator.web_package import WEB
from tests.harness import loopback
from ubiops_emulator.testing import Emulator

NAME = "web"
CHECK = {"port": 8080, "path": "/health", "interval": 1}


@pytest.fixture(scope="module")
def service(emulator: Emulator, api: ubiops.CoreApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A service with two healthy instances behind it."""
    api.deployments_create(PROJECT, ubiops.DeploymentCreate(name=NAME, input_type="plain", output_type="plain"))
    api.deployment_versions_create(
        PROJECT,
        NAME,
        ubiops.DeploymentVersionCreate(version="v1", minimum_instances=2, maximum_instances=2, health_check=CHECK),
    )
    assert built(api, NAME, tmp_path_factory.mktemp("web"), package(WEB)).status == "success"
    made = api.services_create(PROJECT, ubiops.ServiceCreate(name=NAME, deployment=NAME, port=8080))
    _until_ready(api, 2)
    yield made
    api.services_delete(PROJECT, NAME)
    api.deployments_delete(PROJECT, NAME)


def _until_ready(api: ubiops.CoreApi, count: int) -> None:
    eventually(lambda: api.services_status_get(PROJECT, NAME).instances_ready, lambda ready: ready == count)


@pytest.fixture
def client(service: Any, emulator: Emulator) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Token {emulator.token}"}
    with loopback.client(base_url=service.endpoint, headers=headers, timeout=20) as made:
        yield made


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Token {}", 200),
        ("Bearer {}", 200),
        ("Token Token {}", 401),
        ("Basic {}", 401),
        ("{}", 401),
        ("Token wrong", 401),
        ("", 401),
    ],
)
def test_token_forms(client: httpx.Client, emulator: Emulator, header: str, status: int) -> None:
    answer = client.get("/health", headers={"Authorization": header.format(emulator.token)})
    assert answer.status_code == status
    assert status == 200 or answer.json()["error"]


def test_a_token_without_the_permission_is_refused(client: httpx.Client, api: ubiops.CoreApi, name: str) -> None:
    user = api.service_users_create(PROJECT, ubiops.ServiceUserCreate(name=name))
    headers = {"Authorization": f"Bearer {user.token}"}
    assert client.get("/health", headers=headers).status_code == 403
    api.role_assignments_create(
        PROJECT,
        ubiops.RoleAssignmentCreate(
            assignee=user.id, role="deployment-request-user", resource=NAME, resource_type="deployment"
        ),
    )
    assert client.get("/health", headers=headers).status_code == 200


def test_paths_queries_and_headers_arrive_as_sent(client: httpx.Client, emulator: Emulator) -> None:
    raw = client.get(
        "/headers/a%2Fb%20c?x=%C3%A9&y", headers={"X-Mine": "1", "Connection": "close, x-drop", "X-Drop": "1"}
    )
    seen = raw.json()
    names = dict(seen["headers"])
    assert seen["path"].split("?")[0] == "/headers/a%2Fb%20c"
    assert seen["query"] == "x=%C3%A9&y"
    assert names["x-mine"] == "1"
    assert {"authorization", "x-drop", "connection"}.isdisjoint(names)
    assert raw.headers["x-answer"] == "yes"
    assert len([key for key, _ in seen["headers"] if key == "host"]) == 1


def test_authorization_passes_through_on_demand(client: httpx.Client, api: ubiops.CoreApi, emulator: Emulator) -> None:
    api.services_update(PROJECT, NAME, ubiops.ServiceUpdate(authentication_header_pass_through=True))
    names = dict(client.get("/headers").json()["headers"])
    api.services_update(PROJECT, NAME, ubiops.ServiceUpdate(authentication_header_pass_through=False))
    assert names["authorization"] == f"Token {emulator.token}"


def test_a_large_upload_is_streamed_and_not_buffered(client: httpx.Client, emulator: Emulator) -> None:
    block, count = b"\x01\x02\x03\x04" * 65536, 400
    digest = hashlib.sha256()
    for _ in range(count):
        digest.update(block)
    before = _memory(emulator.process.pid)
    answer = client.post("/upload", content=(block for _ in range(count)), timeout=60).json()
    assert answer == {"sha256": digest.hexdigest(), "size": len(block) * count}
    assert _memory(emulator.process.pid) - before < 50 * 2**20
    sized = client.post("/upload", content=block).json()
    assert sized["size"] == len(block)


def _memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def test_answers_are_streamed(client: httpx.Client) -> None:
    moments = []
    with client.stream("GET", "/ticks?n=4&every=0.15") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        moments += [time.monotonic() for line in answer.iter_lines() if line]
    assert len(moments) == 4
    assert moments[-1] - moments[0] > 0.3


def test_both_ways_at_once(client: httpx.Client) -> None:
    assert client.post("/echo", content=(b"%d," % i for i in range(1000))).content == b"".join(
        b"%d," % i for i in range(1000)
    )


def test_a_broken_answer_looks_broken(client: httpx.Client) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/broken")


def test_an_instance_hears_that_the_client_has_gone(client: httpx.Client) -> None:
    def left() -> int:
        return sum(client.get("/left").json() for _ in range(2))

    before = left()
    with client.stream("GET", "/endless") as answer:
        next(answer.iter_raw())
    assert eventually(left, lambda count: count > before) == before + 1


def test_requests_are_spread_over_instances(client: httpx.Client) -> None:
    assert len({client.get("/pid").text for _ in range(4)}) == 2


def test_websocket(service: Any, emulator: Emulator) -> None:
    url = service.endpoint.replace("http", "ws") + "/talk"
    headers = {"Authorization": f"Bearer {emulator.token}"}
    with connect(url, additional_headers=headers, subprotocols=[Subprotocol("chat")], proxy=None) as socket:
        assert socket.subprotocol == "chat"
        socket.send("hello")
        assert socket.recv() == "you said hello"
        socket.send("bye")
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "bye")
    with pytest.raises(InvalidStatus) as refused:
        connect(url, proxy=None)
    assert refused.value.response.status_code == 401


def test_health_gates_routing(client: httpx.Client, api: ubiops.CoreApi) -> None:
    pids = {client.get("/pid").text for _ in range(4)}
    client.get("/sick?on=1")
    _until_ready(api, 1)
    healthy = {client.get("/pid").text for _ in range(4)}
    assert len(healthy) == 1
    assert healthy < pids
    client.get("/sick?on=1")
    _until_ready(api, 0)
    answer = client.get("/pid")
    assert answer.status_code == 503
    assert "not healthy" in answer.json()["error"]
    instances = api.instances_list(PROJECT, NAME, "v1").results
    assert [item.status for item in instances] == ["running", "running"]
    for item in instances:
        api.instances_update(PROJECT, NAME, item.id, "v1", ubiops.InstanceUpdate(status="stopped"))
    _until_ready(api, 2)


def test_rate_and_concurrency_limits(
    api: ubiops.CoreApi, emulator: Emulator, service: Any, http: httpx.Client, name: str
) -> None:
    made = api.services_create(
        PROJECT,
        ubiops.ServiceCreate(name=name, deployment=NAME, port=8080, rate_limit=100000, rate_limit_user_default=2),
    )
    headers = {"Authorization": f"Token {emulator.token}"}
    with loopback.client(base_url=made.endpoint, headers=headers, timeout=20) as client:
        answers = [client.get("/health") for _ in range(6)]
        changes = {"rate_limit": None, "rate_limit_user_default": None, "concurrency_limit": 1}
        cleared = http.patch(f"/v2/projects/{PROJECT}/services/{name}", json=changes).json()
        assert (cleared["rate_limit"], cleared["concurrency_limit"]) == (None, 1)
        with client.stream("GET", "/endless"):
            crowded = client.get("/health")
        eventually(lambda: client.get("/health").status_code, lambda code: code == 200)
    api.services_delete(PROJECT, name)
    # A minute may turn while the six are sent: the third is refused, or one of those after it.
    assert [answer.status_code for answer in answers[:2]] == [200, 200]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert "user rate limit of 2" in refused.json()["error"]
    assert crowded.status_code == 429
    assert "total concurrency limit of 1" in crowded.json()["error"]


@pytest.mark.filterwarnings("ignore:.* is deprecated and will be removed:DeprecationWarning")
def test_requests_through_a_service_are_stored(client: httpx.Client, api: ubiops.CoreApi) -> None:
    api.services_update(PROJECT, NAME, ubiops.ServiceUpdate(request_logging_excluded_paths="/health|/left"))
    client.post("/echo", content=b"remember me", headers={"Content-Type": "text/plain"})
    client.get("/left")

    def stored() -> list[Any]:
        items = api.deployment_version_requests_list(PROJECT, NAME, "v1", limit=10)
        return [api.deployment_version_requests_get(PROJECT, NAME, item.id, "v1") for item in items]

    requests = eventually(stored, lambda items: any(item.additional_data.path == "/echo" for item in items))
    mine = next(item for item in requests if item.request_data == "remember me")
    assert (mine.result, mine.additional_data.method, mine.additional_data.status_code) == ("remember me", "POST", 200)
    assert all(item.additional_data.path != "/left" or item.time_created < mine.time_created for item in requests)


def test_an_instance_that_takes_too_long(client: httpx.Client, http: httpx.Client) -> None:
    http.patch("/_emulator/switches", json={"upstream_timeout": 1})
    answer = client.get("/wait?s=5")
    http.patch("/_emulator/switches", json={"upstream_timeout": 300})
    assert (answer.status_code, answer.json()) == (504, {"error": "The instance did not answer within 1 s"})


def test_a_wrong_port_is_a_503(client: httpx.Client, api: ubiops.CoreApi) -> None:
    api.services_update(PROJECT, NAME, ubiops.ServiceUpdate(port=9))
    answer = client.get("/health")
    api.services_update(PROJECT, NAME, ubiops.ServiceUpdate(port=8080))
    assert (answer.status_code, "port 9" in answer.json()["error"]) == (503, True)


def test_hosts_that_are_not_ours_are_refused(client: httpx.Client, http: httpx.Client) -> None:
    assert client.get("/health", headers={"Host": "evil.example:80"}).status_code == 421
    assert http.get("/v2/status", headers={"Host": "evil.example"}).status_code == 421
