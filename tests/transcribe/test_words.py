"""Times of words, estimated from the sound: how far off on speech whose words have known times."""

from __future__ import annotations

import numpy as np
import pytest

from tests.endpoint import tones
from whisperctl.endpoint.transcription import Segment, Transcript
from whisperctl.transcribe.levels import measured
from whisperctl.transcribe.sound import RATE
from whisperctl.transcribe.words import estimated


def spoken(*words: tuple[str, float, float]) -> tuple[Transcript, list[float], list[float]]:
    """A segment of words, each as many seconds long and followed by as many of silence; starts and ends."""
    sound = [np.zeros(RATE // 2, np.int16)]
    starts, ends, at = [], [], 0.5
    for _, seconds, pause in words:
        tone = (9000 * np.sin(np.arange(round(seconds * RATE)) / 7)).astype(np.int16)
        sound += [tone, np.zeros(round(pause * RATE), np.int16)]
        starts.append(at)
        ends.append(at + seconds)
        at += seconds + pause
    text = " ".join(word for word, _, _ in words)
    whole = Segment(start=0.4, end=at - words[-1][2] + 0.1, text=text)
    transcript = Transcript(text=text, language="en", segments=(whole,))
    return estimated(transcript, measured(np.concatenate(sound))), starts, ends


def test_words_with_pauses_lie_between_them() -> None:
    timed, starts, ends = spoken(("a", 0.2, 0.3), ("considerable", 0.9, 0.1), ("pause", 0.4, 1.5), ("here", 0.3, 0.2))
    (segment,) = timed.segments or ()
    assert [word.text for word in segment.words] == ["a", "considerable", "pause", "here"]
    assert [word.start for word in segment.words] == pytest.approx(starts, abs=0.1)
    assert [word.end for word in segment.words] == pytest.approx(ends, abs=0.1)


def test_words_without_a_pause_have_times_as_long_as_they_are() -> None:
    timed, starts, _ = spoken(("one", 0.3, 0), ("two", 0.3, 0), ("three", 0.5, 0.2))
    (segment,) = timed.segments or ()
    assert [word.start for word in segment.words] == pytest.approx(starts, abs=0.1)


def test_tones_of_known_times() -> None:
    sentences = tones.sentences_of(6)
    samples = np.frombuffer(tones.speak(sentences, rate=RATE), np.int16)
    length = 5 * tones.WORD + 4 * tones.GAP
    starts = [number * (length + tones.PAUSE) for number in range(6)]
    segments = tuple(
        Segment(start=start, end=start + length, text=" ".join(sentence))
        for start, sentence in zip(starts, sentences, strict=True)
    )
    timed = estimated(Transcript(text="", segments=segments), measured(samples))
    starts_estimated = [word.start for segment in timed.segments or () for word in segment.words]
    truth = [start + place * (tones.WORD + tones.GAP) for start in starts for place in range(5)]
    assert np.abs(np.array(starts_estimated) - truth).max() < 0.05


@pytest.mark.parametrize("text", ["", "one", "a b c d e f g h i j"])
def test_whatever_is_said_over_nothing_is_in_order(text: str) -> None:
    segment = Segment(start=1.0, end=1.1, text=text)
    timed = estimated(Transcript(text=text, segments=(segment,)), measured(np.zeros(RATE * 2, np.int16)))
    words = [word for one in timed.segments or () for word in one.words]
    assert len(words) == len(text.split())
    times = [at for word in words for at in (word.start, word.end)]
    assert times == sorted(times)
    assert all(1.0 <= at <= 1.1 for at in times)


def test_a_language_without_spaces_has_a_time_for_each_character() -> None:
    segment = Segment(start=0.0, end=1.0, text="今天天气")
    timed = estimated(Transcript(text="", language="zh", segments=(segment,)), measured(np.zeros(RATE, np.int16)))
    assert [word.text for word in (timed.segments or ())[0].words] == list("今天天气")
