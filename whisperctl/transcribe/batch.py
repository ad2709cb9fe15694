"""Many recordings through one endpoint or several: decoded, cut, sent in parallel, stitched, written.

As many requests are in flight as there are slots, and little more than that many pieces in memory, however long and
many the recordings are. Whatever goes wrong with one recording is that recording's failure; one whose transcripts are
there already, made from it with the same options, is skipped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

from whisperctl import files
from whisperctl.clock import Clock
from whisperctl.endpoint.transcription import Ask, Transcript, timed
from whisperctl.errors import Interrupted, WhisperctlError
from whisperctl.transcribe import audio, remote
from whisperctl.transcribe.formats import TIMED
from whisperctl.transcribe.lanes import Lanes, Send, Transcribed
from whisperctl.transcribe.ledger import Source
from whisperctl.transcribe.options import TranscriptOptions
from whisperctl.transcribe.outputs import Output
from whisperctl.transcribe.pace import MOST
from whisperctl.transcribe.pieces import Piece
from whisperctl.transcribe.recordings import Named, Recording, is_pipe, spooled
from whisperctl.transcribe.results import Done, Listener, Result, attempted
from whisperctl.transcribe.servers import Server, Servers, Slot
from whisperctl.transcribe.threads import Threads
from whisperctl.transcribe.tracks import listed
from whisperctl.transcribe.turns import Turn, decoders
from whisperctl.transcribe.written import Written

_HEAVIEST = 20 * 1024 * 1024
"""Bytes of a file that is sent as it is, at most: below vLLM's 25 MB."""

_WINDOW = 1000
"""Recordings that may be begun before the first of them is done: what is in memory has a bound."""


class Batch:
    """The shared parts of one run."""

    def __init__(
        self,
        options: TranscriptOptions,
        servers: Sequence[Server],
        parallelism: int | None,
        clock: Clock,
        listener: Listener,
        *,
        spool: Path,
        output: Output | None = None,
    ) -> None:
        """Begin nothing yet.

        Args:
            options: what to make of each recording.
            servers: the endpoints, at least one.
            parallelism: how many requests each has in flight at most; None finds that out.
            clock: times the recordings.
            listener: is told how it goes.
            spool: a folder for what comes through pipes.
            output: where transcripts are written; None leaves them to whoever reads the results.
        """
        self._wishes, self._clock, self._listener = options, clock, listener
        self._spool, self._written = spool, Written(options, output)
        needs_times = bool(TIMED & set(options.formats)) or options.words
        self._servers = Servers(servers, parallelism, clock, listener, needs_times=needs_times, encoding=options.upload)
        self._files = Threads(2 * MOST, "recording")
        self._requests = Threads(MOST * len(servers), "request")
        self._turns = threading.Semaphore(min(self._servers.most, decoders()))
        self._window = threading.Semaphore(_WINDOW)
        self._stopped = False

    @property
    def refused(self) -> str | None:
        """Why nothing more is sent, or None."""
        return self._servers.refused

    @property
    def lost(self) -> str | None:
        """Why an endpoint answered nobody any more, or None."""
        return self._servers.lost

    def run(self, recordings: Iterable[Named]) -> Iterator[Result]:
        """Each one's result, in order, as soon as it and those before it are done."""
        begun: SimpleQueue[Future[Result] | None] = SimpleQueue()
        threading.Thread(target=lambda: self._begin(recordings, begun), name="recordings", daemon=True).start()
        try:
            while (future := begun.get()) is not None:
                yield future.result()
                self._window.release()
        finally:
            self._stopped = True
            self._window.release()
            self._turns.release(2 * MOST)
            self._servers.stop()
            self._files.dismiss()
            self._requests.dismiss()

    def result(self, entry: Named) -> Result:
        """One recording's result, made in this thread: its pieces are sent one after the other."""
        alone = Turn(threading.Semaphore(0))  # whoever calls this decides how many are open at once
        return self._finished(entry, alone, self._inline)

    def _begin(self, recordings: Iterable[Named], begun: SimpleQueue[Future[Result] | None]) -> None:
        """Begin one recording after the other, each when there is room for its result and it is its turn."""
        try:
            for entry in recordings:
                self._window.acquire()
                self._turns.acquire()
                if self._stopped:
                    return
                turn = Turn(self._turns)
                begun.put(self._files.submit(lambda entry=entry, turn=turn: self._finished(entry, turn, self._submit)))  # type: ignore[misc]
        except BaseException as error:  # naming the recordings failed: it is for whoever reads the results
            broken: Future[Result] = Future()
            broken.set_exception(error)
            begun.put(broken)
        finally:
            begun.put(None)

    def _finished(self, entry: Named, turn: Turn, send: Send) -> Result:
        try:
            result = attempted(entry, lambda recording: self._made(recording, turn, send))
        finally:
            turn.end()
        self._listener.finished(result)
        return result

    def _made(self, recording: Recording, turn: Turn, send: Send) -> Result:
        started = self._clock.monotonic()
        source = state(recording)
        missing = list(self._wishes.formats)
        if recording.url or not recording.path.is_fifo():
            missing = self._written.missing(recording, source)
        if not missing:
            return self._written.skipped(recording)
        if self._servers.refused:
            raise WhisperctlError(f"was not tried: {self._servers.refused}")
        transcript, notes = self._transcript(recording, turn, send)
        self._written.write(recording, missing, transcript, source)
        took = self._clock.monotonic() - started
        return Done(recording=recording, transcript=transcript, took=took, notes=tuple(notes))

    def _transcript(self, recording: Recording, turn: Turn, send: Send) -> tuple[Transcript, list[str]]:
        """What is said, and what its user should know."""
        options = self._wishes.of(recording)
        with _local(recording, self._spool, self._clock) as path, audio.opened(path, options.track) as sound:
            if sound is None:
                return self._whole(options.ask, recording, path, turn), []
            self._listener.opened(recording, sound.seconds)
            lanes = Lanes(options.ask, options.channels, send, self._listener.advanced, turn)
            transcript, notes = lanes.transcribed(sound, words=options.words)
        if len(sound.tracks) > 1 and options.track is None:
            notes.insert(
                0, f"has {len(sound.tracks)} sound tracks: {listed(sound.tracks)}; the first was taken (--track)"
            )
        return transcript, notes

    def _submit(self, ask: Ask, piece: Piece, is_over: Callable[[], bool]) -> Future[Transcribed]:
        slot = self._servers.slot()
        future = self._requests.submit(lambda: self._transcribe(slot, ask, piece, is_over))
        future.add_done_callback(lambda _: slot.give_back())
        return future

    def _inline(self, ask: Ask, piece: Piece, is_over: Callable[[], bool]) -> Future[Transcribed]:
        slot, future = self._servers.slot(), Future[Transcribed]()
        try:
            future.set_result(self._transcribe(slot, ask, piece, is_over))
        except BaseException as error:  # it belongs to whoever asks the future
            future.set_exception(error)
        finally:
            slot.give_back()
        return future

    def _transcribe(self, slot: Slot, ask: Ask, piece: Piece, is_over: Callable[[], bool]) -> Transcribed:
        if is_over():
            raise Interrupted("another piece of the same recording failed")
        answer = self._servers.ask(slot, ask, lambda asker, own: asker.transcript(own, piece))
        self._listener.advanced(piece.end - piece.start)
        return answer

    def _whole(self, ask: Ask, recording: Recording, path: Path, turn: Turn) -> Transcript:
        """The transcript of a file that nothing here can decode: the server has to."""
        size = path.stat().st_size
        if size > _HEAVIEST:
            raise WhisperctlError(f"has {size >> 20} MB and must be cut, which needs a decoder.\n  {audio.INSTALL}")
        ask = replace(ask, timed=bool(TIMED & set(self._wishes.formats)) and ask.timed)
        turn.end()
        upload = ("audio" + recording.path.suffix, path.read_bytes())
        slot = self._servers.slot()
        try:
            transcript = self._servers.ask(slot, ask, lambda asker, own: asker.asked(own, upload))
        except WhisperctlError as error:
            raise WhisperctlError(
                f"{error}\n  It was sent as it is: nothing here decodes it. {audio.INSTALL}"
            ) from error
        finally:
            slot.give_back()
        last = max((one.end for one in transcript.segments or ()), default=0.0)
        duration = transcript.duration or last
        self._listener.advanced(duration)
        return timed(transcript, duration) if ask.timed else transcript


def state(recording: Recording) -> Source:
    """Which state of `recording` is there now.

    Raises:
        WhisperctlError: it is not there, or no recording that a manifest may name.
    """
    if recording.url:
        return remote.state(recording.url)
    if recording.listed and (reason := files.refusal(recording.path)):
        raise WhisperctlError(f"is not read: {reason}.")
    return Source.of(recording.path)


@contextmanager
def _local(recording: Recording, spool: Path, clock: Clock) -> Iterator[Path]:
    """`recording` as a file that can be read more than once."""
    if recording.url:
        with remote.spooled(recording.url, spool, clock) as path:
            yield path
    elif is_pipe(recording.path):
        path = spooled(recording.path, spool)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)
    else:
        yield recording.path
