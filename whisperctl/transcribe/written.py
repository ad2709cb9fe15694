"""Transcripts as files of an output folder: which are there already, and writing the others."""

from __future__ import annotations

from dataclasses import dataclass

from whisperctl.endpoint.transcription import Transcript
from whisperctl.transcribe import output
from whisperctl.transcribe.formats import rendered
from whisperctl.transcribe.ledger import Ledger, Source
from whisperctl.transcribe.recordings import Recording
from whisperctl.transcribe.results import Skipped
from whisperctl.transcribe.wishes import Wishes


@dataclass(frozen=True, slots=True)
class Written:
    """The output folder of one run; none where the wishes name none."""

    wishes: Wishes
    ledger: Ledger | None

    def missing(self, recording: Recording, source: Source) -> list[str]:
        """The formats in which there is no transcript of `recording` yet."""
        wishes = self.wishes.of(recording)
        if wishes.folder is None or self.ledger is None or wishes.overwrite:
            return list(wishes.formats)
        missing = []
        for shape in wishes.formats:
            file = wishes.file(recording.place, shape)
            is_there = (wishes.folder / file).is_file()
            if not is_there or not self.ledger.is_done(file, source, wishes.written_down(shape)):
                missing.append(shape)
        return missing

    def skipped(self, recording: Recording) -> Skipped:
        """The result of one of which nothing is missing."""
        assert self.wishes.folder is not None
        last = self.wishes.file(recording.place, self.wishes.formats[-1])
        return Skipped(recording=recording, target=self.wishes.folder / last)

    def write(self, recording: Recording, shapes: list[str], transcript: Transcript, source: Source) -> None:
        """Write `transcript` in each format of `shapes`."""
        wishes = self.wishes.of(recording)
        if wishes.folder is None:
            return
        for shape in shapes:
            file = wishes.file(recording.place, shape)
            output.write(wishes.folder, wishes.folder / file, rendered(transcript, shape, wishes.limits))
            if self.ledger:
                self.ledger.done(file, source, wishes.written_down(shape))
