"""One recording's pieces on their way: cut lane by lane, sent as they come, stitched when all are heard."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field, replace
from typing import assert_never

import numpy as np

from whisperctl.endpoint.transcription import Ask, Transcript, timed
from whisperctl.errors import Interrupted, WhisperctlError
from whisperctl.serving import languages
from whisperctl.transcribe import speech
from whisperctl.transcribe.channels import Channels
from whisperctl.transcribe.guard import Doubt
from whisperctl.transcribe.levels import SECONDS, Levels
from whisperctl.transcribe.pieces import Cutter, Piece
from whisperctl.transcribe.sound import RATE, Samples, Sound
from whisperctl.transcribe.stitch import begun, merged, stitch
from whisperctl.transcribe.turns import Turn
from whisperctl.transcribe.words import estimated

Transcribed = tuple[Transcript, Doubt | None]
Send = Callable[[Ask, Piece, Callable[[], bool]], "Future[Transcribed]"]
"""Has a piece transcribed; the third argument tells whether nobody waits for it any more."""

_ENDS_EARLY = 1.0
"""Seconds of a recording that may be missing at its end before that is told."""


@dataclass(slots=True)
class _Lane:
    """One channel, or the mix of all."""

    label: str | None
    ask: Ask
    cutter: Cutter
    waiting: list[tuple[Piece, Future[Transcribed]]] = field(default_factory=list)
    unsent: list[tuple[float, float]] = field(default_factory=list)


class Lanes:
    """The lanes of one recording."""

    def __init__(
        self,
        ask: Ask,
        channels: Channels,
        send: Send,
        advanced: Callable[[float], None],
        turn: Turn,
    ) -> None:
        """Begin nothing yet.

        Args:
            ask: what to ask for each piece.
            channels: what to make of the channels.
            send: has a piece transcribed.
            advanced: is told of seconds that need no sending.
            turn: of the recording; it ends when everything is decoded.
        """
        self._ask, self._channels, self._send, self._advanced = ask, channels, send, advanced
        self._turn = turn
        self._lanes: list[_Lane] = []
        self._frames = 0
        self._over = threading.Event()
        self._failure: BaseException | None = None

    def transcribed(self, sound: Sound, *, words: bool) -> tuple[Transcript, list[str]]:
        """What is said in `sound`, and what its user should know.

        Raises:
            WhisperctlError: a piece could not be transcribed, or there is no sound.
        """
        try:
            for block in sound.blocks:
                self._take(block)
                if self._over.is_set():
                    break
            for lane in self._lanes:
                self._sent(lane, lane.cutter.end())
            self._turn.end()
            transcripts = [(lane.label, self._stitched(lane, words=words)) for lane in self._lanes]
        finally:
            self._over.set()
            for lane in self._lanes:
                for _, future in lane.waiting:
                    future.cancel()
        if not self._frames:
            raise WhisperctlError("holds no sound.")
        transcript = merged(transcripts) if self._channels.split else transcripts[0][1]
        return transcript, list(self._notes(sound))

    def _take(self, block: Samples) -> None:
        if not self._lanes:
            labels = self._channels.labels(block.shape[1])
            self._lanes = [_Lane(label, self._ask, Cutter(number)) for number, label in enumerate(labels)]
        self._frames += len(block)
        for lane, samples in zip(self._lanes, self._channels.lanes(block), strict=True):
            self._sent(lane, lane.cutter.push(samples))

    def _sent(self, lane: _Lane, cut: Iterator[Piece]) -> None:
        """Send what was cut; the language that a lane's first piece is heard in goes for the rest of it."""
        for piece in cut:
            if speech.is_left_out(piece):
                lane.unsent.append((piece.start, piece.end))
                future: Future[Transcribed] = Future()
                future.set_result((Transcript(text="", language=lane.ask.language, segments=()), None))
                self._advanced(piece.end - piece.start)
            else:
                future = self._send(lane.ask, piece, self._over.is_set)
                future.add_done_callback(self._stop_if_broken)
            lane.waiting.append((replace(piece, samples=_NOTHING), future))
            if lane.ask.language is None and not piece.last and not _is_unsent(lane, piece):
                with self._turn.aside():
                    first = self._result(future)[0]
                lane.ask = replace(lane.ask, language=languages.code(first.language or ""))

    def _stop_if_broken(self, future: Future[Transcribed]) -> None:
        if future.cancelled():
            return
        if (error := future.exception()) and not self._over.is_set():
            self._failure = error
            self._over.set()

    def _result(self, future: Future[Transcribed]) -> Transcribed:
        """What was heard, or the failure that came first: pieces after it are not even sent."""
        try:
            return future.result()
        except (Interrupted, CancelledError):
            raise self._failure or WhisperctlError("was given up.") from None
        except BaseException as error:  # who waits for a future may be quicker than what is to be done when it ends
            raise (self._failure or error) from None

    def _stitched(self, lane: _Lane, *, words: bool) -> Transcript:
        parts = [(piece, self._result(future)[0]) for piece, future in lane.waiting]
        if not parts:
            return Transcript(text="", segments=(), duration=0.0)
        if len(parts) == 1:
            piece, transcript = parts[0]
            whole = timed(begun(piece, transcript), piece.end)
        else:
            whole = timed(stitch(parts), parts[-1][0].end)
        return estimated(whole, _all_levels(parts)) if words else whole

    def _notes(self, sound: Sound) -> Iterator[str]:
        yield from sound.complaints
        decoded = self._frames / RATE
        if sound.seconds and decoded < sound.seconds - max(_ENDS_EARLY, sound.seconds / 50) and not sound.complaints:
            yield f"its sound ends after {decoded:.1f} s; its container says {sound.seconds:.1f} s"
        if sound.gaps:
            yield f"{_counted(len(sound.gaps), 'gap')} in its sound, kept as silence: {_listed(sound.gaps)}"
        for lane in self._lanes:
            where = f" on {lane.label}" if lane.label else ""
            if spans := _joined(lane.unsent):
                yield f"{_counted(len(lane.unsent), 'piece')} without speech{where}, not sent: {_listed(spans)}"
            for piece, future in lane.waiting:
                if doubt := future.result()[1]:
                    yield f"{_clock(piece.start)} to {_clock(piece.end)}{where}: {_explained(doubt, piece)}"


_NOTHING: Samples = np.zeros(0, np.int16)


def _is_unsent(lane: _Lane, piece: Piece) -> bool:
    return bool(lane.unsent) and lane.unsent[-1] == (piece.start, piece.end)


def _explained(doubt: Doubt, piece: Piece) -> str:
    match doubt.kind:
        case "repeats itself":
            return "the text repeats itself, also when asked again"
        case "is empty":
            return "no text, though someone speaks, also when asked again"
        case "ends early":
            return (
                f"the text ends at {_clock(piece.start + doubt.start)}, though the sound goes on, also when asked again"
            )
        case _:
            assert_never(doubt.kind)


def _joined(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """`spans` with those that touch made one."""
    joined: list[tuple[float, float]] = []
    for start, end in spans:
        if joined and start <= joined[-1][1] + SECONDS:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _all_levels(parts: list[tuple[Piece, Transcript]]) -> Levels:
    last = parts[-1][0]
    levels = np.zeros(round(last.start / SECONDS) + len(last.levels), np.uint16)
    for piece, _ in parts:
        first = round(piece.start / SECONDS)
        levels[first : first + len(piece.levels)] = piece.levels
    return levels


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" + "s" * (count != 1)


def _listed(spans: list[tuple[float, float]]) -> str:
    return ", ".join(f"{_clock(start)} to {_clock(end)}" for start, end in spans)


def _clock(seconds: float) -> str:
    """`0:20`, or `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
