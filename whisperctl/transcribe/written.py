"""Transcripts as files of an output: which are there already, and writing the others."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from whisperctl.endpoint.transcription import Transcript
from whisperctl.transcribe.formats import rendered
from whisperctl.transcribe.ledger import Source
from whisperctl.transcribe.options import TranscriptOptions
from whisperctl.transcribe.outputs import Output
from whisperctl.transcribe.recordings import Recording
from whisperctl.transcribe.results import Skipped


@dataclass(frozen=True, slots=True)
class Written:
    """The output of one run, if it has one."""

    options: TranscriptOptions
    output: Output | None

    def missing(self, recording: Recording, source: Source) -> list[str]:
        """The formats in which there is no transcript of `recording` yet."""
        options = self.options.of(recording)
        if self.output is None or options.overwrite:
            return list(options.formats)
        files = self._files(options, recording, options.formats)
        missing = self.output.missing(_written_down(options, files), source)
        return [shape for file, shape in files.items() if file in missing]

    def skipped(self, recording: Recording) -> Skipped:
        """The result of one of which nothing is missing."""
        assert self.output is not None
        last = self.options.file(recording.place, self.options.formats[-1])
        return Skipped(recording=recording, target=self.output.shown(last))

    def write(self, recording: Recording, shapes: list[str], transcript: Transcript, source: Source) -> None:
        """Write `transcript` in each format of `shapes`."""
        options = self.options.of(recording)
        if self.output is None:
            return
        files = self._files(options, recording, shapes)
        texts = {file: rendered(transcript, shape, options.limits) for file, shape in files.items()}
        self.output.write(texts, _written_down(options, files), source)

    def noting_at_once(self) -> AbstractContextManager[None]:
        """Note what is written meanwhile in one step, at the end. For one thread.

        Raises:
            WhisperctlError: nothing of it is noted.
        """
        return self.output.noting_at_once() if self.output else nullcontext()

    @staticmethod
    def _files(
        options: TranscriptOptions, recording: Recording, shapes: tuple[str, ...] | list[str]
    ) -> dict[Path, str]:
        """File -> its format."""
        return {options.file(recording.place, shape): shape for shape in shapes}


def _written_down(options: TranscriptOptions, files: Mapping[Path, str]) -> dict[Path, str]:
    return {file: options.written_down(shape) for file, shape in files.items()}
