"""What counts as done: a transcript that is there, made from the same recording by the same options."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.endpoint import tones
from tests.endpoint.fake_vllm import Fault
from tests.transcribe.bench import Bench, texts
from whisperctl.errors import WhisperctlError
from whisperctl.transcribe import ledger, output
from whisperctl.transcribe.channels import Channels
from whisperctl.transcribe.cues import Limits
from whisperctl.transcribe.results import Done, Failed, Result, Skipped


def kinds(results: list[Result]) -> list[type]:
    return [type(one) for one in results]


@pytest.fixture
def out(bench: Bench) -> Path:
    bench.say("a.wav", [["ba"], ["be"]])
    assert kinds(bench.run(bench.folder / "a.wav", out=bench.folder / "out", shape="json")) == [Done]
    return bench.folder / "out"


@pytest.mark.parametrize(
    "options",
    [
        {"shape": "verbose_json"},
        {"shape": "json", "language": "de"},
        {"shape": "json", "task": "translation"},
        {"shape": "json", "temperature": 0.2},
        {"shape": "json", "channels": Channels(split=True)},
        {"shape": "json", "track": "1"},
        {"shape": "json", "revision": "another"},
        {"shape": "json", "overwrite": True},
        {"shape": "srt"},
        {"formats": ("json", "srt")},
    ],
    ids=str,
)
def test_other_wishes_are_not_done(bench: Bench, out: Path, options: dict[str, Any]) -> None:
    assert kinds(bench.run(bench.folder / "a.wav", out=out, **options)) == [Done]
    again = dict(options)
    again.pop("overwrite", None)
    assert kinds(bench.run(bench.folder / "a.wav", out=out, **again)) == [Skipped]


@pytest.mark.parametrize("options", [{}, {"words": True}, {"limits": Limits(width=20)}], ids=str)
def test_wishes_that_do_not_show_in_a_format_are_done(bench: Bench, out: Path, options: dict[str, Any]) -> None:
    assert kinds(bench.run(bench.folder / "a.wav", out=out, shape="json", **options)) == [Skipped]


def test_limits_show_in_subtitles(bench: Bench, out: Path) -> None:
    bench.run(bench.folder / "a.wav", out=out, shape="srt")
    assert kinds(bench.run(bench.folder / "a.wav", out=out, shape="srt", limits=Limits(width=20))) == [Done]


def test_another_recording_of_the_name_is_not_done(bench: Bench, out: Path) -> None:
    before = (bench.folder / "a.wav").stat()
    tones.write(bench.folder / "a.wav", [["bu"], ["be"]])
    assert (bench.folder / "a.wav").stat().st_size == before.st_size
    assert texts(bench.run(bench.folder / "a.wav", out=out, shape="json")) == ["bu be"]
    os.utime(bench.folder / "a.wav", ns=(before.st_atime_ns, before.st_mtime_ns - 10**9))
    assert kinds(bench.run(bench.folder / "a.wav", out=out, shape="json")) == [Done]


def test_a_deleted_transcript_is_not_done_and_a_folder_is_none(bench: Bench, out: Path) -> None:
    (out / "a.json").unlink()
    assert kinds(bench.run(bench.folder / "a.wav", out=out, shape="json")) == [Done]
    (out / "a.json").unlink()
    (out / "a.json").mkdir()
    (failed,) = bench.run(bench.folder / "a.wav", out=out, shape="json")
    assert isinstance(failed, Failed)
    assert failed.reason.endswith("Is a directory")


def test_several_formats_cost_one_transcription(bench: Bench) -> None:
    bench.say("a.wav", [["ba"], ["be"]])
    out = bench.folder / "out"
    bench.run(bench.folder / "a.wav", out=out, formats=("text", "verbose_json", "srt", "vtt"))
    assert sorted(path.name for path in out.iterdir()) == [".whisperctl.sqlite", "a.json", "a.srt", "a.txt", "a.vtt"]
    assert len(bench.vllm.audio_requests) == 1
    (out / "a.srt").unlink()
    assert kinds(bench.run(bench.folder / "a.wav", out=out, formats=("text", "srt"))) == [Done]


def test_a_failure_is_not_done(bench: Bench) -> None:
    out = bench.folder / "out"
    bench.vllm.faults = [Fault(400, "no")]
    assert kinds(bench.run(bench.say("a.wav", [["ba"]]), out=out)) == [Failed]
    assert list(out.iterdir()) == []
    assert kinds(bench.run(bench.folder / "a.wav", out=out)) == [Done]


def test_a_ledger_that_is_none_is_told(bench: Bench, out: Path) -> None:
    (out / ledger.NAME).write_bytes(b"no database, but long enough to look like one" * 30)
    with pytest.raises(WhisperctlError, match=r"cannot be used: .*\n  Without it everything is done again"):
        bench.run(bench.folder / "a.wav", out=out)


def test_a_ledger_of_a_later_version_is_left_alone(bench: Bench, out: Path) -> None:
    with sqlite3.connect(out / ledger.NAME) as connection:
        connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(WhisperctlError, match="written by a later whisperctl"):
        bench.run(bench.folder / "a.wav", out=out)


@pytest.mark.parametrize("name", ["講" * 82 + ".wav", "x" * 251 + ".wav", os.fsdecode(b"\xff\xfe odd \n.wav")])
def test_names_of_any_length_and_bytes(bench: Bench, name: str) -> None:
    out = bench.folder / "out"
    tones.write(bench.folder / name, [["ba"]])
    assert kinds(bench.run(bench.folder / name, out=out)) == [Done]
    assert (out / name).with_suffix(".txt").read_text() == "ba\n"
    assert kinds(bench.run(bench.folder / name, out=out)) == [Skipped]


def test_text_that_is_no_text_is_written_all_the_same(bench: Bench) -> None:
    bench.vllm.faults = [Fault(200, '{"text": "half \\ud83d a face"}')]
    out = bench.folder / "out"
    assert kinds(bench.run(bench.say("a.wav", [["ba"]]), out=out)) == [Done]
    assert (out / "a.txt").read_text() == "half \\ud83d a face\n"


def test_what_killed_runs_left_is_deleted(tmp_path: Path) -> None:
    output.write(tmp_path, tmp_path / "a.txt", "a")
    host = output.host()
    (tmp_path / f".whisperctl-{host}-{os.getpid()}-7.part").touch()
    (tmp_path / f".whisperctl-{host}-999999999-1.part").touch()
    alive = tmp_path / f".whisperctl-{host}-{os.getppid()}-1.part"
    alive.touch()
    foreign = tmp_path / ".whisperctl-00000000-1-1.part"
    foreign.touch()
    old = tmp_path / ".whisperctl-00000000-2-1.part"
    old.touch()
    os.utime(old, (0, 0))
    output.clear(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"a.txt", alive.name, foreign.name}


def test_what_is_noted_at_once_is_kept_at_the_end_whatever_ends_it(tmp_path: Path) -> None:
    source, names = ledger.Source(1, 2), [Path("a.txt"), Path("b.txt")]

    def kept() -> list[bytes]:
        with sqlite3.connect(tmp_path / ledger.NAME) as connection:
            return [file for (file,) in connection.execute("SELECT file FROM transcripts ORDER BY file")]

    def note(book: ledger.Ledger) -> None:
        with book.at_once():
            for name in names:
                book.done(name, source, "options")
            assert kept() == []
            raise KeyboardInterrupt

    with ledger.opened(tmp_path) as book:
        with pytest.raises(KeyboardInterrupt):
            note(book)
        assert kept() == [b"a.txt", b"b.txt"]
        book.done(Path("c.txt"), source, "options")
        assert kept()[2:] == [b"c.txt"]
