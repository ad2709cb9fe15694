"""How it went with each recording. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from whisperctl.endpoint.transcription import Transcript
from whisperctl.transcribe.recordings import Recording


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """A recording that was transcribed."""

    recording: Recording
    transcript: Transcript
    took: float
    """Seconds."""
    notes: tuple[str, ...] = ()
    """What its user should know: what was not heard, not sent, not believed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """A recording whose transcripts were there already, made from it as wished."""

    recording: Recording
    target: str
    """Its path or URL."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """A recording that was not transcribed, and why."""

    name: str
    given: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PassedOver:
    """A file in a named folder that is no recording."""

    recording: Recording


Result = Done | Skipped | Failed | PassedOver


class Listener(Protocol):
    """Hears how the work goes, from several threads."""

    def opened(self, recording: Recording, seconds: float | None) -> None:
        """A recording's turn has come; it is so long, if that is known."""

    def advanced(self, seconds: float) -> None:
        """So many more seconds of audio have been transcribed."""

    def finished(self, result: Result) -> None:
        """One recording is done with; they finish in any order."""

    def paced(self, level: int) -> None:
        """So many requests may be in flight from now on."""

    def say(self, line: str) -> None:
        """Something worth a line."""
