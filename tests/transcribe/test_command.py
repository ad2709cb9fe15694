"""`transcribe` and `bench` as a user runs them, against an instance behind the emulator."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.endpoint import stacks, tones
from tests.endpoint.project import Project, deployed, until
from tests.harness import program
from whisperctl.transcribe import output


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with deployed(tmp_path_factory.mktemp("emulator")) as fresh:
        yield fresh


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tones.write(tmp_path / "hello.wav", [["ba", "ke"], ["mo"]])
    stacks.write(tmp_path, smoke="audio: hello.wav, expect: ba ke mo, max_wer: 0, language: es")
    return tmp_path


def test_one_odd_recording_of_several_leaves_the_list_whole(project: Project, folder: Path) -> None:
    (folder / "odd.wav").write_bytes((folder / "hello.wav").read_bytes()[:24] + bytes(4) + bytes(100))
    ran = project.run(folder, "transcribe", "hello.wav", "odd.wav", "gone.wav", "--format", "json")
    assert ran.returncode == 1
    listed = json.loads(ran.stdout)
    assert [(one["file"], one.get("text")) for one in listed] == [
        ("hello.wav", "ba ke mo"),
        ("odd.wav", None),
        ("gone.wav", None),
    ]
    assert listed[2]["error"] == "no such file"
    assert ran.stderr.count("odd.wav") == 2
    assert "2 of 3 failed:\n" in ran.stderr


def test_names_of_any_bytes_map_back(project: Project, folder: Path) -> None:
    names = [os.fsdecode(b"\xff.wav"), "new\nline.wav"]
    for name in names:
        tones.write(folder / name, [["ba"]])
    ran = project.run(folder, "transcribe", *names, "--format", "json")
    assert [os.fsencode(one["file"]) for one in json.loads(ran.stdout)] == [os.fsencode(name) for name in names]


@pytest.mark.parametrize("shape", ["text", "json", "verbose_json"])
def test_a_stream_that_cannot_say_it_loses_nothing(project: Project, folder: Path, shape: str) -> None:
    """The answer's words are outside latin-1; they come out escaped, and the run ends well."""
    tones.write(folder / "講.wav", [["ba"]])
    command = [sys.executable, "-m", "whisperctl", "transcribe", "hello.wav", "講.wav", "--format", shape]
    environment = {**project.environment(), "PYTHONIOENCODING": "latin-1", "PYTHONPATH": str(Path.cwd())}
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert b"ba" in ran.stdout
    assert b"\\u8b1b" in ran.stdout
    if shape != "text":
        assert json.loads(ran.stdout)[1]["file"] == "講.wav"


def test_several_formats_at_once_and_again(project: Project, folder: Path) -> None:
    flags = ("--format", "text", "--format", "srt", "--format", "json", "-o", "out")
    assert project.run(folder, "transcribe", "hello.wav", *flags).returncode == 0
    assert {path.suffix for path in (folder / "out").iterdir()} == {".txt", ".srt", ".json", ".sqlite"}
    assert "skipped" in project.run(folder, "transcribe", "hello.wav", *flags).stderr
    assert "s of audio" in project.run(folder, "transcribe", "hello.wav", *flags, "--overwrite").stderr
    assert "s of audio" in project.run(folder, "transcribe", "hello.wav", *flags, "--language", "de").stderr


def test_several_stack_files_share_the_work(project: Project, folder: Path) -> None:
    stack = (folder / "stack.yaml").read_text()
    (folder / "b.yaml").write_text(stack.replace("stack: tones", "stack: tones-b"))
    (folder / "c.yaml").write_text(stack.replace("whisper-small", "whisper-base"))
    ran = project.run(folder, "transcribe", "-f", "stack.yaml", "-f", "b.yaml", "hello.wav")
    assert (ran.returncode, ran.stdout) == (0, "ba ke mo\n"), ran.stderr
    other = project.run(folder, "transcribe", "-f", "stack.yaml", "-f", "c.yaml", "hello.wav")
    assert other.returncode == 1
    assert "Name stacks of one model and revision." in other.stderr


def test_a_killed_run_leaves_nothing_and_the_next_goes_on(
    project: Project, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (folder / "many").mkdir()
    for number in range(60):
        (folder / "many" / f"{number:02}.wav").hardlink_to(folder / "hello.wav")
    out, spool = folder / "out", tmp_path_factory.mktemp("spool")
    environment = {**project.environment(), "TMPDIR": str(spool), "PYTHONPATH": str(Path.cwd())}
    command = ("transcribe", "many", "-o", "out", "--parallelism", "1")
    with program.start(*command, environ=environment, folder=folder) as killed:
        until(lambda: noted(out / ".whisperctl.sqlite") >= 3)
        killed.kill()
    skipped, there = noted(out / ".whisperctl.sqlite"), len(list(out.glob("*.txt")))
    (out / f".whisperctl-{output.host()}-{killed.pid}-7.part").write_text("ba k")  # killed in the middle of a file
    with program.start(*command, environ=environment, folder=folder) as second:
        errors = second.communicate(timeout=60)[1]
    assert second.returncode == 0, errors
    assert errors.count("skipped") == skipped <= there < 60  # the last ones may have been killed before they were noted
    assert {path.read_text() for path in out.glob("*.txt")} == {"ba ke mo\n"}
    assert {path.name for path in out.iterdir() if path.suffix != ".txt"} == {".whisperctl.sqlite"}
    assert not list(spool.iterdir())


def noted(ledger: Path) -> int:
    """How many transcripts the ledger tells."""
    if not ledger.exists():
        return 0
    with closing(sqlite3.connect(ledger)) as connection:
        [tables] = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return int(connection.execute("SELECT count(*) FROM transcripts").fetchone()[0]) if tables else 0


def test_a_manifest_here_and_on_a_cluster(project: Project, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tones.write(folder / "a.wav", [["ba"]])
    (folder / "list.txt").write_text('hello.wav\n{"path": "a.wav", "id": "deep/call"}\n')
    ran = project.run(folder, "transcribe", "--manifest", "list.txt", "-o", "out")
    assert ran.returncode == 0, ran.stderr
    assert (folder / "out" / "deep" / "call.txt").read_text() == "ba\n"
    pytest.importorskip("distributed")
    again = project.run(folder, "transcribe", "--manifest", "list.txt", "-o", "out", "--cluster", "local")
    assert (again.returncode, again.stderr.count("skipped")) == (0, 2), again.stderr
    monkeypatch.setenv("UBIOPS_API_TOKEN", project.environment()["UBIOPS_API_TOKEN"])  # workers have this process's own
    there = project.run(folder, "transcribe", "hello.wav", "-o", "there", "--cluster", "local", "--parallelism", "2")
    assert there.returncode == 0, there.stderr
    assert (folder / "there" / "hello.txt").read_text() == "ba ke mo\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--format", "json", "--format", "verbose_json", "-o", "out"), "json and verbose_json are both written to"),
        (("--format", "text", "--format", "srt"), "Several formats are several files: pass -o DIR."),
        (("--language", "Klingon"), "Whisper has no language 'Klingon'."),
        (("--language", "germn"), "Whisper has no language 'germn'. Did you mean german?"),
        (("--channels", "a,a"), "'a,a' is not mix, split, or one name for each channel"),
        (("--cluster", "local"), "--cluster writes files: pass -o DIR."),
        (("--temperature", "2"), "2.0 is not in the range 0<=x<=1"),
    ],
)
def test_wrong_wishes_are_told_before_anything_is_sent(
    project: Project, folder: Path, options: tuple[str, ...], message: str
) -> None:
    ran = project.run(folder, "transcribe", "hello.wav", *options)
    assert (ran.returncode, ran.stdout) == (64, "")
    assert message in " ".join(ran.stderr.split())


@pytest.mark.parametrize("language", ["es", "ES", "Spanish", "castilian", "es-MX", "es_ES"])
def test_languages_as_people_write_them(project: Project, folder: Path, language: str) -> None:
    ran = project.run(folder, "transcribe", "hello.wav", "--language", language, "--format", "verbose_json")
    assert json.loads(ran.stdout)["language"] == "es", ran.stderr


def test_auto_is_no_language(project: Project, folder: Path) -> None:
    assert project.run(folder, "transcribe", "hello.wav", "--language", "auto").stdout == "ba ke mo\n"


def test_a_model_that_does_not_know_the_language(project: Project, folder: Path) -> None:
    stacks.write(folder, model="openai/whisper-small.en")
    ran = project.run(folder, "transcribe", "hello.wav", "--language", "de")
    assert ran.returncode == 1
    assert "openai/whisper-small.en does not know the language de: it knows English only." in ran.stderr


def test_a_prompt_is_refused_with_the_reason(project: Project, folder: Path) -> None:
    ran = project.run(folder, "transcribe", "hello.wav", "--prompt", "UbiOps, vLLM")
    assert ran.returncode == 1
    assert "spoils what Whisper writes when a prompt is given" in ran.stderr


def test_a_folder_by_content(project: Project, folder: Path) -> None:
    calls = folder / "calls"
    (calls / "deep").mkdir(parents=True)
    tones.write(calls / "first", [["ba"]])
    tones.write(calls / "deep" / "second.bin", [["be"]])
    tones.write(calls / "third.WAV", [["bi"]])
    (calls / "third.txt").write_text("a transcript beside it")
    (calls / "._first").write_bytes(b"\0\5\x16\7 of macOS")
    (calls / "notes.txt").write_text("no recording")
    (calls / "picture.jpg").write_bytes(b"\xff\xd8\xff\xe0 picture")
    (calls / "unicode.txt").write_bytes("no mp3 either".encode("utf-16"))
    (calls / "again").symlink_to(calls)
    ran = project.run(folder, "transcribe", "calls", "-o", "out")
    assert ran.returncode == 0, ran.stderr
    written = {str(path.relative_to(folder / "out")) for path in (folder / "out").rglob("*.txt")}
    assert written == {"first.txt", "deep/second.txt", "third.txt"}
    assert "4 files passed over, no recordings by their first bytes: 3 .txt, 1 .jpg\n" in ran.stderr
    assert "._first" not in ran.stderr


def test_folders_without_a_recording(project: Project, folder: Path) -> None:
    (folder / "empty").mkdir()
    (folder / "words").mkdir()
    (folder / "words" / "a.txt").write_text("none")
    ran = project.run(folder, "transcribe", "empty", "words", "hello.wav")
    assert ran.returncode == 1
    assert "  empty: no recordings in this folder\n" in ran.stderr
    assert "  words: no recordings in this folder\n" in ran.stderr


def test_pipes_are_read_once(project: Project, folder: Path) -> None:
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    content = (folder / "hello.wav").read_bytes()
    writer = threading.Thread(target=lambda: pipe.write_bytes(content), daemon=True)
    writer.start()
    ran = project.run(folder, "transcribe", "pipe", "hello.wav")
    writer.join(10)
    assert ran.stdout == "==> pipe <==\nba ke mo\n\n==> hello.wav <==\nba ke mo\n\n", ran.stderr


def test_a_shells_substitution(project: Project, folder: Path) -> None:
    shell = f"{sys.executable} -m whisperctl transcribe <(cat hello.wav)"
    environment = {**project.environment(), "PYTHONPATH": str(Path.cwd())}
    ran = subprocess.run(
        ["bash", "-c", shell], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, "ba ke mo\n"), ran.stderr


def test_the_environments_proxy_and_certificates(project: Project, folder: Path) -> None:
    environment = {**project.environment(), "NO_PROXY": "127.0.0.1"}
    socks = program.run(
        "transcribe", "hello.wav", environ={**environment, "ALL_PROXY": "socks5://127.0.0.1:9"}, folder=folder
    )
    assert (socks.code, socks.out) == (0, "ba ke mo\n"), socks.err
    missing = program.run("transcribe", "hello.wav", environ={**environment, "SSL_CERT_FILE": "/gone"}, folder=folder)
    assert missing.code in (0, 1)
    assert "Traceback" not in missing.err
    assert missing.code == 0 or "Look at SSL_CERT_FILE" in missing.err, missing.err


def test_words_in_json_and_karaoke(project: Project, folder: Path) -> None:
    flags = ("--words", "--format", "verbose_json", "--format", "vtt", "-o", "out")
    assert project.run(folder, "transcribe", "hello.wav", *flags).returncode == 0
    document = json.loads((folder / "out" / "hello.json").read_text())
    assert document["words_estimated"] is True
    assert [one["word"] for one in document["words"]] == ["ba", "ke", "mo"]
    assert [one["start"] for one in document["words"]] == pytest.approx([0, 0.38, 1.28], abs=0.05)
    assert "\n<c>ba</c> <00:00:00.3" in (folder / "out" / "hello.vtt").read_text()


def test_bench(project: Project, folder: Path) -> None:
    ran = project.run(folder, "bench", "--concurrency", "1,4", "--seconds", "0.2")
    assert ran.returncode == 0, ran.stderr
    head, one, four = ran.stdout.splitlines()
    assert head.split() == ["at", "a", "time", "requests", "audio", "s/s", "p50", "p95", "WER", "errors"]
    assert (one.split()[0], one.split()[-2:]) == ("1", ["0.000", "0"])
    assert four.split()[0] == "4"
    document = json.loads(
        project.run(folder, "bench", "--format", "json", "--concurrency", "2", "--seconds", "0.1").stdout
    )
    (level,) = document["levels"]
    assert level["wer"] == 0
    assert level["errors"] == 0
    assert level["requests"] >= 2
    assert 0 < level["p50"] <= level["p95"]
    assert level["audio_seconds_per_second"] > 0


def test_bench_of_a_long_recording_stitches_it(project: Project, folder: Path) -> None:
    sentences = tones.sentences_of(30)
    tones.write(folder / "long.wav", sentences)
    flags = ("--audio", "long.wav", "--expect", tones.text(sentences), "--concurrency", "2", "--seconds", "0.1")
    document = json.loads(project.run(folder, "bench", *flags, "--format", "json").stdout)
    assert document["levels"][0]["wer"] == 0
    assert document["levels"][0]["requests"] >= 3


def test_bench_needs_a_recording_and_numbers(project: Project, folder: Path) -> None:
    stacks.write(folder)
    ran = project.run(folder, "bench")
    assert ran.returncode == 1
    assert "There is no audio: pass --audio FILE" in ran.stderr
    assert project.run(folder, "bench", "--concurrency", "1,none").returncode == 64
    assert project.run(folder, "bench", "--concurrency", "0").returncode == 64


def test_help_is_a_page(project: Project, folder: Path) -> None:
    text = io.StringIO(project.run(folder, "transcribe", "--help").stdout).read()
    for option in ("--overwrite", "--channels", "--track", "--words", "--temperature", "--prompt"):
        assert option in text
