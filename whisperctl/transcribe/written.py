"""Transcripts as files of an output: which are there already, and writing the others."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from whisperctl.endpoint.transcription import Transcript
from whisperctl.transcribe.formats import rendered
from whisperctl.transcribe.ledger import Source
from whisperctl.transcribe.outputs import Output
from whisperctl.transcribe.recordings import Recording
from whisperctl.transcribe.results import Skipped
from whisperctl.transcribe.wishes import Wishes


@dataclass(frozen=True, slots=True)
class Written:
    """The output of one run, if it has one."""

    wishes: Wishes
    output: Output | None

    def missing(self, recording: Recording, source: Source) -> list[str]:
        """The formats in which there is no transcript of `recording` yet."""
        wishes = self.wishes.of(recording)
        if self.output is None or wishes.overwrite:
            return list(wishes.formats)
        files = self._files(wishes, recording, wishes.formats)
        missing = self.output.missing(_written_down(wishes, files), source)
        return [shape for file, shape in files.items() if file in missing]

    def skipped(self, recording: Recording) -> Skipped:
        """The result of one of which nothing is missing."""
        assert self.output is not None
        last = self.wishes.file(recording.place, self.wishes.formats[-1])
        return Skipped(recording=recording, target=self.output.shown(last))

    def write(self, recording: Recording, shapes: list[str], transcript: Transcript, source: Source) -> None:
        """Write `transcript` in each format of `shapes`."""
        wishes = self.wishes.of(recording)
        if self.output is None:
            return
        files = self._files(wishes, recording, shapes)
        texts = {file: rendered(transcript, shape, wishes.limits) for file, shape in files.items()}
        self.output.write(texts, _written_down(wishes, files), source)

    def noting_at_once(self) -> AbstractContextManager[None]:
        """Note what is written meanwhile in one step, at the end. For one thread.

        Raises:
            WhisperctlError: nothing of it is noted.
        """
        return self.output.noting_at_once() if self.output else nullcontext()

    @staticmethod
    def _files(wishes: Wishes, recording: Recording, shapes: tuple[str, ...] | list[str]) -> dict[Path, str]:
        """File -> its format."""
        return {wishes.file(recording.place, shape): shape for shape in shapes}


def _written_down(wishes: Wishes, files: Mapping[Path, str]) -> dict[Path, str]:
    return {file: wishes.written_down(shape) for file, shape in files.items()}
