"""Recordings from and transcripts to a bucket that speaks Google's protocol, by gcsfs over a socket."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tests.endpoint import tones
from tests.endpoint.fake_vllm import MODEL
from tests.transcribe.bench import Bench, texts
from whisperctl.endpoint.transcription import Ask
from whisperctl.errors import WhisperctlError
from whisperctl.transcribe import manifest, outputs
from whisperctl.transcribe.batch import Batch
from whisperctl.transcribe.options import TranscriptOptions
from whisperctl.transcribe.recordings import find
from whisperctl.transcribe.results import Result, Skipped


@pytest.fixture(scope="module")
def google() -> Iterator[Any]:
    """A file system of a server on loopback, named by the environment as on a user's machine."""
    emulator: Any = pytest.importorskip("gcp_storage_emulator.server")
    server = emulator.create_server("127.0.0.1", 0, in_memory=True)
    server.start()
    with pytest.MonkeyPatch.context() as environment:
        host, port = server._api._httpd.socket.getsockname()
        environment.setenv("STORAGE_EMULATOR_HOST", f"http://{host}:{port}")
        environment.setenv(
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false"
        )  # else it asks Google over gRPC what a bucket is
        gcsfs: Any = pytest.importorskip("gcsfs")
        environment.setitem(fsspec.config.conf, "gs", {"token": "anon"})
        yield gcsfs.GCSFileSystem(token="anon")
    server.stop()


@pytest.fixture
def bucket(google: Any) -> str:
    name = f"calls-{uuid.uuid4().hex[:8]}"
    google.mkdir(name)
    return name


def run(bench: Bench, bucket: str, *names: str) -> list[Result]:
    lines = bench.folder / "list.txt"
    lines.write_text("".join(f"gs://{bucket}/in/{name}\n" for name in names))
    found = find([], bench.folder, manifest.listed(str(lines)))
    options = TranscriptOptions(ask=Ask(model=MODEL, timed=True, language="es"), formats=("text", "json"))
    with outputs.opened(f"gs://{bucket}/out/") as output:
        batch = Batch(options, [bench.server()], 2, bench.clock, bench.notes, spool=bench.folder, output=output)
        return list(batch.run(found))


def put(bench: Bench, google: Any, path: str, words: list[str]) -> None:
    google.pipe_file(path, tones.write(bench.folder / "put.wav", [words]).read_bytes())


def test_there_and_back_and_once(bench: Bench, google: Any, bucket: str) -> None:
    put(bench, google, f"{bucket}/in/a.wav", ["ba"])
    put(bench, google, f"{bucket}/in/call [1].wav", ["be", "bi"])
    assert texts(run(bench, bucket, "a.wav", "call [1].wav")) == ["ba", "be bi"]
    assert google.cat(f"{bucket}/out/a.txt") == b"ba\n"
    assert json.loads(google.cat_file(f"{bucket}/out/call [1].json"))["text"] == "be bi"
    assert {path.partition("/out/")[2] for path in google.find(f"{bucket}/out", refresh=True)} == {
        *("a.txt", "a.json", "call [1].txt", "call [1].json"),
        *(".whisperctl/a.json", ".whisperctl/call [1].json"),
    }

    paid = len(bench.vllm.audio_requests)
    put(bench, google, f"{bucket}/in/a.wav", ["bo"])  # another recording under the same name
    again = run(bench, bucket, "a.wav", "call [1].wav")
    assert texts(again[:1]) == ["bo"]
    assert type(again[1]) is Skipped
    assert len(bench.vllm.audio_requests) == paid + 1


def test_a_bucket_that_is_not_there_is_one_line(google: Any) -> None:
    with pytest.raises(WhisperctlError, match="gs://no-such-bucket-here/out is not there"):
        outputs.Bucket("gs://no-such-bucket-here/out").write({Path("a.txt"): "a"}, {}, None)  # type: ignore[arg-type]
