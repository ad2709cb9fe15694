"""A UbiOps, and an endpoint, that repeat whatever they know: secrets and tokens in every form, in errors and answers.

Contract: stands between a command and an emulator. What it passes on has the canaries in its texts; chosen requests it
refuses with an error that repeats their headers and body, too. Endpoints of services are itself.
"""

from __future__ import annotations

import base64
import html
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, quote_plus

from tests.harness import loopback
from ubiops_emulator.testing import Emulator

TEXTS = frozenset({"description", "error_message", "log", "message", "event", "detail", "deprecation"})
"""Fields of UbiOps' answers that somebody wrote, or a program."""
_TEXT = re.compile(r"[A-Za-z0-9+/_-]{12,}")


def written(word: str) -> list[str]:
    """The ways in which a program may write a word down."""
    raw = word.encode()
    quoted = [quote(word), quote(word, safe=""), quote_plus(word)]
    dumped = [json.dumps(word), json.dumps(word, ensure_ascii=False), json.dumps(json.dumps(word))]
    encoded = [form(b" " * n + raw) for n in range(3) for form in (base64.b64encode, base64.urlsafe_b64encode)]
    return [
        word, *quoted, *(form.replace("%2F", "%2f") for form in quoted), *dumped, json.dumps(word).replace("/", "\\/"),
        repr(word), html.escape(word), *(form.decode() for form in encoded), f"Token {word}", f"Bearer {word}",
        f"https://user:{quote(word, safe='')}@elsewhere.test/", *word.splitlines(),
    ]  # fmt: skip


def seen(words: Sequence[str], text: str) -> list[str]:
    """The forms of these words in a text, base64 at any offset included: found by decoding, not by looking for it."""
    lines = [line for word in words for line in {word, *word.splitlines()} if len(line) >= 8]
    forms = {form for line in lines for form in written(line)[:8] if form in text}
    for run in _TEXT.findall(text):
        for start in range(4):
            part = run[start:].replace("-", "+").replace("_", "/")
            decoded = base64.b64decode(part[: len(part) // 4 * 4]).decode("latin-1")
            forms |= {line for line in lines if line.encode().decode("latin-1") in decoded}
    return sorted(forms)


class Echo:
    """What it answers: `refuses` tells for the number, verb and path of a request whether it is refused.

    `endpoint` is the status of the data plane; with 200 it serves, and its page of models repeats, too.
    """

    def __init__(self, emulator: Emulator, words: Sequence[str], model: str) -> None:
        self.emulator, self.model = emulator, model
        self.url = ""
        self.words = [*words, emulator.token]
        self.status, self.endpoint = 400, 200
        self.asked: list[str] = []
        self.posted: list[str] = []
        """What came to `/hook`, the address of a webhook."""
        self.refuses: Callable[[int, str, str], bool] = lambda _number, _verb, _path: False
        self.lock = threading.Lock()

    def spelled(self) -> str:
        """Every word in every form."""
        return " ".join(form for word in self.words for form in written(word))

    def answer(self, verb: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        """Status, content type and body."""
        with self.lock:
            self.asked.append(f"{verb} {path}")
            number = len(self.asked)
        echo = f"{headers} {body.decode('latin-1')[-4000:]} {self.spelled()}"
        if path.startswith("/endpoint"):
            return self._served(path, echo)
        if path == "/hook":
            self.posted.append(body.decode())
            return 200, "text/plain", echo.encode()
        if self.refuses(number, verb, path):
            content = json.dumps({"error": echo}) if number % 2 else f"<title>{html.escape(echo)}</title>"
            return self.status, "application/json" if number % 2 else "text/html", content.encode()
        sent: dict[str, str] = {n: headers[n] for n in ("Authorization", "Content-Type") if n in headers}
        got = loopback.request(verb, self.emulator.root + path, headers=sent, content=body, timeout=30, trust_env=False)
        if "json" not in got.headers.get("content-type", ""):
            return got.status_code, "application/octet-stream", got.content
        return got.status_code, "application/json", json.dumps(self._seasoned(got.json())).encode()

    def _served(self, path: str, echo: str) -> tuple[int, str, bytes]:
        if self.endpoint != 200:
            return self.endpoint, "application/json", json.dumps({"detail": echo}).encode()
        answers: dict[str, Any] = {
            "/endpoint/health": {"detail": echo},
            "/endpoint/v1/models": {"data": [{"id": self.model, "owned_by": echo}, {"id": echo}]},
            "/endpoint/version": {"version": echo},
        }
        known = answers.get(path.partition("?")[0], {"error": {"message": echo}, "text": 7})
        return 200, "application/json", json.dumps(known).encode()

    def _seasoned(self, value: Any) -> Any:
        """An answer of UbiOps, with the words in its texts and as the values of its secrets."""
        match value:
            case list():
                return [self._seasoned(each) for each in value]
            case dict():
                more = {name: self._seasoned(each) for name, each in value.items()}
                texts = {
                    name: f"{more[name]} {self.spelled()}" for name in TEXTS & more.keys() if more[name] is not None
                }
                secret = {"value": self.words[0]} if more.get("secret") is True and "value" in more else {}
                url = {"endpoint": f"{self.url}/endpoint"} if more.get("endpoint") else {}
                return more | texts | secret | url
        return value


@contextmanager
def echoing(emulator: Emulator, words: Sequence[str], model: str = "openai/whisper-small") -> Iterator[Echo]:
    """A server that answers so, on loopback, until the block ends."""
    echo = Echo(emulator, words, model)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # as the real one does

        def _answer(self) -> None:
            length = self.headers.get("Content-Length")
            body = self.rfile.read(int(length)) if length else self._chunks()
            status, kind, content = echo.answer(self.command, self.path, dict(self.headers.items()), body)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _chunks(self) -> bytes:
            parts = []
            while self.headers.get("Transfer-Encoding") and (size := int(self.rfile.readline(), 16)):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            return b"".join(parts)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    for verb in ("GET", "POST", "PATCH", "PUT", "DELETE"):
        setattr(Handler, f"do_{verb}", Handler._answer)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        echo.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield echo
        server.shutdown()
