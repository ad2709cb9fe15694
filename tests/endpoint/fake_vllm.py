"""A small HTTP server that speaks vLLM's audio API, with its documented quirks, over a real socket.

It understands the language of `tones`. What it cannot do, it refuses in vLLM's own words: srt and vtt, uploads over
25 MB or 600 s, unknown models; it records every request, and takes faults: answers to give before the true one.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.endpoint import tones

TOKEN = "0123456789abcdef0123456789abcdef01234567"
MODEL = "whisper-tones"
DOCS = """<!DOCTYPE html><title>docs</title><h1>vLLM docs</h1><pre id=seen></pre><script>
const form = new FormData();
form.append("file", new Blob([]), "a.wav");
Promise.all([fetch("/v1/models"), fetch("/v1/audio/transcriptions", {method: "POST", body: form})])
  .then(answers => document.getElementById("seen").textContent = answers.map(one => one.status).join(" "));
</script>"""
"""A page that does what a documentation page does: it asks its own origin, and posts to it."""


@dataclass
class Fault:
    """One answer to give instead of the true one."""

    status: int
    body: str = '{"error": "a fault"}'
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Request:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    fields: dict[str, str]
    size: int


class FakeVllm:
    """The server's state; `url` is where it listens."""

    def __init__(self) -> None:
        self.url = ""
        self.token: str | None = TOKEN
        self.version = "0.32.0"
        self.asleep = False
        self.faults: list[Fault] = []
        """Given to audio requests, in order, before any true answer."""
        self.health_faults: list[Fault] = []
        self.model_faults: list[Fault] = []
        self.requests: list[Request] = []
        self.in_flight = self.most_in_flight = 0
        self.waiting = 0
        self.hold = threading.Event()
        """Audio requests wait for it, and are counted in `waiting`; set from the start."""
        self.hold.set()
        self.lock = threading.Lock()

    @property
    def audio_requests(self) -> list[Request]:
        return [one for one in self.requests if one.path.startswith("/v1/audio/")]

    def answer(self, request: Request, content: bytes) -> tuple[int, str, dict[str, str]]:
        if self.token and request.headers.get("authorization") not in (f"Token {self.token}", f"Bearer {self.token}"):
            return 401, '{"detail": "Invalid token."}', {}
        if self.asleep:
            return 503, '{"error": "no instance is ready"}', {}
        path = request.path.partition("?")[0]
        if request.method == "POST" and path in ("/v1/audio/transcriptions", "/v1/audio/translations"):
            self.waiting += not self.hold.is_set()
            self.hold.wait(10)
            return _fault(self.faults) or self._audio(request, content)
        return self._page(path, request)

    def _page(self, path: str, request: Request) -> tuple[int, str, dict[str, str]]:
        models = {"object": "list", "data": [{"id": MODEL, "object": "model"}]}
        pages = {
            "/version": (200, json.dumps({"version": self.version}), {}),
            "/docs": (200, DOCS, {"content-type": "text/html"}),
            "/docs/": (307, "", {"location": "/docs"}),
            "/away": (302, "", {"location": "http://elsewhere.invalid/steal"}),
            "/loop": (302, "", {"location": "/loop"}),
            "/echo": (200, json.dumps(request.headers), {}),
            "/held": (200, str(self.waiting), {}),
        }
        match path:
            case "/health":
                return _fault(self.health_faults) or (200, "", {})
            case "/v1/models":
                return _fault(self.model_faults) or (200, json.dumps(models), {})
            case "/hold":
                self.hold.clear()
            case "/release":
                self.hold.set()
        return pages.get(path, (404, '{"detail": "Not Found"}', {}))

    def _audio(self, request: Request, content: bytes) -> tuple[int, str, dict[str, str]]:
        shape = request.fields.get("response_format", "json")
        if refused := self._refused(request, content, shape):
            return 400 if "exist" not in refused else 404, _error(refused), {}
        duration, sentences = tones.listen(content)
        if duration > 600:
            return 400, _error("Audio exceeds maximum allowed duration of 600s"), {}
        said = " ".join(sentence for _, _, sentence in sentences)
        if request.path.endswith("translations"):
            said = said.upper()
        if shape != "verbose_json":
            return 200, json.dumps({"text": f" {said}", "usage": {"type": "duration", "seconds": 1}}), {}
        if not sentences and self.version != "0.33.0":
            return 500, _error("tuple index out of range"), {}
        segments = [_segment(number, *one) for number, one in enumerate(sentences)]
        language = request.fields.get("language") or "es"
        body = {"text": said, "language": language, "duration": str(duration), "segments": segments, "words": None}
        return 200, json.dumps(body), {}

    def _refused(self, request: Request, content: bytes, shape: str) -> str:
        if request.fields.get("model", MODEL) != MODEL:
            return f"The model `{request.fields['model']}` does not exist."
        if "prompt" in request.fields:
            return "prompt corrupts the output (test server)"
        if len(content) > 25 * 1024 * 1024:
            return "Maximum file size exceeded"
        if shape not in ("json", "text", "verbose_json") or (shape == "verbose_json" and self.version < "0.12"):
            return "Currently only support response_format `text`, `json` or `verbose_json`"
        return "" if content[:4] in (b"RIFF", b"fLaC") else "Invalid or unsupported audio file."


def _segment(number: int, start: float, end: float, said: str) -> dict[str, Any]:
    return {"id": number, "start": start, "end": end, "text": f" {said}", "no_speech_prob": None, "tokens": [1]}


def _error(message: str) -> str:
    return json.dumps({"error": {"message": message, "type": "BadRequestError", "param": None, "code": 400}})


def _fault(faults: list[Fault]) -> tuple[int, str, dict[str, str]] | None:
    if not faults:
        return None
    fault = faults.pop(0)
    return fault.status, fault.body, fault.headers


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # as the real one does
    vllm: FakeVllm

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(
            self.rfile.read(int(self.headers["content-length"])) if self.headers["content-length"] else self._chunks()
        )

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _serve(self, body: bytes) -> None:
        fields, content = _form(self.headers.get("content-type", ""), body)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, fields, len(content))
        with self.vllm.lock:
            self.vllm.requests.append(request)
            self.vllm.in_flight += 1
            self.vllm.most_in_flight = max(self.vllm.most_in_flight, self.vllm.in_flight)
        status, text, more = self.vllm.answer(request, content)
        with self.vllm.lock:
            self.vllm.in_flight -= 1
        if status == 0:  # the connection breaks without an answer
            self.close_connection = True
            return
        data = text.encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", **more, "content-length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(
        self,
        format: str,  # noqa: A002 - the name of the standard library
        *args: Any,
    ) -> None:
        """Say nothing."""


def _form(content_type: str, body: bytes) -> tuple[dict[str, str], bytes]:
    if not content_type.startswith("multipart/"):
        return {}, body
    boundary = content_type.partition("boundary=")[2].strip('"').encode()
    fields, content = {}, b""
    for part in body.split(b"--" + boundary)[1:-1]:
        head, _, payload = part.partition(b"\r\n\r\n")
        names = dict(re.findall(r'(name|filename)="([^"]*)"', head.decode()))
        if "filename" in names:
            content = payload[:-2]
        else:
            fields[names["name"]] = payload[:-2].decode()
    return fields, content


def bound(vllm: FakeVllm, port: int) -> ThreadingHTTPServer:
    """A server for `vllm` on loopback, not yet serving."""
    exchange = type("Exchange", (_Exchange,), {"vllm": vllm})
    server = ThreadingHTTPServer(("127.0.0.1", port), exchange)
    server.daemon_threads = True
    return server


@contextmanager
def serving() -> Iterator[FakeVllm]:
    """The server, on a free port of loopback, until the block ends."""
    vllm = FakeVllm()
    server = bound(vllm, 0)
    vllm.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield vllm
    finally:
        vllm.hold.set()
        server.shutdown()
        server.server_close()
        thread.join()
