"""What to make of each recording, and how that is written down to know later what is done."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

from whisperctl.endpoint.transcription import Ask
from whisperctl.transcribe.channels import Channels
from whisperctl.transcribe.cues import Limits
from whisperctl.transcribe.formats import SUFFIXES
from whisperctl.transcribe.recordings import Recording
from whisperctl.transcribe.uploads import Encoding


@dataclass(frozen=True, kw_only=True, slots=True)
class TranscriptOptions:
    """What to make of each recording."""

    ask: Ask
    formats: tuple[str, ...] = ("text",)
    """text, json, verbose_json, srt, vtt."""
    overwrite: bool = False
    channels: Channels = field(default_factory=Channels)
    track: str | None = None
    """The sound track: its number from 1, or its language."""
    words: bool = False
    """Whether words get times."""
    limits: Limits = field(default_factory=Limits)
    """Of subtitles."""
    upload: Encoding = "auto"
    """How what is sent is encoded; both ways are lossless, so that it changes no transcript."""
    revision: str | None = None
    """The model's: another one hears other words."""

    def of(self, recording: Recording) -> TranscriptOptions:
        """Those for one recording: a manifest may say otherwise."""
        ask = replace(self.ask, language=recording.language) if recording.language else self.ask
        return replace(self, ask=ask, channels=recording.channels or self.channels)

    def file(self, place: Path, shape: str) -> Path:
        """The transcript's file inside the output."""
        return place.with_name(place.name + SUFFIXES[shape])

    def written_down(self, shape: str) -> str:
        """Everything that decides what a transcript in the format `shape` holds."""
        ask = self.ask
        document: dict[str, object] = {
            "format": shape,
            "model": ask.model,
            "revision": self.revision,
            "task": ask.task,
            "language": ask.language,
            "temperature": ask.temperature,
            "prompt": ask.prompt,
            "channels": str(self.channels),
            "track": self.track,
        }
        if shape in ("srt", "vtt"):
            document["limits"] = [self.limits.width, self.limits.lines, self.limits.seconds]
        if shape in ("verbose_json", "vtt", "srt"):
            document["words"] = self.words
        return json.dumps(document, sort_keys=True)
