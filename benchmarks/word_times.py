"""How far off the estimated times of words are (`--words`), on synthetic speech with known times.

    .venv/bin/python -m benchmarks.word_times [--words 576]

A word is noise under the envelope of its syllables, as long as it has letters, give or take a third; sentences have 6
to 14 words and a pause after them. Segments are right to a tenth of a second, as Whisper's are at best. Once words have
gaps of 40 to 120 ms between them, once they run together with the sound only softer there. Needs no server: what is
measured is what `whisperctl.transcribe.words` makes of segments and levels.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from whisperctl.endpoint.transcription import Segment, Transcript
from whisperctl.transcribe.levels import measured
from whisperctl.transcribe.sound import RATE
from whisperctl.transcribe.words import estimated

SECONDS_A_LETTER = 0.075
OFF = 0.1
"""Seconds by which a segment's times are off, at most."""
Sound = npt.NDArray[np.float64]


def word(chance: np.random.Generator, letters: int) -> Sound:
    """The sound of a word."""
    seconds = letters * SECONDS_A_LETTER * chance.uniform(0.67, 1.33)
    at = np.linspace(0, 1, round(seconds * RATE))
    syllables = max(1, round(letters / 3))
    envelope = 0.35 + 0.65 * np.abs(np.sin(np.pi * syllables * at))
    edges = np.minimum(1, np.minimum(at, 1 - at) * seconds / 0.03)
    return np.asarray(chance.standard_normal(len(at)) * envelope * edges * chance.uniform(0.5, 1.0))


def spoken(words: int, gap: tuple[float, float]) -> tuple[Transcript, Sound, list[float]]:
    """A transcript, its sound, and when each word starts."""
    chance = np.random.default_rng(7)
    parts: list[Sound] = []
    starts: list[float] = []
    segments: list[Segment] = []
    length = 0

    def add(sound: Sound) -> None:
        nonlocal length
        parts.append(sound)
        length += len(sound)

    while len(starts) < words:
        add(np.zeros(round(chance.uniform(0.4, 1.0) * RATE)))
        begin, texts = length / RATE, []
        for _ in range(min(int(chance.integers(6, 15)), words - len(starts))):
            letters = int(chance.integers(2, 11))
            starts.append(length / RATE)
            texts.append("a" * letters)
            add(word(chance, letters))
            add(np.zeros(round(chance.uniform(*gap) * RATE)))
        off = chance.uniform(-OFF, OFF, 2)
        segments.append(Segment(start=max(0.0, begin + off[0]), end=length / RATE + off[1], text=" ".join(texts)))
    add(np.zeros(RATE // 2))
    noise = chance.standard_normal(length) * 0.003
    return Transcript(text="", segments=tuple(segments)), np.concatenate(parts) + noise, starts


def errors(words: int, gap: tuple[float, float]) -> Iterator[float]:
    """Seconds by which each word's start is off."""
    transcript, sound, starts = spoken(words, gap)
    samples = np.clip(sound * 6000, -32768, 32767).astype(np.int16)
    timed = estimated(transcript, measured(samples))
    estimates = [each.start for segment in timed.segments or () for each in segment.words]
    assert len(estimates) == len(starts)
    yield from (abs(one - other) for one, other in zip(estimates, starts, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=576)
    options = parser.parse_args()
    print("| between words | words | median | 90th percentile | worst |\n|---|---|---|---|---|")
    for name, gap in (("40 to 120 ms of silence", (0.04, 0.12)), ("nothing: they run together", (0.0, 0.0))):
        off = sorted(errors(options.words, gap))
        middle, most = off[len(off) // 2], off[len(off) * 9 // 10]
        print(f"| {name} | {len(off)} | {middle * 1000:.0f} ms | {most:.2f} s | {off[-1]:.2f} s |")


if __name__ == "__main__":
    main()
