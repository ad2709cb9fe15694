"""The proxy: what passes, what is refused, what streams; and a real browser on /docs."""

from __future__ import annotations

import gzip
import http.client
import shutil
import socket
import struct
import subprocess
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.endpoint import tones
from tests.endpoint.fake_vllm import MODEL, TOKEN, FakeVllm
from whisperctl.endpoint.blanking import Blanking
from whisperctl.endpoint.client import Endpoint
from whisperctl.endpoint.proxy import bind
from whisperctl.errors import WhisperctlError


@pytest.fixture
def port(endpoint: Endpoint) -> Iterator[int]:
    with serving(endpoint) as number:
        yield number


class serving:  # noqa: N801 - reads as a function
    """A running proxy for an endpoint; its port."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.server = bind(endpoint, 0)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> int:
        self.thread.start()
        return self.server.server_port

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def ask(
    port: int, path: str, method: str = "GET", body: Any = None, **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, path, body, named, encode_chunked=isinstance(body, Iterator))
        answer = connection.getresponse()
        return answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
    finally:
        connection.close()


def test_the_token_is_added_and_only_by_the_proxy(vllm: FakeVllm, port: int) -> None:
    assert ask(port, "/health?x=1%2F2", Authorization="Token stolen", Cookie="session=1", X_Own="kept")[0] == 200
    (request,) = vllm.requests
    assert request.headers["authorization"] == f"Token {TOKEN}"
    assert request.headers["x-own"] == "kept"
    assert "cookie" not in request.headers
    assert request.headers["host"] == vllm.url.removeprefix("http://")
    assert request.path == "/health?x=1%2F2"


def test_it_listens_on_loopback_only(endpoint: Endpoint) -> None:
    with bind(endpoint, 0) as server:
        assert server.server_address[0] == "127.0.0.1"


def test_a_taken_port_is_said(endpoint: Endpoint, port: int) -> None:
    with pytest.raises(WhisperctlError, match=rf"Port {port} of 127.0.0.1: .*\n  Pass --port"):
        bind(endpoint, port)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example:{port}"}, 421),
        ({"Host": "127.0.0.1"}, 421),
        ({"Host": "127.0.0.1:1"}, 421),
        ({"Host": ""}, 421),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "http://localhost:{port}"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Upgrade": "websocket", "Connection": "Upgrade"}, 501),
        ({"Origin": "http://127.0.0.1:{port}"}, 200),
        ({"Host": "LOCALHOST:{port}", "Origin": "http://localhost:{port}"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
    ],
)
def test_only_the_users_own_tab(vllm: FakeVllm, port: int, headers: dict[str, str], status: int) -> None:
    given = {name.replace("-", "_"): value.format(port=port) for name, value in headers.items()}
    assert ask(port, "/health", **given)[0] == status
    assert len(vllm.requests) == (status == 200)


@pytest.mark.parametrize(
    "line", ["GET http://evil.example/ HTTP/1.1", "GET //evil.example/ HTTP/1.1", "GET * HTTP/1.1"]
)
def test_only_paths(vllm: FakeVllm, port: int, line: str) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(f"{line}\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        first = connection.makefile("rb").readline()
    if b"400" not in first:  # http.server folds leading slashes into one: then it is a path of the endpoint
        assert vllm.requests[0].path == "/evil.example/"
    assert all(request.headers["host"] == vllm.url.removeprefix("http://") for request in vllm.requests)


def exchanged(port: int, request: str) -> tuple[bytes, bytes]:
    """The status line and everything after it that a request, as it is, is answered until the connection ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request.replace("{port}", str(port)).encode("latin-1"))
        answer = connection.makefile("rb")
        return answer.readline(), answer.read()


SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Length: \xb2", "Content-Length: " + "9" * 5000, "Content-Length: +5", "Content-Length: -1",
        "Content-Length: 0x5", "Content-Length: 5, 5", "Content-Length: 5\r\nContent-Length: 5", "Content-Length:",
        "Content-Length: 5\r\nContent-Length: 6", "Content-Length: 1_0", "Content-Length: 5\r\n 0",
        "Transfer-Encoding: identity", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: xchunked", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5", "Transfer-Encoding:", "Transfer-Encoding : chunked",
        "Content-Length : 5", "Host: 127.0.0.1:{port}", "Host: evil.example", "X-Bad: \x1b[31m", "X-Bad: \x00",
        "Origin: http://127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}", "no colon", "X Y: z", ": empty",
    ],
)  # fmt: skip
def test_malformed_framing_is_refused_and_the_connection_closed(vllm: FakeVllm, port: int, headers: str) -> None:
    status, rest = exchanged(port, f"POST /health HTTP/1.1\r\nHost: 127.0.0.1:{{port}}\r\n{headers}\r\n\r\n{SMUGGLED}")
    assert status == b"HTTP/1.1 400 Bad Request\r\n"
    assert b"Connection: close" in rest
    assert b"HTTP/1.1" not in rest, "what was left of it was taken for another request"
    assert not vllm.requests


@pytest.mark.parametrize(
    "line",
    ["GET /docs HTTP/1.1\x1b[2J", "GET /docs HTTP/one", "GET /docs", "GET", "GET /docs HTTP/3.0",
     "\x1b[31mGET /docs HTTP/1.1", "GET /" + "a" * (1 << 16) + " HTTP/1.1"],
)  # fmt: skip
def test_a_broken_first_line_is_answered_with_a_whole_head(vllm: FakeVllm, port: int, line: str) -> None:
    status, rest = exchanged(port, f"{line}\r\nHost: evil.example\r\n\r\n{SMUGGLED}")
    assert status.startswith((b"HTTP/1.1 4", b"HTTP/1.1 50"))
    assert b"X-Frame-Options: DENY" in rest
    assert b"\x1b" not in status + rest
    assert not vllm.requests


@pytest.mark.parametrize(
    "chunk", ["+5\r\nhello\r\n0\r\n\r\n", "5\r\nhelloXX\r\n0\r\n\r\n", "0x5\r\nhello\r\n0\r\n\r\n"]
)
def test_malformed_chunks_end_the_connection(port: int, chunk: str) -> None:
    head = "POST /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nTransfer-Encoding: chunked\r\n\r\n"
    status, rest = exchanged(port, f"{head}{chunk}{SMUGGLED}")
    assert b"200" not in status
    assert b"HTTP/1.1" not in rest


def test_whoever_leaves_with_the_refusal_is_no_error(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = b"GET / HTTP/1.1\r\nHost: elsewhere\r\n\r\n"
    for _ in range(100):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets it
            connection.sendall(elsewhere)
            while b"This proxy" not in connection.recv(4096):
                pass

    assert "Traceback" not in capsys.readouterr().err


def test_a_paths_control_characters_are_neither_relayed_nor_logged(
    vllm: FakeVllm, port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _ = exchanged(port, "GET /\x1b]0;title\x07 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n")
    assert b"400" in status
    assert not vllm.requests
    logged = capsys.readouterr().err
    assert "400 GET /" in logged
    assert not {"\x1b", "\x07"} & set(logged)


@pytest.mark.parametrize("kind", ["iframe", "frame", "embed", "object", "fencedframe"])
def test_no_page_shows_it_in_a_frame(vllm: FakeVllm, port: int, kind: str) -> None:
    navigation = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": kind}
    assert ask(port, "/docs", **navigation)[0] == 403
    assert not vllm.requests
    for status, _, headers in (ask(port, "/docs"), ask(port, "/docs", Origin="https://evil.example")):
        assert status in (200, 403)
        assert headers["x-frame-options"] == "DENY"
        assert headers["content-security-policy"] == "frame-ancestors 'none'"


def test_redirects_elsewhere_do_not_pass(port: int) -> None:
    status, body, headers = ask(port, "/away")
    assert (status, body) == (502, b"The endpoint redirects to elsewhere.invalid; not followed.\n")
    assert "location" not in headers
    status, _, headers = ask(port, "/docs/")
    assert (status, headers["location"]) == (307, "/docs")


def test_uploads_pass_counted_and_chunked(vllm: FakeVllm, port: int) -> None:
    content = tones.wav(tones.speak([["ba", "ke"]]))
    form = (
        f'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\n{MODEL}\r\n--x\r\n'
        'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    ).encode()
    body = form + content + b"\r\n--x--\r\n"
    kind = {"Content_Type": "multipart/form-data; boundary=x"}
    for sent in (body, iter([body[:1000], body[1000:]])):
        status, answer, _ = ask(port, "/v1/audio/transcriptions", "POST", sent, **kind)
        assert (status, b"ba ke" in answer) == (200, True)


def test_nobody_there_is_502(clock: object) -> None:
    with Endpoint("http://127.0.0.1:9", TOKEN, 2) as nobody, serving(nobody) as port:
        status, body, _ = ask(port, "/health")
    assert status == 502
    assert b"http://127.0.0.1:9/health" in body


AWAY = {
    "/login": f"https://me:{TOKEN}@{TOKEN}.example/{TOKEN}", "/host": f"http://{TOKEN}/", "/broken": "http://[",
    "/other": f"mailto:{TOKEN}",
}  # fmt: skip


class _Echo(BaseHTTPRequestHandler):
    """Sends back what it was sent, its own name for the session, and the token in pieces."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        words = [self.headers["Authorization"], self.headers.get("Cookie", "no cookie")]
        encoded = b64encode(f"user:{TOKEN}".encode()).decode()
        body = "\n".join([*words, encoded, quote(TOKEN, safe=""), TOKEN[:-1], TOKEN]).encode()
        packed = self.path == "/gzip"
        if self.path in AWAY:
            self.send_response(307)
            self.send_header("Location", AWAY[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if packed:
            body = gzip.compress(body)
        self.send_response(200, f"OK {TOKEN}")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Echo", self.headers["Authorization"])
        self.send_header("X-Bytes", "caf\xc3\xa9")
        self.send_header("Set-Cookie", "session=1; Path=/")
        if packed:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        for at in range(0, len(body), 7):
            self.wfile.write(body[at : at + 7])
            self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@pytest.mark.parametrize("path", ["/plain", "/gzip"])
def test_nothing_brings_the_token_to_the_page_nor_a_cookie_to_another(path: str) -> None:
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    thread = threading.Thread(target=upstream.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    with Endpoint(f"http://127.0.0.1:{upstream.server_port}", TOKEN, 5) as endpoint, serving(endpoint) as port:
        for away in AWAY:
            status, body, _ = ask(port, away)
            assert (status, TOKEN.encode() in body) == (502, False), away
        ask(port, path)
        status, body, headers = ask(port, path)
    upstream.shutdown()
    upstream.server_close()
    thread.join()
    lines = body.decode().splitlines()
    assert status == 200
    assert lines[:2] == [f"Token {'*' * len(TOKEN)}", "no cookie"]
    assert b64encode(TOKEN.encode()).decode()[4:12] not in body.decode()
    assert lines[-3:] == ["*" * len(TOKEN), TOKEN[:-1], "*" * len(TOKEN)]
    assert headers["x-echo"] == f"Token {'*' * len(TOKEN)}"
    assert headers["x-bytes"].encode("latin-1").decode() == "café"
    assert "set-cookie" not in headers


SECRET = "abcab/c d+abx"
PIECES = st.lists(st.sampled_from([SECRET, SECRET[:4], SECRET[5:], "abc", "x", quote(SECRET, safe=""), "\xe9"]))


@given(words=PIECES, size=st.integers(1, 9))
def test_a_stream_is_blanked_as_the_whole_is(words: list[str], size: int) -> None:
    blanking, data = Blanking(SECRET), "".join(words).encode("latin-1")
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert b"".join(blanking.chunks(pieces)) == blanking.whole(data)
    assert SECRET.encode() not in blanking.whole(data)
    assert len(blanking.whole(data)) == len(data)


class _Drip(BaseHTTPRequestHandler):
    """Sends an event, then waits to be told that it has arrived before it sends the next."""

    protocol_version = "HTTP/1.1"
    arrived: threading.Event

    def do_GET(self) -> None:
        self.send_response(200)
        for name in ("Set-Cookie", "Access-Control-Allow-Origin", "X-Passes"):
            self.send_header(name, "yes")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for text in (b"first", b"second"):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
            self.wfile.flush()
            if not self.arrived.wait(5) or self.path == "/break":
                self.close_connection = True
                return
        self.wfile.write(b"0\r\n\r\n")

    def do_POST(self) -> None:
        self.rfile.read(5)
        self.arrived.set()
        self.rfile.read(5)
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def drip() -> Iterator[tuple[int, threading.Event]]:
    arrived = threading.Event()
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), type("Drip", (_Drip,), {"arrived": arrived}))
    upstream.daemon_threads = True
    thread = threading.Thread(target=upstream.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{upstream.server_port}"
    with Endpoint(url, TOKEN, 5) as endpoint, serving(endpoint) as port:
        yield port, arrived
    upstream.shutdown()
    upstream.server_close()
    thread.join()


def test_answers_stream(drip: tuple[int, threading.Event]) -> None:
    port, arrived = drip
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/stream")
    answer = connection.getresponse()
    assert answer.read(5) == b"first"
    arrived.set()
    assert answer.read() == b"second"
    passed = {name.lower() for name, _ in answer.getheaders()}
    assert "x-passes" in passed
    assert not passed & {"set-cookie", "access-control-allow-origin"}
    connection.close()


def test_no_part_of_an_answer_waits_for_the_browser_to_acknowledge_the_one_before(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/v1/models")
    connection.getresponse().read()
    assert [other.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for other in ends(connection.sock)] == [1]
    connection.close()


def ends(connection: socket.socket) -> Iterator[socket.socket]:
    """The proxy's sockets of a connection: they are in this process, too."""
    for file in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # no socket, not connected, or closed by now
            other = socket.socket(fileno=int(file.name))
            try:
                if other.getpeername() == connection.getsockname():
                    yield other
            finally:
                other.detach()


def test_uploads_stream(drip: tuple[int, threading.Event]) -> None:
    port, arrived = drip

    def slowly() -> Iterator[bytes]:
        yield b"12345"
        assert arrived.wait(5)
        yield b"67890"

    assert ask(port, "/up", "POST", slowly(), Content_Length="10")[0] == 204


def test_a_broken_answer_looks_broken(drip: tuple[int, threading.Event]) -> None:
    port, arrived = drip
    arrived.set()
    with pytest.raises(http.client.IncompleteRead):
        ask(port, "/break")


CHROMIUM = pytest.mark.skipif(not shutil.which("chromium"), reason="Debian's chromium is not installed")


def browse(tmp_path: Path, url: str, *more: str) -> str:
    """What a headless Chromium makes of `url`: its DOM after the page's own requests."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update", "--virtual-time-budget=5000"]
    command = ["chromium", *flags, f"--user-data-dir={tmp_path / 'profile'}", *more, url]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout


@CHROMIUM
def test_a_browser_opens_docs_and_tries_it_out(vllm: FakeVllm, port: int, tmp_path: Path) -> None:
    picture = tmp_path / "docs.png"
    page = browse(tmp_path, f"http://127.0.0.1:{port}/docs", "--dump-dom")
    assert "<h1>vLLM docs</h1>" in page
    assert '<pre id="seen">200 400</pre>' in page
    assert [one.method for one in vllm.requests if one.path.startswith("/v1/")].count("POST") == 1
    browse(tmp_path, f"http://localhost:{port}/docs", f"--screenshot={picture}")
    assert picture.read_bytes().startswith(b"\x89PNG")


@CHROMIUM
def test_another_page_in_the_browser_gets_nothing(
    vllm: FakeVllm, port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = f"""<h1>evil</h1><img src="http://127.0.0.1:{port}/health"><script>
        fetch("http://127.0.0.1:{port}/health", {{mode: "no-cors"}});
        fetch("http://localhost:{port}/v1/models", {{method: "POST", mode: "no-cors", body: "x"}});
        </script>"""
    (tmp_path / "evil.html").write_text(evil)
    assert "evil" in browse(tmp_path, f"file://{tmp_path}/evil.html", "--dump-dom")
    assert {"403 GET /health", "403 POST /v1/models"} <= set(capsys.readouterr().err.splitlines())
    assert not vllm.requests
