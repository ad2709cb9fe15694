"""Every kind of container, codec and layout, with known words at known times, decoded by ffmpeg and by PyAV alike."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.endpoint import tones
from tests.endpoint.fake_vllm import TOKEN, serving
from tests.transcribe import corpus
from tests.transcribe.bench import Bench
from tests.transcribe.corpus import KINDS, Kind
from whisperctl.endpoint.client import Endpoint
from whisperctl.endpoint.wer import word_error_rate
from whisperctl.transcribe.results import Done

pytestmark = pytest.mark.skipif(bool(corpus.MISSING), reason=f"not on PATH: {', '.join(corpus.MISSING)}")
ONLY_FFMPEG = {"wav GSM 6.10", "raw gsm", "speex"}
"""What PyAV's own build of ffmpeg's libraries does not decode or recognise."""


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus.clean(tmp_path_factory.mktemp("clean"))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with serving() as server, Endpoint(server.url, TOKEN, 30.0) as client:
        yield Bench(server, client, tmp_path_factory.mktemp("corpus"))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_word_at_its_time(
    bench: Bench, clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    path = tmp_path / f"recording.{kind.suffix}"
    kind.make(clean, path)
    assert_transcribed(bench, path, kind)
    if kind.name not in ONLY_FFMPEG:
        pytest.importorskip("av", reason="PyAV is not installed")
        monkeypatch.setenv("PATH", str(tmp_path))
        assert not shutil.which("ffmpeg")
        assert_transcribed(bench, path, kind)


def assert_transcribed(bench: Bench, path: Path, kind: Kind) -> None:
    (done,) = bench.run(path, shape="verbose_json", language="en")
    assert isinstance(done, Done), done
    said = " ".join([tones.text(corpus.SENTENCES)] * kind.times)
    assert word_error_rate(said, done.transcript.text) == 0, done.transcript.text
    assert all(kind.shifts[0] < kind.shifts[-1] and "1 gap in its sound" in note for note in done.notes), done.notes
    starts = [start + shift for start, shift in zip(corpus.STARTS, kind.shifts, strict=True)]
    starts += [start + corpus.SECONDS for start in starts] * (kind.times - 1)
    starts_heard = [segment.start for segment in done.transcript.segments or ()]
    assert starts_heard == pytest.approx(starts, abs=0.1)
