"""One piece's transcript: asked for, judged, and asked for again where it cannot be all that was said."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from whisperctl.endpoint.client import Answer
from whisperctl.endpoint.form import Upload
from whisperctl.endpoint.transcription import ROUTES, Ask, Transcript, lacks_times, read
from whisperctl.errors import Interrupted, Unhealthy, WhisperctlError
from whisperctl.transcribe import guard, speech
from whisperctl.transcribe.levels import SECONDS, is_quiet, loud_from
from whisperctl.transcribe.pieces import Piece
from whisperctl.transcribe.retries import RetryingEndpoint
from whisperctl.transcribe.sound import RATE
from whisperctl.transcribe.stitch import stitch
from whisperctl.transcribe.uploads import Encoding, Uploads

_WARM, _HOT = 0.4, 0.8
"""Temperatures of the second and the third try."""
_REFUSED = (401, 403)
_LEAD = 1.0
"""Seconds before the doubtful end that are sent again with what follows it: words that both hear are kept once."""
_BREATH = 0.1
"""Seconds before the first sound that are sent with it: a model takes the start of what it gets for that of words."""


class Asker:
    """Sends pieces; safe to share between threads. After a refused token nothing more is sent."""

    def __init__(
        self, retrying: RetryingEndpoint, say: Callable[[str], None], *, needs_times: bool, encoding: Encoding = "auto"
    ) -> None:
        """Send nothing yet.

        Args:
            patient: sends requests.
            say: gets what is worth a line.
            needs_times: whether segments are wanted for themselves, and not only to judge answers by.
            encoding: of what is sent.
        """
        self._uploads = Uploads(encoding)
        self._retrying, self._say, self._needs_times = retrying, say, needs_times
        self._untimed = threading.Event()
        self._lock = threading.Lock()
        self._refused: str | None = None

    @property
    def refused(self) -> str | None:
        """Why nothing more is sent, or None."""
        return self._refused

    def transcript(self, ask: Ask, piece: Piece) -> tuple[Transcript, guard.Doubt | None]:
        """What is said in `piece`, times from its start; and what remains doubtful about it.

        Raises:
            Unhealthy: the server refused, or gave no transcript.
            Unreachable: no answer came.
        """
        first = self._judged(self.asked(ask, self._upload(piece)), piece)
        if first[1] is None:
            return first
        best = first
        warm = replace(ask, temperature=max(ask.temperature, _WARM), seed=1)
        late = _from_its_sound(piece) if first[1].kind == "is empty" else None
        if again := self._again(warm, piece) if late is None else self._later(ask, late):
            best = again if guard.better(again, best) else best
        answer, doubt = best
        if doubt is None:
            return best
        if doubt.kind == "ends early":
            return self._continued(warm, piece, answer, doubt)
        hot = replace(ask, temperature=max(ask.temperature, _HOT), seed=2)
        if (again := self._again(hot, piece)) and guard.better(again, best):
            best = again
        return best

    def asked(self, ask: Ask, upload: Upload) -> Transcript:
        """The transcript of one file as it is.

        Raises:
            Unhealthy: the server refused, or gave no transcript.
            Unreachable: no answer came.
        """
        plain = replace(ask, timed=False)
        timed = ask.timed and not self._untimed.is_set()
        answer = self._sent(ask if timed else plain, upload, None if self._needs_times else plain)
        if timed and lacks_times(answer) and (answer.status == 400 or self._needs_times):
            if answer.status == 400:
                self._does_not_time()
            answer = self._sent(plain, upload)
        transcript = read(answer, self._retrying.endpoint.url + ROUTES[ask.task])
        return replace(transcript, language=transcript.language or ask.language)

    def _does_not_time(self) -> None:
        """Ask for no times any more."""
        with self._lock:
            untimed = self._untimed.is_set()
            self._untimed.set()
        if self._needs_times and not untimed:
            self._say("This vLLM gives no times (0.12 and later do): they are those of whole pieces.")

    def _sent(self, ask: Ask, upload: Upload, otherwise: Ask | None = None) -> Answer:
        if self._refused:
            raise Unhealthy(f"was not sent: {self._refused}")
        answer = self._retrying.send(ask, upload, otherwise)
        if answer.status in _REFUSED:
            with self._lock:
                self._refused = self._refused or f"the endpoint answered {answer} to an earlier request."
        return answer

    def _again(self, ask: Ask, piece: Piece) -> tuple[Transcript, guard.Doubt | None] | None:
        """Another try; None if the server does not like it: there is an answer already."""
        try:
            return self._judged(self.asked(ask, self._upload(piece)), piece)
        except Interrupted:
            raise
        except WhisperctlError:
            return None

    def _continued(
        self, ask: Ask, piece: Piece, begun: Transcript, doubt: guard.Doubt
    ) -> tuple[Transcript, guard.Doubt | None]:
        """`begun` with what a shorter piece from its early end on says; as it is if that is no better."""
        rest = replace(_rest(piece, int(max(0.0, doubt.start - _LEAD) / SECONDS)), shared=True)
        again = self._again(ask, rest)
        if again is None or again[1] is not None or not again[0].text or again[0].text in begun.text:
            return begun, doubt
        before = replace(piece, start=0.0, end=doubt.start)
        joined = stitch([(before, begun), (rest, again[0])])
        return replace(joined, language=begun.language), None

    def _later(self, ask: Ask, rest: Piece) -> tuple[Transcript, guard.Doubt | None] | None:
        """What a piece's later part says, with times from the piece's start."""
        if (again := self._again(ask, rest)) is None:
            return None
        later, doubt = again
        doubt = doubt and replace(doubt, start=doubt.start + rest.start)
        return replace(stitch([(rest, later)]), language=later.language), doubt

    def _upload(self, piece: Piece) -> Upload:
        return self._uploads.upload(piece.samples, self._retrying.endpoint.link_rate)

    def _judged(self, transcript: Transcript, piece: Piece) -> tuple[Transcript, guard.Doubt | None]:
        return transcript, guard.doubt(transcript, piece.levels, lambda: _is_spoken(piece))


def _is_spoken(piece: Piece) -> bool:
    """Whether someone speaks in `piece`, as far as can be told here."""
    return speech.has_speech(piece.samples) if speech.can_tell() else not is_quiet(piece.levels)


def _from_its_sound(piece: Piece) -> Piece | None:
    """`piece` without the long silence that it begins with, if it does: a small model may hear nothing behind that."""
    first = int(np.argmax(piece.levels >= loud_from(piece.levels))) if len(piece.levels) else 0
    return _rest(piece, first - round(_BREATH / SECONDS)) if first * SECONDS >= 2 * _LEAD else None


def _rest(piece: Piece, first: int) -> Piece:
    """`piece` from its level `first` on; its times are from the piece's start."""
    start = first * SECONDS
    return replace(
        piece,
        start=start,
        end=piece.end - piece.start,
        samples=piece.samples[round(start * RATE) :],
        levels=piece.levels[first:],
    )
