"""Recordings from and transcripts to a bucket that speaks S3, with one ledger object a recording."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.endpoint import stacks, tones
from tests.endpoint.fake_vllm import MODEL
from tests.endpoint.project import Project, deployed
from tests.transcribe.bench import Bench, texts
from whisperctl.endpoint.transcription import Ask
from whisperctl.errors import WhisperctlError
from whisperctl.transcribe import manifest, outputs
from whisperctl.transcribe.batch import Batch
from whisperctl.transcribe.options import TranscriptOptions
from whisperctl.transcribe.recordings import find
from whisperctl.transcribe.results import Done, Result, Skipped

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "an-access-key",
    "AWS_SECRET_ACCESS_KEY": "a-secret-access-key",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A server on loopback, named by the environment as on a user's machine; both take seconds to import."""
    pytest.importorskip("s3fs")
    moto: Any = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}.items():
            environment.setenv(name, value)
        yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
def bucket(s3: str) -> tuple[Any, str]:
    s3fs: Any = pytest.importorskip("s3fs")
    files, name = s3fs.S3FileSystem(skip_instance_cache=True), f"calls-{uuid.uuid4().hex[:8]}"
    files.mkdir(name)
    return files, name


def run(bench: Bench, bucket: str, *names: str, **more: Any) -> list[Result]:
    lines = bench.folder / "list.txt"
    lines.write_text("".join(f"s3://{bucket}/in/{name}\n" for name in names))
    recordings = find([], bench.folder, manifest.listed(str(lines)))
    options = TranscriptOptions(ask=Ask(model=MODEL, timed=True, language="es"), **more)
    with outputs.opened(f"s3://{bucket}/out/") as output:
        batch = Batch(options, [bench.server()], 2, bench.clock, bench.notes, spool=bench.folder, output=output)
        return list(batch.run(recordings))


def put(bench: Bench, files: Any, bucket: str, name: str, words: list[str]) -> None:
    files.pipe_file(f"{bucket}/in/{name}", tones.write(bench.folder / "put.wav", [words]).read_bytes())


def test_there_and_back_and_once(bench: Bench, bucket: tuple[Any, str]) -> None:
    files, name = bucket
    put(bench, files, name, "a.wav", ["ba"])
    put(bench, files, name, "b.wav", ["be", "bi"])
    assert texts(run(bench, name, "a.wav", "b.wav", formats=("text", "json"))) == ["ba", "be bi"]
    assert files.cat(f"{name}/out/a.txt") == b"ba\n"
    assert json.loads(files.cat(f"{name}/out/b.json"))["text"] == "be bi"
    assert {path.partition("/out/")[2] for path in files.find(f"{name}/out")} == {
        *("a.txt", "a.json", "b.txt", "b.json", ".whisperctl/a.json", ".whisperctl/b.json")
    }

    paid = len(bench.vllm.audio_requests)
    put(bench, files, name, "b.wav", ["bo"])  # another recording under the same name
    files.rm(f"{name}/out/a.json")  # what is not there is made again, alone
    again = run(bench, name, "a.wav", "b.wav", formats=("text", "json"))
    assert texts(again) == ["ba", "bo"]
    assert len(bench.vllm.audio_requests) == paid + 2
    last = run(bench, name, "a.wav", "b.wav", formats=("text", "json"))
    assert [type(one) for one in last] == [Skipped, Skipped]
    assert next(one.target for one in last if isinstance(one, Skipped)) == f"s3://{name}/out/a.json"
    assert type(run(bench, name, "a.wav", formats=("text",), words=True, overwrite=True)[0]) is Done


def test_names_that_look_like_patterns_are_names(bench: Bench, bucket: tuple[Any, str]) -> None:
    files, name = bucket
    put(bench, files, name, "call [1].wav", ["ba"])
    assert texts(run(bench, name, "call [1].wav", formats=("text",))) == ["ba"]
    assert [type(one) for one in run(bench, name, "call [1].wav", formats=("text",))] == [Skipped]


def test_a_damaged_ledger_object_costs_its_recording_only(bench: Bench, bucket: tuple[Any, str]) -> None:
    files, name = bucket
    put(bench, files, name, "a.wav", ["ba"])
    run(bench, name, "a.wav")
    files.pipe_file(f"{name}/out/.whisperctl/a.json", b"[not ours")
    assert texts(run(bench, name, "a.wav")) == ["ba"]


def test_a_bucket_that_is_not_there_is_one_line(s3: str) -> None:
    with pytest.raises(WhisperctlError, match="s3://no-such-bucket-here/out is not there") as error:
        outputs.Bucket("s3://no-such-bucket-here/out").write({Path("a.txt"): "a"}, {}, None)  # type: ignore[arg-type]
    assert "a-secret-access-key" not in str(error.value)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with deployed(tmp_path_factory.mktemp("emulator")) as fresh:
        yield fresh


def test_the_command_writes_there(project: Project, bucket: tuple[Any, str], tmp_path: Path) -> None:
    files, name = bucket
    stacks.write(tmp_path)
    tones.write(tmp_path / "a.wav", [["ba"]])
    ran = project.run(tmp_path, "transcribe", "a.wav", "-f", "stack.yaml", "-o", f"s3://{name}/deep/er")
    assert ran.returncode == 0, ran.stderr
    assert files.cat(f"{name}/deep/er/a.txt") == b"ba\n"
    again = project.run(tmp_path, "transcribe", "a.wav", "-o", f"s3://{name}/deep/er")
    assert f"s3://{name}/deep/er/a.txt is there" in again.stderr
    wrong = project.run(tmp_path, "transcribe", "a.wav", "-o", "https://host/x")
    assert "https:// is not written to, only a folder, s3:// and gs://." in wrong.stderr
    assert not os.path.exists(tmp_path / "https:")  # noqa: PTH110
