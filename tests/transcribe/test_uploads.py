"""What is sent of a piece: lossless either way, FLAC where the link is the slower part."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.endpoint import tones
from whisperctl.endpoint.client import Endpoint
from whisperctl.endpoint.form import Upload
from whisperctl.transcribe.sound import RATE
from whisperctl.transcribe.uploads import Encoding, Uploads

soundfile: Any = pytest.importorskip("soundfile")
SAMPLES = np.frombuffer(tones.speak([["ba", "be", "bi"]] * 16), np.int16)
GIGABIT, SLOW = 125e6, 1e6


@pytest.mark.parametrize("encoding", ["wav", "flac"])
def test_either_way_is_lossless(encoding: Encoding) -> None:
    name, content = Uploads(encoding).upload(SAMPLES, None)
    samples, rate = soundfile.read(io.BytesIO(_whole(content)), dtype="int16")
    assert (name, rate) == (f"audio.{encoding}", RATE)
    assert np.array_equal(samples, SAMPLES)


@pytest.mark.parametrize(("offset", "left"), [(0, 0), (300, 300), (6554, 0), (-6554, 0)])
def test_a_constant_offset_is_taken_off(offset: int, left: int) -> None:
    _, content = Uploads("wav").upload((SAMPLES // 2 + offset).astype(np.int16), None)
    sent = np.frombuffer(_whole(content)[44:], np.int16)
    assert np.abs(sent - SAMPLES // 2 - left).max() <= 2


@pytest.mark.parametrize(("link", "suffix"), [(None, "wav"), (2 * GIGABIT, "wav"), (SLOW, "flac")])
def test_auto_asks_the_link(link: float | None, suffix: str) -> None:
    assert Uploads("auto").upload(SAMPLES, link)[0] == f"audio.{suffix}"


def _whole(content: Any) -> bytes:
    return content if isinstance(content, bytes) else b"".join(content)


@pytest.fixture
def slow_reader() -> Iterator[str]:
    """Takes what is sent some 4 MB a second, and answers each request."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            head = b""
            while data := connection.recv(16384):
                head = head[-64:] + data
                time.sleep(0.004)
                if b"--\r\n" in head:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n" + b'{"text": "a"}')
                    head = b""

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    listening.close()


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="the kernel does not tell")
def test_the_kernel_tells_how_slow_a_link_is(slow_reader: str) -> None:
    names = []
    with Endpoint(slow_reader, None, 30) as endpoint:
        uploads = Uploads("auto")
        for _ in range(2):
            upload: Upload = uploads.upload(SAMPLES, endpoint.link_rate)
            names.append(upload[0])
            endpoint.post("/v1/audio/transcriptions", {"model": "m"}, upload)
        assert endpoint.link_rate is not None
    assert names == ["audio.wav", "audio.flac"]


def test_a_tone_of_whole_kilohertz_is_no_offset() -> None:
    beep = (np.sin(2 * np.pi * 1000 * (np.arange(RATE * 2) + 4) / RATE) * 20000).astype(np.int16)
    samples = np.concatenate([SAMPLES, beep])
    _, content = Uploads("wav").upload(samples, None)
    assert np.array_equal(np.frombuffer(_whole(content)[44:], np.int16), samples)
