"""Whatever goes wrong with one recording is told of that one, in the same words in one process and in a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from whisperctl.errors import Interrupted, WhisperctlError
from whisperctl.transcribe.recordings import MissingRecording, Recording
from whisperctl.transcribe.results import Failed, PassedOver, attempted


def recording(path: Path, folder: str | None = None) -> Recording:
    return Recording(path=path, name=path.name, given=str(path), place=Path(path.stem), folder=folder)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (WhisperctlError("holds no sound."), "holds no sound."),
        (FileNotFoundError(2, "No such file or directory", "/a\x1b[1m.wav"), "/a?[1m.wav: No such file or directory"),
        (OSError("no space"), "no space"),
        (ZeroDivisionError("by zero"), "cannot be transcribed: ZeroDivisionError: by zero"),
    ],
)
def test_what_goes_wrong_is_one_line_of_that_recording(error: Exception, reason: str, tmp_path: Path) -> None:
    def fail(_recording: Recording) -> str:
        raise error

    one = recording(tmp_path / "a.wav")
    assert attempted(one, fail) == Failed(name=one.name, given=one.given, reason=reason)


def test_an_interrupt_is_no_failure_of_a_recording(tmp_path: Path) -> None:
    def stop(_recording: Recording) -> str:
        raise Interrupted("now")

    with pytest.raises(Interrupted):
        attempted(recording(tmp_path / "a.wav"), stop)


def test_what_is_not_there_and_what_is_no_recording_need_no_work(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("no sound")
    missing = MissingRecording(name="a.wav", given="a.wav", reason="is not there")
    assert attempted(missing, lambda _: "work") == Failed(name="a.wav", given="a.wav", reason="is not there")
    assert attempted(recording(notes, folder="."), lambda _: "work") == PassedOver(recording=recording(notes, "."))
    assert attempted(recording(notes), lambda _: "work") == "work"
