"""How it went with each recording, as data; and that what goes wrong with one stays with that one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from whisperctl.endpoint.transcription import Transcript
from whisperctl.errors import Interrupted, WhisperctlError
from whisperctl.transcribe.recordings import MissingRecording, Named, Recording, looks_recorded, printable

R = TypeVar("R")


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
    """A recording whose transcripts were there already, made from it with the same options."""

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


def attempted(entry: Named, work: Callable[[Recording], R]) -> R | Failed | PassedOver:
    """What `work` makes of a recording. What is not there or no recording needs no work, and whatever goes wrong with
    one is that one's failure and no other's.

    Raises:
        Interrupted: the user interrupted.
    """
    try:
        if isinstance(entry, MissingRecording):
            return Failed(name=entry.name, given=entry.given, reason=entry.reason)
        if entry.folder is not None and not looks_recorded(entry):
            return PassedOver(recording=entry)
        return work(entry)
    except Interrupted:
        raise
    except WhisperctlError as error:
        reason = str(error)
    except OSError as error:
        reason = f"{printable(str(error.filename))}: {error.strerror}" if error.filename else str(error)
    except Exception as error:
        reason = f"cannot be transcribed: {type(error).__name__}: {error}"
    return Failed(name=entry.name, given=entry.given, reason=reason)


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
