"""What no well-meaning client sends: refused with 400, and nothing of it is kept."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.emulator.conftest import LIVE, PROJECT
from ubiops_emulator.api.call import Call, User
from ubiops_emulator.refusal import Refusal
from ubiops_emulator.store import Store
from ubiops_emulator.testing import Emulator
from ubiops_emulator.web.json_body import parsed
from ubiops_emulator.web.transaction import performed

pytestmark = pytest.mark.skipif(LIVE, reason="sends what a live UbiOps should be spared")
DEPLOYMENTS = f"/v2/projects/{PROJECT}/deployments"
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("\ud800", r"lone surrogates \(U\+D800\)"),
        ("fine\udfff", r"lone surrogates \(U\+DFFF\)"),
        ("a\0b", "null characters"),
        ({"\ud800": "x"}, "lone surrogates"),
        ({"a": ["b", {"c": "\0"}]}, "null characters"),
        ("\ud83d\ude00"[:1], "lone surrogates"),
    ],
)
def test_strings_that_cannot_be_kept(value: Any, reason: str) -> None:
    for body in (value, {"labels": value}, [value]):
        with pytest.raises(Refusal, match=reason):
            parsed(json.dumps(body).encode())


@pytest.mark.parametrize(
    "body",
    [b"1e999", b"[-1e999]", b"NaN", b'{"a": Infinity}', b"[" * 200 + b"]" * 200, b"[" * 10**5, b"\xff", b'"\x00"'],
)
def test_json_that_is_none_or_cannot_be_written_out(body: bytes) -> None:
    with pytest.raises(Refusal, match="JSON parse error"):
        parsed(body)


def test_a_pair_of_surrogates_is_a_character() -> None:
    assert parsed(rb'"\ud83d\ude00"') == "\U0001f600"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    )
)
def test_whatever_is_let_through_can_be_answered(value: Any) -> None:
    body = json.dumps(value)
    try:
        accepted = parsed(body.encode())
    except Refusal:
        return
    assert json.loads(json.dumps(accepted, ensure_ascii=False, allow_nan=False).encode()) == accepted


@pytest.mark.parametrize("field", ["description", "labels", "unknown"])
@pytest.mark.parametrize("text", [r"\ud800", r"\u0000"])
def test_a_refused_create_leaves_nothing(http: httpx.Client, name: str, field: str, text: str) -> None:
    value = f'{{"a": "{text}"}}' if field == "labels" else f'"{text}"'
    body = f'{{"name": "{name}", "input_type": "plain", "output_type": "plain", "{field}": {value}}}'
    answer = http.post(DEPLOYMENTS, content=body, headers=JSON)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"].startswith("JSON parse error: ")
    assert http.get(f"{DEPLOYMENTS}/{name}").status_code == 404


@pytest.mark.parametrize("number", ["²", "--5", "-", "", "1_0", "٣", "9" * 20, "9" * 5000, "1.5"])
def test_a_number_that_is_none(http: httpx.Client, number: str) -> None:
    for path, name in ((f"/v2/projects/{PROJECT}/instance-types", "limit"), ("/_emulator/journal", "since")):
        answer = http.get(path, params={name: number})
        assert (answer.status_code, f"{name}: a number" in answer.text) == (400, True), answer.text


def test_control_calls_refuse_them_too(http: httpx.Client) -> None:
    answer = http.post("/_emulator/snapshot", content=rb'{"name": "\ud800"}', headers=JSON)
    assert (answer.status_code, "lone surrogates" in answer.text) == (400, True)


def test_plain_data_and_form_fields_refuse_them_too(http: httpx.Client, name: str) -> None:
    http.post(DEPLOYMENTS, json={"name": name, "input_type": "plain", "output_type": "plain"}).raise_for_status()
    http.post(f"{DEPLOYMENTS}/{name}/versions", json={"version": "v1"}).raise_for_status()
    request, upload = (f"{DEPLOYMENTS}/{name}/versions/v1/{path}" for path in ("requests", "revisions"))
    assert http.post(request, content=b"\0", headers={"Content-Type": "text/plain"}).status_code == 400
    assert http.post(upload, data={"a\0": "b"}, files={"file": b"x"}).status_code == 400


def test_an_answer_that_cannot_be_written_out_undoes_its_write(tmp_path: Path) -> None:
    store = Store(tmp_path)
    call = Call(store=store, user=User(id="", email=""), now=0.0)

    def rule(call: Call) -> dict[str, str]:
        call.store.add("deployment", "p", "half-made", {})
        return {"name": "\ud800"}

    with pytest.raises(UnicodeEncodeError):
        performed(store, call, rule, 201, lambda _result: None)
    assert store.find("deployment", "p", "half-made") is None
    store.close()


HOST = "Host: 127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("headers", "status", "text"),
    [
        ([HOST], 200, "ok"),
        ([], 400, "A request needs a Host header"),
        ([HOST, "Host: evil.example"], 400, "More than one header host"),
        (["Host: evil.example", HOST], 400, "More than one header host"),
        ([HOST, HOST], 400, "More than one header host"),
        ([HOST, "Authorization: Token a", "authorization: Token b"], 400, "More than one header authorization"),
        ([HOST, "Content-Type: text/plain", "Content-Type: application/json"], 400, "content-type"),
        ([HOST, "Content-Length: 0", "Content-Length: 1"], 400, ""),
    ],
)
def test_doubled_headers(emulator: Emulator, headers: list[str], status: int, text: str) -> None:
    answer = _raw(emulator, int(emulator.root.rsplit(":", 1)[1]), headers)
    assert answer.startswith(f"HTTP/1.1 {status} "), answer
    assert text in answer


def test_a_service_refuses_two_hosts_too(http: httpx.Client, emulator: Emulator, name: str) -> None:
    http.post(DEPLOYMENTS, json={"name": name, "input_type": "plain", "output_type": "plain"}).raise_for_status()
    http.post(f"{DEPLOYMENTS}/{name}/versions", json={"version": "v1"}).raise_for_status()
    service = {"name": name, "deployment": name, "port": 8080}
    made = http.post(f"/v2/projects/{PROJECT}/services", json=service)
    port = int(made.json()["endpoint"].rsplit(":", 1)[1])
    assert _raw(emulator, port, [HOST, "Host: evil.example"]).startswith("HTTP/1.1 400 ")


def test_a_query_that_is_no_utf8_is_no_failure(emulator: Emulator) -> None:
    port = int(emulator.root.rsplit(":", 1)[1])
    for query in ("%FF", "%00", "%ED%A0%80"):
        answer = _raw(emulator, port, [HOST, f"Authorization: Token {emulator.token}"], f"?labels=a:{query}")
        assert answer.startswith("HTTP/1.1 200 "), answer


def _raw(emulator: Emulator, port: int, headers: list[str], query: str = "") -> str:
    """The answer to a request that no client library would send."""
    path = f"{DEPLOYMENTS}{query}" if query else "/v2/status"
    lines = [f"GET {path} HTTP/1.1", *headers, "Connection: close", "", ""]
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall("\r\n".join(lines).format(port=port).encode())
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()
