"""Channels by themselves, with their labels; sound tracks of videos; channels that cancel each other out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.endpoint import tones
from tests.transcribe import corpus
from tests.transcribe.bench import Bench, texts
from whisperctl.errors import WhisperctlError
from whisperctl.transcribe import tracks
from whisperctl.transcribe.channels import Channels, mixed, parsed
from whisperctl.transcribe.results import Done, Failed
from whisperctl.transcribe.sound import RATE, Track

needs_tools = pytest.mark.skipif(bool(corpus.MISSING), reason=f"not on PATH: {', '.join(corpus.MISSING)}")


def call(path: Path) -> Path:
    """Two people who take turns, each on a channel."""
    turns = [tones.speak([[word]], 0.6, RATE) for word in ("ba", "be", "bi", "bo")]
    rest = bytes(len(turns[0]))
    left, right = turns[0] + rest + turns[2] + rest, rest + turns[1] + rest + turns[3]
    both = np.stack([np.frombuffer(one, np.int16) for one in (left, right)], axis=1)
    path.write_bytes(tones.wav(both.tobytes(), RATE, 2))
    return path


def test_each_channel_by_itself_in_the_order_of_time(bench: Bench) -> None:
    path, out = call(bench.folder / "call.wav"), bench.folder / "out"
    formats = ("text", "verbose_json", "srt", "vtt")
    (done,) = bench.run(path, out=out, formats=formats, channels=parsed("Agent,Customer"), language="en")
    assert isinstance(done, Done), done
    assert (out / "call.txt").read_text() == "Agent: ba\nCustomer: be\nAgent: bi\nCustomer: bo\n"
    segments = json.loads((out / "call.json").read_text())["segments"]
    assert [(one["channel"], one["text"]) for one in segments] == [
        ("Agent", "ba"),
        ("Customer", "be"),
        ("Agent", "bi"),
        ("Customer", "bo"),
    ]
    assert [one["start"] for one in segments] == pytest.approx([0, 0.9, 1.8, 2.7], abs=0.05)
    assert "\nCustomer: be\n" in (out / "call.srt").read_text()
    assert "\n<v Customer>be\n" in (out / "call.vtt").read_text()


def test_split_numbers_them_and_mix_is_one(bench: Bench) -> None:
    path = call(bench.folder / "call.wav")
    numbered = "channel 1: ba\nchannel 2: be\nchannel 1: bi\nchannel 2: bo"
    assert texts(bench.run(path, channels=parsed("split"), language="en")) == [numbered]
    assert texts(bench.run(path, language="en")) == ["ba be bi bo"]


def test_a_long_call_is_cut_in_each_channel_where_that_one_pauses(bench: Bench) -> None:
    left, right = (tones.speak(tones.sentences_of(30)[at : at + 15], rate=RATE) for at in (0, 15))
    both = np.stack([np.frombuffer(one, np.int16) for one in (left, right)], axis=1)
    (bench.folder / "long.wav").write_bytes(tones.wav(both.tobytes(), RATE, 2))
    (done,) = bench.run(bench.folder / "long.wav", channels=parsed("A,B"), language="en")
    assert isinstance(done, Done)
    for label, sentences in (("A", tones.sentences_of(30)[:15]), ("B", tones.sentences_of(30)[15:])):
        text = " ".join(one.text for one in done.transcript.segments or () if one.channel == label)
        assert text == tones.text(sentences)


def test_as_many_names_as_channels(bench: Bench) -> None:
    (failed,) = bench.run(bench.say("a.wav", [["ba"]]), channels=parsed("Agent,Customer"))
    assert isinstance(failed, Failed)
    assert failed.reason == "has 1 channel, and --channels names 2: Agent, Customer."


@pytest.mark.parametrize("text", ["", "a,", "a,a", ",", "a,b\x1bc"])
def test_names_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="mix, split, or one name for each channel"):
        parsed(text)


def test_how_it_is_written() -> None:
    assert [str(parsed(text)) for text in ("mix", "split", "a, b")] == ["mix", "split", "a,b"]
    assert parsed("left").labels(1) == ("left",)
    assert Channels().labels(5) == (None,)


def test_what_cancels_out_is_heard_on_one_channel() -> None:
    voice = np.frombuffer(tones.speak([["ba", "be"]], rate=RATE), np.int16)
    opposed = np.stack([voice, -voice], axis=1)
    assert np.array_equal(mixed(opposed), voice)
    uneven = np.stack([voice, (-0.9 * voice).astype(np.int16)], axis=1)
    assert np.abs(mixed(uneven)).max() > 8000
    noise = np.random.default_rng(1).normal(0, 3000, (2, len(voice))).astype(np.int16).T
    assert np.array_equal(mixed(noise), (noise.astype(np.int32).sum(axis=1) // 2).astype(np.int16))
    single = np.stack([voice, np.zeros_like(voice)], axis=1)
    assert np.array_equal(mixed(single), voice // 2)
    assert not mixed(np.zeros((100, 2), np.int16)).any()


@needs_tools
@pytest.mark.parametrize("decoder", ["ffmpeg", "PyAV"])
def test_tracks_by_number_and_language(bench: Bench, monkeypatch: pytest.MonkeyPatch, decoder: str) -> None:
    first, second = bench.say("first.wav", [["ba", "be"]]), bench.say("second.wav", [["mo", "mu"]])
    video = bench.folder / "two.mkv"
    tags = ("-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=ger", "-metadata:s:a:1", "title=Kommentar")
    picture = ("-f", "lavfi", "-i", "color=black:s=64x64:d=1")
    maps = ("-map", "2:v", "-map", "0:a", "-map", "1:a")
    corpus.ran("ffmpeg", "-v", "error", "-i", first, "-i", second, *picture, *maps, *tags, video)
    if decoder == "PyAV":
        pytest.importorskip("av", reason="PyAV is not installed")
        monkeypatch.setenv("PATH", str(bench.folder))
    (done,) = bench.run(video)
    assert texts([done]) == ["ba be"]
    assert isinstance(done, Done)
    assert done.notes == ("has 2 sound tracks: 1 (eng), 2 (ger, Kommentar); the first was taken (--track)",)
    for track in ("2", "de", "ger", "deu", "de-AT"):
        (done,) = bench.run(video, track=track)
        assert texts([done]) == ["mo mu"]
        assert isinstance(done, Done)
        assert done.notes == ()
    (failed,) = bench.run(video, track="3")
    assert isinstance(failed, Failed)
    assert failed.reason == "has no sound track 3, only 1 (eng), 2 (ger, Kommentar)."


def test_a_wav_has_one_track(bench: Bench) -> None:
    path = bench.say("a.wav", [["ba"]])
    assert texts(bench.run(path, track="1")) == ["ba"]
    (failed,) = bench.run(path, track="2")
    assert isinstance(failed, Failed)
    assert failed.reason == "has no sound track 2, only 1."


def test_languages_of_tracks() -> None:
    listed = [Track(number=n, index=n, channels=1, language=tag) for n, tag in enumerate(("fre", "zho", "pt-BR"), 1)]
    assert [tracks.chosen(listed, track).number for track in ("fr", "chi", "por", None)] == [1, 2, 3, 1]
    with pytest.raises(WhisperctlError, match="has no sound track en"):
        tracks.chosen(listed, "en")
