"""The endpoint client: the token stays where it belongs, foreign errors do not leak."""

from __future__ import annotations

import logging
import socket

import pytest

from tests.endpoint.fake_vllm import TOKEN, FakeVllm, Fault
from whisperctl.endpoint.client import Answer, Endpoint
from whisperctl.errors import Unhealthy, Unreachable, WhisperctlError


def test_token_is_sent_to_its_own_origin(vllm: FakeVllm, endpoint: Endpoint) -> None:
    assert endpoint.get("/health").status == 200
    assert vllm.requests[0].headers["authorization"] == f"Token {TOKEN}"


def test_no_token_no_header(vllm: FakeVllm) -> None:
    with Endpoint(vllm.url + "/", None, 5) as client:
        assert client.get("/health").status == 401
    assert "authorization" not in vllm.requests[0].headers


def test_redirects_stay_at_home(vllm: FakeVllm, endpoint: Endpoint) -> None:
    assert "vLLM docs" in endpoint.get("/docs/").text
    with pytest.raises(Unhealthy, match=r"redirect to http://elsewhere.invalid; not followed"):
        endpoint.get("/away")
    with pytest.raises(Unhealthy, match="more than 5 times"):
        endpoint.get("/loop")
    vllm.faults = [Fault(307, "", {"location": "/v1/audio/translations"})]
    with pytest.raises(Unhealthy, match="not followed"):
        endpoint.post("/v1/audio/transcriptions", {}, ("a.wav", b"x"))


def test_another_port_is_another_origin(vllm: FakeVllm, endpoint: Endpoint) -> None:
    vllm.health_faults = [Fault(302, "", {"location": vllm.url.rsplit(":", 1)[0] + ":9/steal"})]
    with pytest.raises(Unhealthy, match="not followed"):
        endpoint.get("/health")


@pytest.mark.parametrize("path", ["http://elsewhere.invalid/", "//elsewhere.invalid/", "health"])
def test_only_paths_are_asked_for(endpoint: Endpoint, path: str) -> None:
    with pytest.raises(ValueError, match="not a path"):
        endpoint.get(path)


def test_token_is_nowhere_else(vllm: FakeVllm, endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    vllm.health_faults = [Fault(500, f"your token is {TOKEN}")]
    answer = endpoint.get("/health")
    assert "(token)" in answer.text
    shown = f"{endpoint!r}{endpoint}{answer!r}{answer}{endpoint.get('/echo')}{caplog.text}"
    with pytest.raises(Unhealthy) as error:
        endpoint.get("/away")
    assert TOKEN not in shown + str(error.value) + repr(error.value)


def test_refused_connection_and_time_out_are_ours() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        with Endpoint(f"http://127.0.0.1:{port}", TOKEN, 5) as client, pytest.raises(Unreachable) as error:
            client.get("/health")
        assert f"GET http://127.0.0.1:{port}/health: " in str(error.value)
        listener.listen()
        with (
            Endpoint(f"http://127.0.0.1:{port}", TOKEN, 0.05) as client,
            pytest.raises(Unreachable, match=r"no answer within 0.05 s"),
        ):
            client.get("/health")


def test_broken_answer_is_ours(vllm: FakeVllm, endpoint: Endpoint) -> None:
    vllm.health_faults = [Fault(0)]
    with pytest.raises(Unreachable, match="GET http"):
        endpoint.get("/health")


@pytest.mark.parametrize("url", ["ftp://x", "not a url", "https://", "http://user:secret@host/"])
def test_bad_url(url: str) -> None:
    with pytest.raises(WhisperctlError, match="endpoint") as error:
        Endpoint(url, TOKEN, 5)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"error": {"message": "too long", "code": 400}}', "too long"),
        ('{"error": "no instance"}', "no instance"),
        ('{"detail": "Invalid token."}', "Invalid token."),
        ('{"object": "error", "message": "bad"}', "bad"),
        ("<!DOCTYPE html><html>nginx</html>", "a web page"),
        ("plain\n words", "plain words"),
        ("x" * 500, "x" * 299 + "…"),
    ],
)
def test_reason_is_the_servers_own_words(body: str, reason: str) -> None:
    assert Answer(status=500, text=body, headers={}).reason == reason


def test_an_address_in_no_proxy_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "[::1]")
    with pytest.raises(Unhealthy, match="HTTP_PROXY and NO_PROXY"):
        Endpoint("http://127.0.0.1:1", None, 1)
