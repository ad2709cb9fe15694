"""Load on an endpoint: the pieces of one recording, sent so many at a time, and what that takes. No retries on purpose.

A level begins no request after its seconds are over, and waits for those in flight. Answers other than 200 count as
errors, by their status.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from math import ceil

from whisperctl.clock import Clock
from whisperctl.endpoint.client import Endpoint
from whisperctl.endpoint.transcription import ROUTES, Ask, Transcript, read, request, timed
from whisperctl.endpoint.wer import word_error_rate
from whisperctl.errors import Unreachable, WhisperctlError
from whisperctl.transcribe import wav
from whisperctl.transcribe.pieces import Piece
from whisperctl.transcribe.stitch import stitch
from whisperctl.transcribe.threads import Threads


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadLevel:
    """How the endpoint did with so many requests at a time."""

    concurrency: int
    requests: int
    errors: dict[str, int]
    """What was answered instead of a transcript -> how often."""
    audio_seconds_per_second: float
    """Of answered requests, from the first request to the last answer."""
    p50: float | None
    """Seconds that half of the answers took at most; None without any."""
    p95: float | None
    wer: float | None
    """Word error rate of the whole recording, if its words are known and every piece was answered."""


@dataclass(slots=True)
class _Seen:
    """What the threads of a level have to tell."""

    latencies: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    audio: float = 0.0
    transcripts: dict[int, Transcript] = field(default_factory=dict)
    sent: int = 0


class Load:
    """One recording against one endpoint."""

    def __init__(self, endpoint: Endpoint, ask: Ask, pieces: Sequence[Piece], expect: str | None, clock: Clock) -> None:
        """Send nothing yet.

        Args:
            endpoint: is up.
            ask: what to ask for each piece.
            pieces: at least one.
            expect: what the recording says, if that is known.
            clock: times everything.
        """
        self._endpoint, self._ask, self._pieces, self._expect, self._clock = endpoint, ask, pieces, expect, clock
        self._bodies = [wav.header(piece.samples) + piece.samples.tobytes() for piece in pieces]
        self._lock = threading.Lock()

    def warm_up(self) -> None:
        """Send the first piece once: the first answer of a server takes longer.

        Raises:
            Unhealthy: the endpoint refuses.
            Unreachable: no answer came.
        """
        read(request(self._endpoint, self._ask, ("audio.wav", self._bodies[0])), self._asked)

    def level(self, concurrency: int, seconds: float) -> LoadLevel:
        """Send `concurrency` requests at a time for so many seconds, each piece at least once."""
        seen = _Seen()
        started = self._clock.monotonic()
        threads = Threads(concurrency, "load")
        work: list[Future[None]] = [
            threads.submit(lambda: self._until(seen, started + seconds, concurrency)) for _ in range(concurrency)
        ]
        try:
            for future in work:
                future.result()
        finally:
            threads.dismiss()
        took = max(self._clock.monotonic() - started, 1e-9)
        ordered = sorted(seen.latencies)
        return LoadLevel(
            concurrency=concurrency,
            requests=seen.sent,
            errors=dict(seen.errors),
            audio_seconds_per_second=seen.audio / took,
            p50=_share(ordered, 0.50),
            p95=_share(ordered, 0.95),
            wer=self._wer(seen.transcripts),
        )

    def _until(self, seen: _Seen, deadline: float, concurrency: int) -> None:
        least = max(len(self._pieces), concurrency)
        while True:
            with self._lock:
                if seen.sent >= least and self._clock.monotonic() >= deadline:
                    return
                number = seen.sent % len(self._pieces)
                seen.sent += 1
            self._one(seen, number)

    def _one(self, seen: _Seen, number: int) -> None:
        began = self._clock.monotonic()
        try:
            answer = request(self._endpoint, self._ask, ("audio.wav", self._bodies[number]))
            took = self._clock.monotonic() - began
            transcript = read(answer, self._asked)
        except Unreachable:
            self._failed(seen, "no answer")
        except WhisperctlError:
            self._failed(seen, str(answer.status) if answer.status != 200 else "no transcript")
        else:
            with self._lock:
                seen.latencies.append(took)
                seen.audio += self._pieces[number].end - self._pieces[number].start
                seen.transcripts[number] = transcript

    def _failed(self, seen: _Seen, kind: str) -> None:
        with self._lock:
            seen.errors[kind] += 1

    def _wer(self, transcripts: dict[int, Transcript]) -> float | None:
        if self._expect is None or len(transcripts) < len(self._pieces):
            return None
        if len(self._pieces) == 1:
            return word_error_rate(self._expect, transcripts[0].text)
        whole = timed(stitch((piece, transcripts[at]) for at, piece in enumerate(self._pieces)), self._pieces[-1].end)
        return word_error_rate(self._expect, whole.text)

    @property
    def _asked(self) -> str:
        return self._endpoint.url + ROUTES[self._ask.task]


def _share(ordered: Sequence[float], share: float) -> float | None:
    """The value that `share` of `ordered` does not exceed."""
    return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else None
