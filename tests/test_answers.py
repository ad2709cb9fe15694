"""Servers that dribble, flood, lie and repeat themselves: every call ends, in bounds, with a message that names it."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whisperctl.clock import SystemClock
from whisperctl.control.api import Api
from whisperctl.control.tries import ATTEMPTS
from whisperctl.endpoint.client import Answer, Endpoint, TooSlow
from whisperctl.endpoint.probe import model_names
from whisperctl.endpoint.transcription import read
from whisperctl.errors import ApiError, Forbidden, NotFound, Unreachable, WhisperctlError

TOKEN = "canary-token-0123456789"
Send = Callable[[socket.socket], None]


class Server:
    """Answers every request with what `send` writes; closes after each."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.send: Send = lambda _connection: None
        self.requests: list[bytes] = []
        self.stopping = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def _serve(self) -> None:
        while not self.stopping.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                self.requests.append(connection.recv(1 << 16))
                self.send(connection)
            except OSError:
                return

    def close(self) -> None:
        self.stopping.set()
        self.listener.close()


class Quick(SystemClock):
    """A clock whose sleeps are counted, and do not happen."""

    def __init__(self) -> None:
        self.slept = 0.0

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def api(server: Server) -> Iterator[Api]:
    made = Api(server.url, "p", TOKEN, timeout=0.4, clock=Quick(), limit=600)
    yield made
    made.rest.session.close()


def head(*lines: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", "Connection: close", *lines, "", ""]).encode()


def answering(body: object, status: str = "200 OK", *headers: str) -> Send:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    def send(connection: socket.socket) -> None:
        connection.sendall(head("Content-Type: application/json", *headers, status=status) + content)

    return send


def dribbled(start: bytes, piece: bytes) -> Send:
    def send(connection: socket.socket) -> None:
        connection.sendall(start)
        for _ in range(600):
            time.sleep(0.05)
            connection.sendall(piece)

    return send


SLOW: dict[str, Send] = {
    "headers": dribbled(b"HTTP/1.1 200 OK\r\n", b"X-More: x\r\n"),
    "one header": dribbled(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "status": dribbled(b"HTTP", b"x"),
    "body": dribbled(head("Content-Length: 100000"), b" "),
    "chunks": dribbled(head("Transfer-Encoding: chunked"), b"1\r\n \r\n"),
    "silence": lambda _connection: time.sleep(30),
}


@pytest.mark.parametrize("kind", SLOW)
def test_an_answer_that_dribbles_ends(server: Server, api: Api, kind: str) -> None:
    server.send = SLOW[kind]
    with pytest.raises(Unreachable, match=r"no answer within 0\.4 s"):
        api.deployments()
    assert len(server.requests) <= 4


class Archive:
    """Some bytes to upload."""

    def write(self, stream: BinaryIO) -> None:
        stream.write(b"zip")


def test_an_answer_that_dribbles_ends_though_something_else_was_asked_meanwhile(server: Server, api: Api) -> None:
    elsewhere = Server()
    elsewhere.send = answering([])
    other = Api(elsewhere.url, "p", TOKEN, clock=Quick())

    def fence() -> float:
        other.deployments()
        return 60.0

    server.send = SLOW["body"]
    api.rest.limit = 0.4
    with pytest.raises(Unreachable, match="no answer within"):
        api.fenced(fence).upload("a", "v1", Archive())
    elsewhere.close()
    other.rest.session.close()
    assert len(elsewhere.requests) > 1


@pytest.mark.parametrize("kind", SLOW)
def test_an_endpoint_that_dribbles_ends(server: Server, kind: str) -> None:
    server.send = SLOW[kind]
    with Endpoint(server.url, TOKEN, 0.4) as endpoint, pytest.raises(TooSlow):
        endpoint.get("/health")


BOMB = gzip.compress(b" " * (65 << 20), 1)
"""Some hundred thousand bytes that become more than is read."""


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request"])
def test_an_answer_is_read_to_its_bound(server: Server, api: Api, status: str) -> None:
    server.send = answering(BOMB, status, "Content-Encoding: gzip")
    api.rest.timeout = 30
    with pytest.raises(ApiError, match="the answer has more than 64 MiB"):
        api.deployments()


def test_an_endpoints_answer_is_read_to_its_bound(server: Server) -> None:
    server.send = answering(BOMB, "200 OK", "Content-Encoding: gzip")
    with Endpoint(server.url, TOKEN, 30) as endpoint, pytest.raises(WhisperctlError, match="more than 64 MiB"):
        endpoint.get("/health")


@pytest.mark.parametrize("following", ["same", None])
def test_pages_end(server: Server, api: Api, following: str | None) -> None:
    served = iter(range(100_000))

    def send(connection: socket.socket) -> None:
        page = {"results": [], "next": following or f"c{next(served)}"}
        answering(page)(connection)

    api.rest.timeout = 30
    server.send = send
    with pytest.raises(ApiError, match="The pages of instance_type_groups_list do not end"):
        api.groups()


def test_rate_limits_end(server: Server, api: Api) -> None:
    server.send = answering({}, "429 Too Many", "x-ratelimit-reset: 250")
    with pytest.raises(ApiError, match="answered 429"):
        api.deployments()
    assert api.rest.clock.slept <= 600
    assert len(server.requests) == 3


@pytest.mark.parametrize("reset", ["nan", "inf", "-inf", "-5", "", "soon"])
def test_a_rate_limit_without_sense_is_a_minute(server: Server, api: Api, reset: str) -> None:
    server.send = answering({}, "429 Too Many", f"x-ratelimit-reset: {reset}")
    api.rest.limit = 60
    with pytest.raises(ApiError, match="answered 429"):
        api.deployments()
    assert 1 < len(server.requests) <= 62 + ATTEMPTS  # which a busy machine may time out


SHAPES: list[Any] = [
    None, [None], ["a"], [7], {"results": None}, {"results": {}}, {"results": [None]}, {}, 7, "text", [{"name": None}],
    [{"name": 7}], [{}], [{"name": "a", "labels": []}], [{"name": "a", "labels": "b"}],
    [{"name": "a", "labels": {"a": 1}}],
    {"results": [], "next": 5}, [[]], [{"name": "a", "id": None}], [{"name": "a", "status": None}],
]  # fmt: skip


@pytest.mark.parametrize("body", [*SHAPES, b"", b"\xff", b"<html>", b"[" * 100_000, b"1" * 5000])
@pytest.mark.parametrize("call", ["deployments", "groups", "services", "user", "get_project"])
def test_another_shape_is_an_error_that_names_the_call(server: Server, api: Api, body: Any, call: str) -> None:
    server.send = answering(body)
    message = ""
    try:
        getattr(api, call)()
    except ApiError as error:
        message = str(error)
    assert not message or "answer to" in message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "id", "labels", "results", "next", "status", "x"]), inner, max_size=4
        )
    ),
    max_leaves=10,
)


@settings(max_examples=25, deadline=None)
@given(body=JSON)
@pytest.mark.parametrize("call", ["deployments", "groups", "services"])
def test_any_json_is_a_list_of_objects_or_an_error(server: Server, api: Api, body: Any, call: str) -> None:
    server.send = answering(body)
    api.rest.timeout = 5
    try:
        items = getattr(api, call)()
    except ApiError:
        return
    assert all(isinstance(item, dict) and isinstance(item.get("name", ""), str) for item in items)


@pytest.mark.parametrize(
    "body",
    [
        {"error": f"Authorization: Token {TOKEN}"},
        {"detail": f"got {TOKEN[:4]}\x1b[2J{TOKEN}"},
        f"<html><title>{TOKEN}</title></html>".encode(),
        f"you sent {TOKEN}".encode(),
    ],
)
def test_what_the_server_says_holds_no_token(server: Server, api: Api, body: Any) -> None:
    from whisperctl import output

    output.learn_token(TOKEN)
    server.send = answering(body, "403 Forbidden")
    with pytest.raises(Forbidden) as caught:
        api.deployments()
    assert TOKEN not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_web_page_in_place_of_an_error_is_told(server: Server, api: Api) -> None:
    server.send = lambda connection: connection.sendall(
        head("Content-Type: text/html", status="403 Forbidden") + b"<title>Blocked by policy</title>"
    )
    with pytest.raises(Forbidden, match="a proxy or filter on the way refuses this"):
        api.deployments()


NOT_FOUND = "404 Not Found"
GATEWAYS: dict[str, object] = {
    "ingress without a backend": b"default backend - 404",
    "router": b"404 page not found\n",
    "web page": b"<html><title>404 Not Found</title></html>",
    "no body": b"",
    "api gateway": {"message": "no Route matched with those values"},
    "words of no sense": {"error": None, "detail": []},
}


@pytest.mark.parametrize("page", GATEWAYS)
def test_what_a_gateway_cannot_find_may_well_exist(server: Server, api: Api, page: str) -> None:
    server.send = answering(GATEWAYS[page], NOT_FOUND)
    asked: list[Callable[[], object]] = [
        lambda: api.version("a", "v1"), lambda: api.find_service("s"), lambda: api.tags("e"), api.deployments,
        lambda: api.delete_service("s"), lambda: api.delete_deployment("a"),
    ]  # fmt: skip
    for ask in asked:
        with pytest.raises(ApiError, match=r"The host answered 404 to .*\n  That is not UbiOps' JSON") as caught:
            ask()
        assert not isinstance(caught.value, NotFound)


@pytest.mark.parametrize("words", ["error", "detail"])
def test_what_ubiops_cannot_find_does_not_exist(server: Server, api: Api, words: str) -> None:
    server.send = answering({words: "Service was not found"}, NOT_FOUND)
    assert api.find_service("s") is None
    api.delete_service("s")


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
def test_a_redirect_takes_the_token_nowhere(server: Server, api: Api, status: str) -> None:
    elsewhere = Server()
    server.send = answering({}, status, f"Location: {elsewhere.url}/projects/p/deployments")
    for ask in (api.deployments, api.groups, lambda: api.delete_service("s")):
        with pytest.raises(ApiError, match=f"answered {status[:3]}"):
            ask()
    elsewhere.close()
    assert elsewhere.requests == []


def test_a_write_that_got_no_answer_tells_how_long_its_lease_let_it_wait(server: Server, api: Api) -> None:
    server.send = SLOW["silence"]
    with pytest.raises(Unreachable, match=r"no answer within 0\.2 s"):
        api.fenced(lambda: 0.2).update_service("s", {"port": 1})


def test_nothing_is_written_on_a_connection_that_took_too_long(
    server: Server, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo

    def slowly(*args: Any, **more: Any) -> Any:
        time.sleep(0.3)
        return look_up(*args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    server.send = answering({})
    with pytest.raises(Unreachable, match="no connection could be made in time"):
        api.fenced(lambda: 0.2).update_service("s", {"port": 1})
    assert not any(server.requests)


def test_who_only_looks_asks_a_silent_host_once(server: Server, api: Api) -> None:
    server.send = SLOW["silence"]
    api.rest.skips = True
    with pytest.raises(Unreachable, match="no answer within"):
        api.deployments()
    asked = len(server.requests)
    with pytest.raises(Unreachable, match="was not tried: the host timed out before"):
        api.services()
    assert len(server.requests) == asked


HEARD = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5) | st.sampled_from(["1e999", "0.5"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["text", "segments", "start", "end", "language", "duration", "data", "id", "error"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(body=HEARD | st.fixed_dictionaries({"text": st.text(max_size=3), "segments": HEARD}))
def test_any_json_of_an_endpoint_is_read_or_refused(body: Any) -> None:
    answer = Answer(status=200, text=json.dumps(body), headers={"content-type": "application/json"})
    with suppress(WhisperctlError):
        transcript = read(answer, "/v1/audio/transcriptions")
        assert isinstance(transcript.text, str)
        assert all(isinstance(one.text, str) and one.start * 0 == one.end * 0 == 0 for one in transcript.segments or ())
    with Endpoint("http://127.0.0.1:9", None, 1) as endpoint, suppress(WhisperctlError):
        assert all(isinstance(name, str) for name in model_names(answer, endpoint))
