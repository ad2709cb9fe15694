"""POSTs over kept connections: one connection for many, another where the server has closed it, any encoding."""

from __future__ import annotations

import gzip
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import BinaryIO

import pytest

from whisperctl.endpoint.client import Endpoint, TooSlow
from whisperctl.errors import Unreachable


def read_head(sent: BinaryIO) -> bytes:
    """The lines before a body; none where the connection has ended."""
    head = b""
    while (line := sent.readline()) not in (b"", b"\r\n"):
        head += line
    return head


@contextmanager
def answering(*answers: bytes, closes_after: int = 99) -> Iterator[tuple[str, list[int], threading.Semaphore]]:
    """A server that gives these answers in order; its URL, how many requests each connection brought, and its ends."""
    left, brought, ended = list(answers), list[int](), threading.Semaphore(0)

    def serve() -> None:
        while left:
            connection, _ = listener.accept()
            brought.append(0)
            with connection, connection.makefile("rb") as sent:
                while left and brought[-1] < closes_after and (head := read_head(sent)):
                    length = re.search(rb"(?i)content-length: (\d+)", head)
                    sent.read(int(length[1]) if length else 0)
                    brought[-1] += 1
                    connection.sendall(left.pop(0))
            ended.release()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", brought, ended
        thread.join(10)


def answer(body: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers, b"", body])


def test_one_connection_carries_many_requests() -> None:
    with (
        answering(*[answer(b"%d" % number) for number in range(5)]) as (url, brought, _),
        Endpoint(url, None, 5) as there,
    ):
        assert [there.post("/", {}, ("a.wav", b"x" * 300_000)).text for _ in range(5)] == ["0", "1", "2", "3", "4"]
    assert brought == [5]


def test_a_connection_that_the_server_has_closed_is_not_used_again() -> None:
    with (
        answering(answer(b"first"), answer(b"second"), closes_after=1) as (url, brought, ended),
        Endpoint(url, None, 5) as there,
    ):
        assert there.post("/", {}, ("a.wav", b"x")).text == "first"
        assert ended.acquire(timeout=5)
        assert there.post("/", {}, ("a.wav", b"x")).text == "second"
    assert brought == [1, 1]


def test_an_answer_that_breaks_off_costs_its_connection_only() -> None:
    with (
        answering(answer(b"broken")[:-2], answer(b"whole"), closes_after=1) as (url, _, _ended),
        Endpoint(url, None, 5) as there,
    ):
        with pytest.raises(Unreachable, match="POST http"):
            there.post("/", {}, ("a.wav", b"x"))
        assert there.post("/", {}, ("a.wav", b"x")).text == "whole"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ("ž".encode(), ()),
        (gzip.compress("ž".encode()), (b"Content-Encoding: gzip",)),
        ("ž".encode("iso-8859-2"), (b"Content-Type: text/plain; charset=iso-8859-2",)),
        *[("ž".encode(), (b"Content-Type: text/plain; charset=" + name,)) for name in (b"rot13", b"hex", b"idna")],
    ],
    ids=["plain", "gzip", "Latin 2", "rot13", "hex", "idna"],
)
def test_an_answer_in_any_encoding(body: bytes, headers: tuple[bytes, ...]) -> None:
    """Also in what Python calls a codec and is no encoding of text, or refuses what it cannot read."""
    answers = [answer(body, *headers)] * 2
    with answering(*answers, closes_after=1) as (url, _, _ended), Endpoint(url, None, 5) as there:
        assert there.post("/", {}, ("a.wav", b"x")).text == "ž"
        assert there.get("/").text == "ž"


def test_an_upload_that_is_taken_slowly_ends_in_time() -> None:
    body, taken = b"x" * 12_000_000, [0]

    def take() -> None:
        connection, _ = listener.accept()
        with connection, suppress(ConnectionError):
            while part := connection.recv(1 << 16):
                taken[0] += len(part)
                time.sleep(0.005)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=take)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with Endpoint(url, None, 0.1) as there, pytest.raises(TooSlow, match="no answer within"):
            there.post("/", {}, ("a.wav", body))
        thread.join()
    assert taken[0] < len(body)


def test_after_its_end_an_endpoint_sends_nothing_more() -> None:
    with answering(answer(b"first")) as (url, brought, ended):
        with Endpoint(url, None, 5) as there:
            assert there.post("/", {}, ("a.wav", b"x")).text == "first"
        assert ended.acquire(timeout=5)
        with pytest.raises(Unreachable, match="stopped"):
            there.post("/", {}, ("a.wav", b"x"))
    assert brought == [1]


def test_its_end_ends_a_request_that_waits_for_an_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as pool:
        there = Endpoint(f"http://127.0.0.1:{listener.getsockname()[1]}", None, 15)
        waiting = pool.submit(there.post, "/", {}, ("a.wav", b"x"))
        connection, _ = listener.accept()
        with connection:
            sent = b""
            while not sent.endswith(b"--\r\n"):
                sent += connection.recv(1 << 16)
            time.sleep(0.05)  # until it reads: before, a socket that was merely closed would be noticed, too
            there.close()
            with pytest.raises(Unreachable):
                waiting.result(5)


@pytest.mark.parametrize(
    "location", [b"http://[::1", b"http://a\x7fb/", b"h" * 70_000], ids=["open", "control", "long"]
)
def test_a_redirect_to_no_address_is_one_odd_answer(location: bytes) -> None:
    redirect = b"HTTP/1.1 307 Odd\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n"
    with (
        answering(redirect) as (url, _, _ended),
        Endpoint(url, None, 5) as there,
        pytest.raises(Unreachable, match="POST http"),
    ):
        there.post("/", {}, ("a.wav", b"x"))
