"""Many recordings through one endpoint: decoded, cut, sent in parallel, stitched, written.

At most `parallelism` requests are in flight, and little more than that many pieces in memory, however long the
recordings are. A recording that fails does not stop the others; one whose output is there already is skipped.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from whisperctl.clock import Clock
from whisperctl.endpoint.transcription import ROUTES, Ask, Transcript, lacks_times, read, timed
from whisperctl.errors import Interrupted, WhisperctlError
from whisperctl.transcribe import audio
from whisperctl.transcribe.formats import SUFFIXES, TIMED, rendered
from whisperctl.transcribe.pieces import HEAVIEST, Piece, pieces
from whisperctl.transcribe.recordings import Missing, Recording
from whisperctl.transcribe.retries import Patient
from whisperctl.transcribe.stitch import stitch
from whisperctl.transcribe.threads import Crew


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What to make of each recording."""

    ask: Ask
    shape: str
    """text, json, verbose_json, srt or vtt."""
    folder: Path | None
    """Where each transcript is written; None keeps them."""

    def target(self, recording: Recording) -> Path | None:
        """The file for `recording`'s transcript."""
        if self.folder is None:
            return None
        place = self.folder / recording.place
        return place.with_name(place.name + SUFFIXES[self.shape])


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """A recording that was transcribed."""

    recording: Recording
    transcript: Transcript
    took: float
    """Seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """A recording whose transcript was there already."""

    recording: Recording
    target: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """A recording that was not transcribed, and why."""

    name: str
    reason: str


Result = Done | Skipped | Failed


class Listener(Protocol):
    """Hears how the work goes, from several threads."""

    def heard(self, seconds: float) -> None:
        """So many more seconds of audio have been transcribed."""

    def finished(self, result: Result) -> None:
        """One recording is done with; they finish in any order."""

    def say(self, line: str) -> None:
        """Something worth a line."""


class Batch:
    """The shared parts of one run."""

    def __init__(self, order: Order, patient: Patient, parallelism: int, clock: Clock, listener: Listener) -> None:
        self._order, self._patient, self._clock, self._listener = order, patient, clock, listener
        self._files = Crew(parallelism, "recording")
        self._requests = Crew(parallelism, "request")
        self._slots = threading.Semaphore(2 * parallelism)
        self._untimed = threading.Event()

    def run(self, found: Sequence[Recording | Missing]) -> Iterator[Result]:
        """Each one's result, in order, as soon as it and those before it are done."""
        futures = [self._files.submit(lambda one=one: self._finished(one)) for one in found]  # type: ignore[misc]
        try:
            for future in futures:
                yield future.result()
        finally:
            for future in futures:
                future.cancel()
            self._patient.stop()
            self._files.dismiss()
            self._requests.dismiss()

    def _finished(self, one: Recording | Missing) -> Result:
        result = self._result(one)
        self._listener.finished(result)
        return result

    def _result(self, one: Recording | Missing) -> Result:
        if isinstance(one, Missing):
            return Failed(name=one.name, reason=one.reason)
        target = self._order.target(one)
        started = self._clock.monotonic()
        try:
            if target and _is_newer(target, one.path):
                return Skipped(recording=one, target=target)
            transcript = self._transcript(one)
            if target:
                write(target, rendered(transcript, self._order.shape))
        except Interrupted:
            raise
        except WhisperctlError as error:
            return Failed(name=one.name, reason=str(error))
        except OSError as error:
            return Failed(name=one.name, reason=f"{error.filename or target}: {error.strerror}")
        return Done(recording=one, transcript=transcript, took=self._clock.monotonic() - started)

    def _transcript(self, recording: Recording) -> Transcript:
        with audio.opened(recording.path) as pcm:
            if pcm is None:
                return self._whole(recording)
            heard = self._pieces(pieces(pcm))
        if not heard:
            raise WhisperctlError("holds no sound.")
        if len(heard) > 1:
            return stitch(heard)
        piece, transcript = heard[0]
        return timed(transcript, piece.end) if self._ask.timed else replace(transcript, duration=piece.end)

    @property
    def _ask(self) -> Ask:
        return replace(self._order.ask, timed=self._order.shape in TIMED)

    def _pieces(self, cut: Iterator[Piece]) -> list[tuple[Piece, Transcript]]:
        """Each piece's transcript; the language that the first one is heard in goes for the rest."""
        ask = self._ask
        waiting: list[tuple[Piece, Future[Transcript]]] = []
        broken = threading.Event()
        try:
            for piece in cut:
                if broken.is_set():
                    break
                ask = ask if piece.last and not piece.number else replace(ask, timed=True)
                future = self._submit(ask, piece, broken)
                waiting.append((replace(piece, content=b""), future))
                if ask.language is None and not piece.last and not piece.silent:
                    ask = replace(ask, language=_code(future.result().language))
            return [(piece, future.result()) for piece, future in waiting]
        finally:
            for _, future in waiting:
                future.cancel()

    def _submit(self, ask: Ask, piece: Piece, broken: threading.Event) -> Future[Transcript]:
        self._slots.acquire()
        future = self._requests.submit(lambda: self._heard(ask, piece))

        def done(future: Future[Transcript]) -> None:
            self._slots.release()
            if future.cancelled() or future.exception():
                broken.set()

        future.add_done_callback(done)
        return future

    def _heard(self, ask: Ask, piece: Piece) -> Transcript:
        if piece.silent:
            transcript = Transcript(text="", language=ask.language, segments=())
        else:
            transcript = self._asked(ask, "audio.wav", piece.content)
        self._listener.heard(piece.end - piece.start)
        return transcript

    def _asked(self, ask: Ask, name: str, content: bytes) -> Transcript:
        answer = self._patient.send(ask, (name, content))
        if ask.timed and lacks_times(answer):
            if answer.status == 400 and self._order.shape in TIMED and not self._untimed.is_set():
                self._untimed.set()
                self._listener.say("This vLLM gives no times (0.12 and later do): they are those of whole pieces.")
            answer = self._patient.send(replace(ask, timed=False), (name, content))
        transcript = read(answer, self._patient.endpoint.url + ROUTES[ask.task])
        return replace(transcript, language=transcript.language or ask.language)

    def _whole(self, recording: Recording) -> Transcript:
        """The transcript of a file that nothing here can decode: the server has to."""
        size = recording.path.stat().st_size
        if size > HEAVIEST:
            raise WhisperctlError(f"has {size >> 20} MB and must be cut, which needs a decoder.\n  {audio.INSTALL}")
        name = "audio" + recording.path.suffix
        try:
            transcript = self._asked(self._ask, name, recording.path.read_bytes())
        except WhisperctlError as error:
            raise WhisperctlError(
                f"{error}\n  It was sent as it is: nothing here decodes it. {audio.INSTALL}"
            ) from error
        last = max((one.end for one in transcript.segments or ()), default=0.0)
        duration = transcript.duration or last
        self._listener.heard(duration)
        return timed(transcript, duration) if self._ask.timed else transcript


def write(target: Path, text: str) -> None:
    """Write `text` to `target` in one step: whoever looks sees all of it or nothing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _is_newer(target: Path, source: Path) -> bool:
    return target.exists() and target.stat().st_mtime >= source.stat().st_mtime


def _code(language: str | None) -> str | None:
    """`language` if it is a code that the server takes back."""
    return language if language and 2 <= len(language) <= 3 and language.isalpha() else None
