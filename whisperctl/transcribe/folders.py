"""What became of the folders that were named: how many files were no recordings, and which folders held none. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from whisperctl.transcribe.recordings import Named, Recording, printable
from whisperctl.transcribe.results import Failed, PassedOver, Result


class Folders:
    """Counts as results come."""

    def __init__(self, named: Sequence[Named]) -> None:
        self.passed_over: list[str] = []
        """The suffix of each file that was passed over."""
        self._left: dict[str, int] = {}
        """Folder -> files in it that may still be recordings."""
        for one in named:
            if isinstance(one, Recording) and one.folder is not None:
                self._left[one.folder] = self._left.get(one.folder, 0) + 1

    def take(self, result: Result) -> None:
        """Count one more result in the folder that it is of."""
        if isinstance(result, PassedOver) and (folder := result.recording.folder) is not None:
            self.passed_over.append(printable(result.recording.path.suffix.lower()))
            self._left[folder] -= 1

    def without_recordings(self) -> list[Failed]:
        """A failure for each named folder in which every file was passed over."""
        return [
            Failed(name=printable(folder), given=folder, reason="no recordings in this folder")
            for folder, left in self._left.items()
            if not left
        ]
