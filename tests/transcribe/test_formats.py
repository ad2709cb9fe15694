"""Transcripts as text, JSON and subtitles."""

from __future__ import annotations

import json

from whisperctl.endpoint.transcription import Segment, Transcript
from whisperctl.transcribe.formats import rendered

TRANSCRIPT = Transcript(
    text="Hello <world> & all é",
    language="en",
    duration=3725.5,
    segments=(
        Segment(start=0.0, end=1.9999, text="Hello\n\n<world>"),
        Segment(start=3724.0, end=3724.0, text="& all é"),
    ),
)


def test_text() -> None:
    assert rendered(TRANSCRIPT, "text") == "Hello <world> & all é\n"


def test_srt() -> None:
    assert rendered(TRANSCRIPT, "srt") == (
        "1\n00:00:00,000 --> 00:00:02,000\nHello <world>\n\n2\n01:02:04,000 --> 01:02:04,010\n& all é\n"
    )


def test_vtt() -> None:
    assert rendered(TRANSCRIPT, "vtt") == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\nHello &lt;world&gt;\n\n01:02:04.000 --> 01:02:04.010\n&amp; all é\n"
    )


def test_nothing_said() -> None:
    silent = Transcript(text="", segments=())
    assert rendered(silent, "srt") == ""
    assert rendered(silent, "vtt") == "WEBVTT\n"
    assert rendered(silent, "text") == "\n"


def test_json() -> None:
    assert json.loads(rendered(TRANSCRIPT, "json")) == {
        "text": TRANSCRIPT.text,
        "language": "en",
        "duration": 3725.5,
    }
    assert json.loads(rendered(Transcript(text="x"), "json")) == {"text": "x"}
    verbose = json.loads(rendered(TRANSCRIPT, "verbose_json"))
    assert verbose["segments"][0] == {"id": 0, "start": 0.0, "end": 2.0, "text": "Hello\n\n<world>"}
