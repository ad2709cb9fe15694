"""A client that asks an endpoint ten times a second while something happens to it, and keeps every answer.

Contract: knows nothing of whisperctl: plain HTTP with httpx, one connection pool. A request begins every tenth of a
second, whether or not the earlier ones were answered: a transcription while few enough of them are in flight, else the
list of models. So a busy machine sees fewer transcriptions, and a moment in which nothing answers is always seen.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.harness import loopback

EACH = 0.1
"""Seconds between the beginnings of two requests."""
ANSWER_SECONDS = 120.0
"""Longest wait for an answer: one that takes longer is an error."""
TRANSCRIPTIONS_AT_ONCE = 2
THREADS = 128
"""Requests in flight: more than any test comes to."""


@dataclass(slots=True)
class Answers:
    """What a client was answered.

    Attributes:
        words: the text that every transcription should have.
        transcribed: how long each transcription took, in seconds, errors too.
        listed: the same of each list of models.
        errors: what went wrong, a line each: a status other than 200, another model, or no answer.
        wrong: texts that were not the expected words.
    """

    words: str
    transcribed: list[float] = field(default_factory=list)
    listed: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Figures in one line."""
        return (
            f"{len(self.transcribed) + len(self.listed)} requests, {len(self.errors)} errors, {len(self.wrong)} wrong "
            f"texts; {len(self.transcribed)} transcriptions, slowest {max(self.transcribed, default=0.0):.2f} s; "
            f"{len(self.listed)} lists of models, slowest {max(self.listed, default=0.0):.2f} s"
        )


class Client:
    """Asks one endpoint; each call puts what it was answered into `answers`."""

    def __init__(self, http: httpx.Client, model: str, recording: Path, words: str, language: str) -> None:
        """Ask what `http` is for."""
        self.http, self.model, self.language = http, model, language
        self.name, self.content = recording.name, recording.read_bytes()
        self.answers = Answers(words)
        self.free = threading.Semaphore(TRANSCRIPTIONS_AT_ONCE)

    def ask(self) -> None:
        """One request, of the sort that its turn allows."""
        begun, transcribes = time.monotonic(), self.free.acquire(blocking=False)
        try:
            self._transcribe() if transcribes else self._list()
        except httpx.HTTPError as error:
            self.answers.errors.append(f"{type(error).__name__}: {error}")
        finally:
            (self.answers.transcribed if transcribes else self.answers.listed).append(time.monotonic() - begun)
            if transcribes:
                self.free.release()

    def _transcribe(self) -> None:
        form = {"model": self.model, "language": self.language, "response_format": "json"}
        files = {"file": (self.name, self.content, "audio/wav")}
        answer = self.http.post("/v1/audio/transcriptions", data=form, files=files)
        if answer.status_code != httpx.codes.OK:
            self.answers.errors.append(f"{answer.status_code}: {answer.text[:200]}")
        elif (text := str(answer.json()["text"]).strip()) != self.answers.words:
            self.answers.wrong.append(text)

    def _list(self) -> None:
        answer = self.http.get("/v1/models")
        if answer.status_code != httpx.codes.OK or self.model not in answer.text:
            self.answers.errors.append(f"{answer.status_code}: {answer.text[:200]}")


@contextmanager
def asking(url: str, token: str, model: str, recording: Path, words: str, language: str = "en") -> Iterator[Answers]:
    """Ask `url` ten times a second for the length of a block; then every answer is there."""
    over = threading.Event()
    limits = httpx.Limits(max_connections=THREADS, max_keepalive_connections=THREADS)
    headers = {"Authorization": f"Token {token}"}
    with (
        loopback.client(base_url=url, headers=headers, timeout=ANSWER_SECONDS, limits=limits, trust_env=False) as http,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        client = Client(http, model, recording, words, language)

        def ask_on_time() -> None:
            begun, count = time.monotonic(), 0
            while not over.is_set():
                pool.submit(client.ask)
                count += 1
                over.wait(max(begun + count * EACH - time.monotonic(), 0.0))

        thread = threading.Thread(target=ask_on_time, name="asks on time", daemon=True)
        thread.start()
        try:
            yield client.answers
        finally:
            over.set()
            thread.join()
