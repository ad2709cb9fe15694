"""A language of tones: each of 40 words is a sine of its own pitch, so that a test server can really listen.

`speak` makes PCM, `listen` finds the words in PCM again, with their times. Words last 0.3 s with 0.08 s between them.
"""

from __future__ import annotations

import io
import math
import wave
from array import array
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

RATE = 8000
WORD, GAP, PAUSE = 0.30, 0.08, 0.60
VOCABULARY = [first + second for first in "bdfgklmn" for second in ("a", "e", "i", "o", "u")]
_LOWEST, _STEP = 300.0, 40.0
FAINTEST = 20
"""Steps of 16 bits below which nothing is heard: a real Whisper hears speech that peaks at -52 dB, some 80."""


@cache
def burst(word: str, rate: int = RATE) -> bytes:
    """The PCM of one word, 16 bit mono."""
    pitch = _LOWEST + _STEP * VOCABULARY.index(word)
    count = round(WORD * rate)
    return array("h", (round(9000 * math.sin(2 * math.pi * pitch * i / rate)) for i in range(count))).tobytes()


def silence(seconds: float, rate: int = RATE) -> bytes:
    """The PCM of nothing."""
    return bytes(2 * round(seconds * rate))


def speak(sentences: list[list[str]], pause: float = PAUSE, rate: int = RATE) -> bytes:
    """The PCM of `sentences`, with `pause` seconds after each."""
    gap, rest = silence(GAP, rate), silence(pause, rate)
    return b"".join(gap.join(burst(word, rate) for word in sentence) + rest for sentence in sentences)


def wav(pcm: bytes, rate: int = RATE, channels: int = 1) -> bytes:
    """`pcm` as the bytes of a WAV file."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm)
    return out.getvalue()


def write(path: Path, sentences: list[list[str]], pause: float = PAUSE) -> Path:
    """A WAV file at `path` that says `sentences`."""
    path.write_bytes(wav(speak(sentences, pause)))
    return path


def sentences_of(count: int, length: int = 5) -> list[list[str]]:
    """`count` different sentences that never repeat a word side by side."""
    return [
        [VOCABULARY[(7 * number + 3 * place + number // 40) % len(VOCABULARY)] for place in range(length)]
        for number in range(count)
    ]


def text(sentences: list[list[str]]) -> str:
    """What `sentences` say."""
    return " ".join(" ".join(sentence) for sentence in sentences)


def listen(content: bytes) -> tuple[float, list[tuple[float, float, str]]]:
    """Seconds of audio, and `(start, end, sentence)` for each sentence in a WAV or FLAC file, however loud it is."""
    if content[:4] == b"fLaC":
        soundfile: Any = import_module("soundfile")  # whoever sends FLAC has it
        heard, pace = soundfile.read(io.BytesIO(content), dtype="int16")
        content = wav(heard.tobytes(), pace)
    with wave.open(io.BytesIO(content)) as file:
        rate, channels = file.getframerate(), file.getnchannels()
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")[::channels].astype(np.float32)
    bursts = [(a, b, _word(samples[a:b], rate)) for a, b in _bursts(samples, rate)]
    sentences: list[tuple[float, float, str]] = []
    for start, end, word in ((a / rate, b / rate, word) for a, b, word in bursts):
        if sentences and start - sentences[-1][1] < PAUSE / 2:
            sentences[-1] = (sentences[-1][0], end, f"{sentences[-1][2]} {word}")
        else:
            sentences.append((start, end, word))
    return len(samples) / rate, sentences


def _bursts(samples: npt.NDArray[np.float32], rate: int) -> list[tuple[int, int]]:
    """Runs of sound of at least 50 ms, to 10 ms: what is above a third of the loudest."""
    frame = rate // 100
    if len(samples) < frame:
        return []
    samples = samples - np.median(samples[:: max(1, frame // 10)])
    envelope = np.abs(samples[: len(samples) // frame * frame].reshape(-1, frame)).max(axis=1)
    lasting = np.lib.stride_tricks.sliding_window_view(np.pad(envelope, (0, 4)), 5).min(axis=1).max()  # no click counts
    if lasting < FAINTEST:
        return []
    edges = np.flatnonzero(np.diff(np.concatenate(([False], envelope > lasting / 3, [False])).astype(np.int8)))
    return [(a * frame, b * frame) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= 5]


def _word(part: npt.NDArray[np.float32], rate: int) -> str:
    """The nearest pitch; a piece of a word is heard as something else, as it is by a real model."""
    if len(part) < 0.8 * WORD * rate:
        return "uh"
    centre, half = len(part) // 2, rate // 10
    window = part[max(0, centre - half) : centre + half]
    power = np.abs(np.fft.rfft(window * np.hanning(len(window)), n=rate))  # one bin a hertz
    power[: int(_LOWEST - _STEP)] = 0
    pitch = int(power[: int(_LOWEST + _STEP * len(VOCABULARY))].argmax())
    return VOCABULARY[min(len(VOCABULARY) - 1, max(0, round((pitch - _LOWEST) / _STEP)))]
