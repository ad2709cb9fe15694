"""Many recordings through one endpoint, over a real socket: order, limits, faults, files, long recordings."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.endpoint import tones
from tests.endpoint.fake_vllm import MODEL, TOKEN, FakeVllm, Fault
from tests.harness.sweeps import EXHAUSTIVE
from tests.transcribe.bench import Bench, texts
from whisperctl.endpoint.client import Endpoint
from whisperctl.endpoint.transcription import Ask
from whisperctl.errors import TimedOut, Unauthorized, Unhealthy
from whisperctl.transcribe.batch import Batch
from whisperctl.transcribe.options import TranscriptOptions
from whisperctl.transcribe.recordings import Recording, find
from whisperctl.transcribe.results import Done, Failed, PassedOver, Skipped


def test_results_come_in_the_order_asked_for(bench: Bench) -> None:
    words = tones.VOCABULARY[:12]
    files = [bench.say(f"{number}.wav", [[word]]) for number, word in enumerate(words)]
    assert texts(bench.run(*reversed(files))) == list(reversed(words))
    assert bench.vllm.most_in_flight <= 4
    assert len(bench.notes.results) == 12
    assert bench.notes.seconds == pytest.approx(12 * (tones.WORD + tones.PAUSE))


def test_long_recording_is_whole_with_right_times(bench: Bench) -> None:
    sentences = tones.sentences_of(50)
    (done,) = bench.run(bench.say("long.wav", sentences), shape="verbose_json")
    assert isinstance(done, Done)
    assert done.transcript.text == tones.text(sentences)
    length = 5 * tones.WORD + 4 * tones.GAP
    for number, segment in enumerate(done.transcript.segments or ()):
        assert segment.text == " ".join(sentences[number])
        assert segment.start == pytest.approx(number * (length + tones.PAUSE), abs=0.05)
        assert segment.end == pytest.approx(segment.start + length, abs=0.05)
    assert done.transcript.duration == pytest.approx(50 * (length + tones.PAUSE), abs=0.01)


def test_recording_without_a_pause_loses_and_doubles_nothing(bench: Bench) -> None:
    sentence = [word for sentence in tones.sentences_of(60) for word in sentence]
    assert texts(bench.run(bench.say("breathless.wav", [sentence]))) == [" ".join(sentence)]


def test_language_of_the_first_piece_goes_for_the_rest(bench: Bench) -> None:
    (done,) = bench.run(bench.say("long.wav", tones.sentences_of(40)))
    first, *rest = bench.vllm.audio_requests
    assert "language" not in first.fields
    assert {one.fields["language"] for one in rest} == {"es"}
    assert isinstance(done, Done)
    assert done.transcript.language == "es"


def test_given_language_is_sent_and_prompt_never(bench: Bench) -> None:
    bench.run(bench.say("long.wav", tones.sentences_of(40)), language="en")
    assert {one.fields["language"] for one in bench.vllm.audio_requests} == {"en"}
    assert not any("prompt" in one.fields for one in bench.vllm.audio_requests)


def test_translation(bench: Bench) -> None:
    assert texts(bench.run(bench.say("a.wav", [["ba"]]), task="translation")) == ["BA"]


def test_silence_is_not_sent(bench: Bench) -> None:
    path = bench.folder / "silence.wav"
    path.write_bytes(tones.wav(tones.silence(60)))
    assert texts(bench.run(path, shape="srt")) == [""]
    assert not bench.vllm.audio_requests


@pytest.mark.parametrize("version", ["0.11.2", "0.32.0"])
def test_vllm_without_times(bench: Bench, version: str) -> None:
    bench.vllm.version = version
    sentences = tones.sentences_of(40)
    (done,) = bench.run(bench.say("long.wav", sentences), shape="srt")
    assert isinstance(done, Done)
    assert done.transcript.text == tones.text(sentences)
    assert any("gives no times" in line for line in bench.notes.lines) == (version == "0.11.2")


def test_times_that_fail_with_500_fall_back_to_plain(bench: Bench) -> None:
    """vLLM 0.32 answers 500 to verbose_json when the model emits nothing."""
    hiss = bench.folder / "hiss.wav"
    hiss.write_bytes(tones.wav(bytes([0, 1, 0, 255]) * tones.RATE * 2))
    assert texts(bench.run(hiss, shape="verbose_json")) == [""]


def test_busy_broken_and_failing_answers_are_asked_again(bench: Bench) -> None:
    bench.vllm.faults = [Fault(429, headers={"retry-after": "7"}), Fault(0), Fault(500), Fault(502)]
    assert texts(bench.run(bench.say("a.wav", [["ba", "be"]]), parallelism=1)) == ["ba be"]
    assert sum(bench.clock.slept) == pytest.approx(7 + 1 + 2 + 4)


@pytest.mark.parametrize(
    ("until", "pause"),
    [
        ("7", 7),
        ("Sun, 06 Nov 1994 08:49:57 GMT", 20),
        ("Sunday, 06-Nov-94 08:49:57 GMT", 20),
        ("Sun, 06 Nov 1994 08:49:36 GMT", 0.5),  # is over: the pause is ours
        ("\u00b2", 0.5),  # a digit that is no number
        ("nan", 0.5),
        ("86400", 60),
    ],
)
def test_a_limit_tells_its_end_in_seconds_or_as_a_date(bench: Bench, until: str, pause: float) -> None:
    headers = {"retry-after": until, "date": "Sun, 06 Nov 1994 08:49:37 GMT"}
    bench.vllm.faults = [Fault(429, headers=headers)]
    assert texts(bench.run(bench.say("a.wav", [["ba", "be"]]), parallelism=1)) == ["ba be"]
    assert sum(bench.clock.slept) == pytest.approx(pause)


def test_endless_failure_ends(bench: Bench) -> None:
    bench.vllm.faults = [Fault(500, '{"error": {"message": "CUDA error"}}')] * 20
    (failed,) = bench.run(bench.say("a.wav", [["ba"]]))
    assert isinstance(failed, Failed)
    assert "500 (CUDA error)" in failed.reason
    assert len(bench.vllm.audio_requests) == 2


def test_refusal_is_not_asked_again(bench: Bench) -> None:
    (failed,) = bench.run(bench.say("a.wav", tones.sentences_of(60)), language="xx" * 2000)
    assert isinstance(failed, Failed) or bench.vllm.audio_requests
    bench.vllm.requests.clear()
    bench.vllm.token = "another"
    (failed,) = bench.run(bench.say("b.wav", tones.sentences_of(60)), language="en", parallelism=2)
    assert isinstance(failed, Failed)
    assert "401 (Invalid token.)" in failed.reason
    assert len(bench.vllm.audio_requests) < 12


def test_error_body_with_status_200(bench: Bench) -> None:
    bench.vllm.faults = [Fault(200, '{"error": {"message": "Invalid or unsupported audio file."}}')]
    (failed,) = bench.run(bench.say("a.wav", [["ba"]]))
    assert isinstance(failed, Failed)
    assert "200 with an error in the body: Invalid or unsupported" in failed.reason


def test_one_bad_file_does_not_stop_the_rest(bench: Bench) -> None:
    good = [bench.say(f"{word}.wav", [[word]]) for word in ("ba", "be", "bi")]
    bad = bench.folder / "bad.wav"
    bad.write_bytes(b"RIFF....WAVEnonsense")
    results = bench.run(good[0], bad, good[1], bench.folder / "gone.wav", good[2])
    assert [type(one) for one in results] == [Done, Failed, Done, Failed, Done]
    assert texts(results) == ["ba", "be", "bi"]


def test_files_are_written_and_skipped_the_second_time(bench: Bench) -> None:
    folder = bench.folder / "calls"
    (folder / "deep").mkdir(parents=True)
    tones.write(folder / "a.wav", [["ba"]])
    tones.write(folder / "deep" / "b.wav", [["be"]])
    (folder / "notes.txt").write_text("not audio")
    out = bench.folder / "out"
    assert [type(one) for one in bench.run(folder, out=out)] == [Done, Done, PassedOver]
    assert {str(path.relative_to(out)): path.read_text() for path in out.rglob("*.txt")} == {
        "a.txt": "ba\n",
        "deep/b.txt": "be\n",
    }
    sent = len(bench.vllm.audio_requests)
    assert [type(one) for one in bench.run(folder, out=out)] == [Skipped, Skipped, PassedOver]
    assert len(bench.vllm.audio_requests) == sent
    os.utime(folder / "a.wav", (time.time() + 60, time.time() + 60))
    assert [type(one) for one in bench.run(folder, out=out)] == [Done, Skipped, PassedOver]


def test_an_empty_file_is_told_as_such(bench: Bench) -> None:
    (bench.folder / "a.wav").touch()
    (failed,) = bench.run(bench.folder / "a.wav")
    assert isinstance(failed, Failed)
    assert failed.reason == "is empty."


def test_odd_names(bench: Bench) -> None:
    odd = bench.folder / os.fsdecode(b"a\xff\x1b[31m\n.wav")
    tones.write(odd, [["ba"]])
    done, missing = bench.run(odd, "x" * 300)
    assert isinstance(done, Done)
    assert done.recording.name.endswith("a??[31m?.wav")
    assert isinstance(missing, Failed)
    assert missing.reason == "File name too long"


def test_same_names_do_not_share_a_file(bench: Bench) -> None:
    for name in ("one", "two"):
        (bench.folder / name).mkdir()
    paths = [tones.write(bench.folder / name / "x.wav", [[word]]) for name, word in (("one", "ba"), ("two", "be"))]
    out = bench.folder / "out"
    bench.run(*paths, out=out)
    written = {str(path.relative_to(out)): path.read_text() for path in out.rglob("*.txt")}
    assert written == {"one/x.wav.txt": "ba\n", "two/x.wav.txt": "be\n"}

    again = bench.run(*reversed(paths), out=out)
    assert [Path(one.target).parent.name for one in again if isinstance(one, Skipped)] == ["two", "one"]


def test_same_names_differ_in_suffix_or_further_up(bench: Bench) -> None:
    for name in ("one/in", "two/in", "in"):
        (bench.folder / name).mkdir(parents=True)
        for suffix in ("wav", "mp3"):
            (bench.folder / name / f"x.{suffix}").touch()
    named = [str(bench.folder / name) for name in ("one/in/x.wav", "two/in/x.wav", "one/in/x.mp3")]
    places = [str(one.place) for one in find(named, bench.folder) if isinstance(one, Recording)]
    assert places == ["one/in/x.wav", "two/in/x.wav", "x.mp3"]
    places = [str(one.place) for one in find([str(bench.folder / "in")], bench.folder) if isinstance(one, Recording)]
    assert places == ["x.mp3", "x.wav"]


def test_failed_write_leaves_nothing(bench: Bench) -> None:
    out = bench.folder / "out"
    (out / "a.txt").mkdir(parents=True)
    (failed,) = bench.run(bench.say("a.wav", [["ba"]]), out=out)
    assert isinstance(failed, Failed)
    assert {path.name for path in out.iterdir()} == {"a.txt"}


def test_patterns(bench: Bench) -> None:
    for name in ("x1.wav", "x2.wav", "y.wav"):
        bench.say(name, [[tones.VOCABULARY[len(name)]]])
    results = bench.run(str(bench.folder / "x*.wav"))
    assert [one.recording.path.name for one in results if isinstance(one, Done)] == ["x1.wav", "x2.wav"]
    (missing,) = bench.run(str(bench.folder / "z*.wav"))
    pattern = str(bench.folder / "z*.wav")
    assert missing == Failed(name=pattern, given=pattern, reason="nothing matches this pattern")


def test_sleeping_deployment_is_woken_once(bench: Bench) -> None:
    bench.vllm.asleep = True
    rung: list[float] = []

    def request_instance(timeout: float) -> None:
        rung.append(timeout)
        bench.vllm.asleep = False

    bench.request_instance = request_instance
    files = [bench.say(f"{word}.wav", [[word]]) for word in tones.VOCABULARY[:4]]
    assert texts(bench.run(*files)) == tones.VOCABULARY[:4]
    assert rung == [60.0]
    assert "No instance answers: waking one with a deployment request." in bench.notes.lines


def test_deployment_that_never_wakes(bench: Bench) -> None:
    bench.vllm.asleep = True
    retrying = bench.retrying()
    with pytest.raises(TimedOut, match="Timed out after 60 s"):
        retrying.ready()
    assert bench.clock.now == pytest.approx(60)
    with pytest.raises(TimedOut):
        retrying.ready()
    assert bench.clock.now == pytest.approx(60)


def test_why_it_cannot_be_woken(bench: Bench) -> None:
    bench.vllm.asleep = True

    rung = threading.Event()

    def request_instance(_: float) -> None:
        rung.set()
        raise Unauthorized("POST", "/requests", 401, "Invalid token")

    bench.request_instance = request_instance

    def give_way() -> None:
        if rung.wait(5):
            time.sleep(0.05)

    bench.clock.before_sleep = give_way
    with pytest.raises(Unauthorized, match="Invalid token"):
        bench.retrying().ready()


def test_waking_that_fails_does_not_matter_when_it_answers(bench: Bench) -> None:
    bench.vllm.asleep = True

    def request_instance(_: float) -> None:
        bench.vllm.asleep = False
        raise Unhealthy("request() failed")

    bench.request_instance = request_instance
    bench.retrying().ready()
    assert bench.endpoint.get("/health").status == 200


def test_wrong_token_is_said_at_once(vllm: FakeVllm, tmp_path: Path) -> None:
    with Endpoint(vllm.url, "wrong", 5) as endpoint, pytest.raises(Unhealthy, match="did not accept the token"):
        Bench(vllm, endpoint, tmp_path).retrying().ready()


def test_interrupted_run_leaves_no_thread_waiting(bench: Bench) -> None:
    bench.vllm.hold.clear()
    options = TranscriptOptions(ask=Ask(model=MODEL))
    recordings = find([str(bench.say("a.wav", [["ba"]]))], bench.folder)
    run = Batch(options, [bench.server()], 2, bench.clock, bench.notes, spool=bench.folder).run(recordings)
    assert isinstance(run, Iterator)
    with contextlib.closing(run):  # type: ignore[type-var]
        pass
    assert not bench.vllm.audio_requests


@pytest.mark.exhaustive
def test_hours(bench: Bench) -> None:
    """Everything is heard, in order, and little of the file is held: of one hour, or in full three, 55 MB each."""
    rounds = 75 if EXHAUSTIVE else 25
    sentences = tones.sentences_of(60)
    minutes = tones.speak(sentences) * rounds
    path = bench.folder / "day.wav"
    path.write_bytes(tones.wav(minutes))
    seconds = len(minutes) / 2 / tones.RATE
    assert seconds > rounds / 25 * 3600
    del minutes
    (done,) = bench.run(path, shape="srt", language="en", out=bench.folder / "out")
    assert isinstance(done, Done)
    assert done.transcript.text == " ".join([tones.text(sentences)] * rounds)
    last = (done.transcript.segments or ())[-1]
    assert last.end == pytest.approx(seconds - tones.PAUSE, abs=0.1)
    assert max(one.size for one in bench.vllm.audio_requests) < 25 * 1024 * 1024
    assert (bench.folder / "out" / "day.srt").read_text().count(" --> ") == 60 * rounds


def test_what_is_sent_as_flac_is_heard_as_well(bench: Bench) -> None:
    pytest.importorskip("soundfile")
    sentences = tones.sentences_of(16)
    (done,) = bench.run(bench.say("a.wav", sentences), upload="flac")
    assert texts([done]) == [tones.text(sentences)], done


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not on PATH")
@pytest.mark.parametrize("suffix", ["mp3", "m4a", "flac", "webm", "mp4"])
def test_pyav_where_there_is_no_ffmpeg(bench: Bench, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    pytest.importorskip("av", reason="PyAV is not installed")
    sentences = tones.sentences_of(16)
    wav, path = bench.say("a.wav", sentences), bench.folder / f"b.{suffix}"
    subprocess.run(["ffmpeg", "-v", "error", "-i", wav, path], check=True, timeout=60)
    monkeypatch.setenv("PATH", str(bench.folder))
    (done,) = bench.run(path)
    assert texts([done]) == [tones.text(sentences)], done


def test_what_pyav_cannot_decode(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av", reason="PyAV is not installed")
    monkeypatch.setenv("PATH", str(bench.folder))
    (bench.folder / "a.mp3").write_bytes(b"nonsense")
    (failed,) = bench.run(bench.folder / "a.mp3")
    assert isinstance(failed, Failed)
    assert failed.reason.startswith("cannot be decoded by PyAV: ")
    assert str(bench.folder) not in failed.reason


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not on PATH")
@pytest.mark.parametrize("suffix", ["mp3", "m4a", "flac", "ogg", "webm", "mp4", "aac", "opus"])
def test_other_containers(bench: Bench, suffix: str) -> None:
    sentences = tones.sentences_of(16)
    wav, path = bench.say("a.wav", sentences), bench.folder / f"-odd {suffix}.{suffix}"
    picture = ["-f", "lavfi", "-i", "color=black:s=64x64:r=5", "-shortest"] if suffix == "mp4" else []
    subprocess.run(["ffmpeg", "-v", "error", "-i", wav, *picture, f"file:{path}"], check=True, timeout=60)
    (done,) = bench.run(path, shape="verbose_json")
    assert isinstance(done, Done), done
    assert done.transcript.text == tones.text(sentences)
    assert done.transcript.duration == pytest.approx(16 * (5 * 0.3 + 4 * 0.08 + 0.6), abs=0.2)


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not on PATH")
@pytest.mark.parametrize(("name", "content"), [("a.mp3", b"nonsense"), ("text.mp4", b"x" * 5000)])
def test_what_ffmpeg_cannot_decode(bench: Bench, name: str, content: bytes) -> None:
    (bench.folder / name).write_bytes(content)
    (failed,) = bench.run(bench.folder / name)
    assert isinstance(failed, Failed)
    assert failed.reason.startswith("cannot be decoded by ffmpeg: ")
    assert str(bench.folder) not in failed.reason


def test_without_a_decoder_short_files_are_sent_as_they_are(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(bench.folder))
    monkeypatch.setitem(sys.modules, "av", None)
    (bench.folder / "a.mp3").write_bytes(
        tones.wav(tones.speak([["ba", "be"]])).replace(b"WAVEfmt \x10", b"WAVEfmt \x10")
    )
    (bench.folder / "b.mp3").write_bytes(b"ID3 no wave")
    (bench.folder / "c.mp3").write_bytes(b"ID3" + bytes(21 << 20))
    results = bench.run(bench.folder / "b.mp3", bench.folder / "c.mp3")
    assert all(isinstance(one, Failed) for one in results)
    small, large = (one.reason for one in results if isinstance(one, Failed))
    assert "Invalid or unsupported audio file" in small
    assert "Install ffmpeg" in small
    assert "21 MB and must be cut" in large
    assert len(bench.vllm.audio_requests) == 1


def test_json_output(bench: Bench) -> None:
    out = bench.folder / "out"
    bench.run(bench.say("a.wav", [["ba"], ["be"]]), shape="verbose_json", out=out)
    written = json.loads((out / "a.json").read_text())
    assert [one["text"] for one in written["segments"]] == ["ba", "be"]
    assert TOKEN not in (out / "a.json").read_text()


def test_a_slow_server_gets_more_time(vllm: FakeVllm, bench: Bench) -> None:
    vllm.hold.clear()
    path = bench.say("a.wav", [["ba"]])
    with Endpoint(vllm.url, TOKEN, 0.2) as hasty:
        bench.endpoint = hasty
        (failed,) = bench.run(path, parallelism=1)
        assert isinstance(failed, Failed)
        assert "no answer within 0.8 s" in failed.reason
        assert len(vllm.audio_requests) == 3
        vllm.hold.set()
        assert texts(bench.run(path)) == ["ba"]
