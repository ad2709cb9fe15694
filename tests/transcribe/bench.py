"""A batch run against the test server, with time that only pauses move."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from tests.endpoint import tones
from tests.endpoint.fake_vllm import MODEL, FakeVllm
from tests.endpoint.hand_clock import HandClock
from whisperctl.endpoint.client import Endpoint
from whisperctl.endpoint.readiness import EndpointWaker
from whisperctl.endpoint.transcription import Ask
from whisperctl.transcribe import outputs
from whisperctl.transcribe.batch import Batch
from whisperctl.transcribe.options import TranscriptOptions
from whisperctl.transcribe.recordings import Recording, find
from whisperctl.transcribe.results import Done, Result
from whisperctl.transcribe.retries import RetryingEndpoint
from whisperctl.transcribe.servers import Server

_ASKED = ("task", "language", "temperature", "prompt")


class Notes:
    """Keeps what a listener hears."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.seconds = 0.0
        self.results: list[Result] = []

    def opened(self, recording: Recording, seconds: float | None) -> None:
        """Lengths matter to bars only."""

    def finished(self, result: Result) -> None:
        self.results.append(result)

    def advanced(self, seconds: float) -> None:
        self.seconds += seconds

    def paced(self, level: int) -> None:
        """Levels are tested without a server."""

    def say(self, line: str) -> None:
        self.lines.append(line)


class Bench:
    """One server, one folder."""

    def __init__(self, vllm: FakeVllm, endpoint: Endpoint, tmp_path: Path) -> None:
        self.vllm, self.endpoint, self.folder = vllm, endpoint, tmp_path
        self.clock, self.notes = HandClock(), Notes()
        self.request_instance: Callable[[float], object] | None = None
        self.timeout = 60.0

    def retrying(self) -> RetryingEndpoint:
        waker = EndpointWaker(self.endpoint, self.request_instance, self.clock, self.timeout, self.notes.say)
        return RetryingEndpoint(self.endpoint, self.clock, waker, chance=lambda: 0.0)

    def server(self) -> Server:
        return Server(self.retrying(), MODEL)

    def run(
        self, *named: str | Path, shape: str = "text", out: Path | None = None, parallelism: int = 4, **more: Any
    ) -> list[Result]:
        """Transcribe what is named; `more` is fields of Ask and TranscriptOptions."""
        asked = {name: more.pop(name) for name in _ASKED if name in more}
        formats = more.pop("formats", (shape,))
        options = TranscriptOptions(ask=Ask(model=MODEL, timed=True, **asked), formats=formats, **more)
        recordings = find([str(name) for name in named], self.folder)
        if out:
            out.mkdir(exist_ok=True)
        with outputs.opened(out) if out else nullcontext() as output:
            batch = Batch(
                options, [self.server()], parallelism, self.clock, self.notes, spool=self.folder, output=output
            )
            return list(batch.run(recordings))

    def say(self, name: str, sentences: list[list[str]], pause: float = tones.PAUSE) -> Path:
        return tones.write(self.folder / name, sentences, pause)


def texts(results: list[Result]) -> list[str]:
    return [one.transcript.text for one in results if isinstance(one, Done)]
