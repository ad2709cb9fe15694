"""Manifests: what they list, what they may name, and recordings that are fetched over HTTP."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.endpoint import tones
from tests.endpoint.fake_vllm import MODEL
from tests.transcribe.bench import Bench, texts
from whisperctl.endpoint.transcription import Ask
from whisperctl.errors import WhisperctlError
from whisperctl.transcribe import manifest
from whisperctl.transcribe.batch import Batch
from whisperctl.transcribe.channels import Channels
from whisperctl.transcribe.options import TranscriptOptions
from whisperctl.transcribe.recordings import find
from whisperctl.transcribe.results import Failed, Result


def written(folder: Path, *lines: object) -> str:
    path = folder / "list.txt"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return str(path)


def run(bench: Bench, *lines: object) -> list[Result]:
    recordings = find([], bench.folder, manifest.listed(written(bench.folder, *lines)))
    options = TranscriptOptions(ask=Ask(model=MODEL, timed=True))
    return list(Batch(options, [bench.server()], 2, bench.clock, bench.notes, spool=bench.folder).run(recordings))


def test_lines(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "# a comment",
        "",
        "a.wav",
        "file:///data/b%20c.wav",
        "s3://bucket/deep/d.mp3",
        {"path": "https://host/e.wav?signature=x", "language": "Spanish", "channels": "split", "id": "2026/call-7"},
        "a.wav",
    )
    one, two, three, four = manifest.listed(path)
    assert (one.path, one.place, one.url) == (tmp_path / "a.wav", Path("a"), None)
    assert two.path == Path("/data/b c.wav")
    assert (three.url, three.place, three.name) == ("s3://bucket/deep/d.mp3", Path("d"), "s3://bucket/deep/d.mp3")
    assert (four.name, four.language, four.channels) == ("https://host/e.wav", "es", Channels(split=True))
    assert four.place == Path("2026/call-7")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ftp://host/a.wav", "ftp:// is not read, only http, https, s3, gs and file"),
        ("https://user:secret@host/a.wav", "may hold no user or password"),
        ("file://elsewhere/a.wav", "names a file of this machine"),
        ("s3://bucket", "names a host or bucket and an object"),
        ('{"path": "a.wav", "id": "../../etc/x"}', "must name a place below the output folder"),
        ('{"path": "a.wav", "id": "/x"}', "must name a place below the output folder"),
        ('{"path": "a.wav", "lang": "de"}', "'lang' is unknown"),
        ('{"language": "de"}', "`path` is missing"),
        ('{"path": "a.wav", "language": "Klingon"}', "no language 'Klingon'"),
        ('{"path": 7}', "every value is text"),
        ('{"path": ', "no JSON object"),
    ],
)
def test_wrong_lines_are_told_with_their_numbers(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(WhisperctlError) as error:
        manifest.listed(written(tmp_path, "a.wav", line, line))
    assert f"list.txt:2: {message}" in str(error.value) or (message in str(error.value) and ":2: " in str(error.value))
    assert ":3: " in str(error.value)
    assert "secret" not in str(error.value)


def test_pipes_and_devices_are_not_read(bench: Bench) -> None:
    os.mkfifo(bench.folder / "pipe")
    pipe, device, gone = run(bench, "pipe", "/dev/zero", "gone.wav")
    assert isinstance(pipe, Failed)
    assert "it is a pipe" in pipe.reason
    assert isinstance(device, Failed)
    assert "it is a device" in device.reason
    assert isinstance(gone, Failed)
    assert "there is no such file" in gone.reason


def test_a_line_may_say_its_language(bench: Bench) -> None:
    bench.say("a.wav", [["ba"]])
    bench.say("b.wav", [["be"]])
    assert texts(run(bench, {"path": "a.wav", "language": "nl"}, "b.wav")) == ["ba", "be"]
    assert sorted(one.fields.get("language", "") for one in bench.vllm.audio_requests) == ["", "nl"]


@pytest.fixture
def web(bench: Bench) -> Iterator[tuple[str, list[str]]]:
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            asked.append(f"{self.command} {self.path}")

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(bench.folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def test_recordings_over_http(bench: Bench, web: tuple[str, list[str]]) -> None:
    url, asked = web
    bench.say("a.wav", [["ba"], ["be"]])
    done, gone = run(bench, f"{url}/a.wav?signature=secret", f"{url}/gone.wav?signature=secret")
    assert texts([done]) == ["ba be"]
    assert isinstance(gone, Failed)
    assert gone.reason == "is not there."
    assert "secret" not in str(done) + gone.name + "".join(bench.notes.lines)
    assert sum(line.startswith("GET /a.wav") for line in asked) <= 2
    assert not list(bench.folder.glob("tmp*"))


@pytest.mark.parametrize("gives_ranges", [True, False])
def test_a_large_recording_is_downloaded_once(bench: Bench, gives_ranges: bool) -> None:
    """By ranges, one of which breaks off, or as a stream from a server that gives none."""
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    content = tones.wav(tones.speak([["ba"], ["be"]]) + bytes(20 << 20), tones.RATE)
    ranges: list[tuple[int, int]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answered(200, len(content))

        def do_GET(self) -> None:
            asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            first, last = (int(asked[1]), int(asked[2])) if asked and gives_ranges else (0, len(content) - 1)
            ranges.append((first, last))
            self.answered(206 if asked and gives_ranges else 200, last - first + 1, first, last)
            breaks = gives_ranges and len(ranges) == 2
            with suppress(ConnectionError):
                self.wfile.write(content[first : last + 1 - 1000 * breaks])
            self.close_connection = True

        def answered(self, status: int, size: int, first: int = 0, last: int = 0) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(size))
            if status == 206:
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    (done,) = run(bench, f"http://127.0.0.1:{server.server_port}/a.wav")
    server.shutdown()
    server.server_close()
    assert texts([done]) == ["ba be"]
    if gives_ranges:
        assert ranges.pop(1) == ranges[1]  # the one that broke off, again, after a pause
        assert bench.clock.slept
        assert [first for first, _ in ranges] == [0, *(last + 1 for _, last in ranges[:-1])]
        assert ranges[-1][1] == len(content) - 1


def test_addresses_that_differ_by_their_query_are_different_recordings(tmp_path: Path) -> None:
    urls = [f"https://example.com/get?id={number}" for number in (1, 2)]
    with pytest.raises(WhisperctlError, match=r"list.txt:2: .* differs by its query only: give each an `id`"):
        manifest.listed(written(tmp_path, *urls))
    named = written(tmp_path, *({"path": url, "id": f"call-{number}"} for number, url in enumerate(urls)))
    assert [one.url for one in manifest.listed(named)] == urls
