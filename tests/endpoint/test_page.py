"""The proxy's own page: its headers, and a real browser that transcribes a file and what a microphone hears."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.endpoint import tones
from tests.endpoint.fake_vllm import MODEL, TOKEN, FakeVllm
from tests.endpoint.test_proxy import ask, serving
from tests.harness.browser import Page, chromium
from whisperctl.endpoint.client import Endpoint
from whisperctl.endpoint.page import ABOUT_PATH

CHROMIUM = pytest.mark.skipif(not shutil.which("chromium"), reason="Debian's chromium is not installed")
DONE = "document.querySelector('article > p')?.textContent.startsWith('done')"


@pytest.fixture
def port(endpoint: Endpoint) -> Iterator[int]:
    with serving(endpoint) as number:
        yield number


def test_the_page_lets_nothing_else_run_and_holds_no_token(vllm: FakeVllm, port: int) -> None:
    status, body, headers = ask(port, "/?x=1")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy
    assert "unsafe" not in policy
    assert b"http" + b"://" not in body
    assert b"https://" not in body
    assert (headers["x-frame-options"], headers["cache-control"]) == ("DENY", "no-store")
    assert TOKEN.encode() not in body + ask(port, ABOUT_PATH)[1]
    assert ask(port, "/", "HEAD")[1] == b""
    assert ask(port, "/", Sec_Fetch_Dest="iframe")[0] == 403
    assert ask(port, ABOUT_PATH, Origin="https://evil.example")[0] == 403
    assert ask(port, "/", Host="evil.example")[0] == 421
    assert not vllm.requests  # none of it is the endpoint's
    assert ask(port, "/", "POST", b"x")[0] != 200
    assert len(vllm.requests) == 1


def texts(page: Page, selector: str) -> list[str]:
    shown: list[str] = page.value(f"[...document.querySelectorAll({selector!r})].map(one => one.textContent)")
    return shown


@CHROMIUM
def test_a_recording_becomes_segments_that_play_and_files(vllm: FakeVllm, port: int, tmp_path: Path) -> None:
    recording = tmp_path / "tones <b>.wav"
    tones.write(recording, [["ba", "de"], ["fi"]])
    with chromium(tmp_path / "profile") as page:
        page.open(f"http://127.0.0.1:{port}/")
        page.until("document.getElementById('health').textContent === 'healthy'")
        assert page.until("document.getElementById('model').textContent !== '…' && model.textContent") == MODEL
        page.choose("#files", recording)
        page.until(DONE)
        assert " ".join(texts(page, ".word")) == "ba de fi"
        assert texts(page, "h2") == ["tones <b>.wav"]
        assert texts(page, ".time")[0] == "00:00"
        assert "WEBVTT\n\n00:00:00.000 --> " in page.value("files.vtt([{start: 0, end: 1.5, text: 'hello world'}])")
        assert page.value("files.srt([{start: 0, end: 1.5, text: 'x'}])") == "1\n00:00:00,000 --> 00:00:01,500\nx\n"
        # With the keyboard alone: to the second word, and play from there.
        page.value("document.querySelector('.word').focus()")
        page.press("ArrowRight")
        assert page.value("document.activeElement.textContent") == "de"
        page.press("Enter", "\r")
        page.until("document.querySelector('audio').currentTime > 0")
        tree = page.tree()
        assert {("button", "Speak"), ("button", "Copy the curl"), ("textbox", "Language")} <= set(tree)
        assert ("button", "play from 00:00") in tree
        assert ("button", "Download srt") in tree
        assert ("article", "tones <b>.wav") in tree
        page.picture(tmp_path / "page.png")
    (request,) = vllm.audio_requests
    assert request.fields["model"] == MODEL
    assert request.fields["response_format"] == "verbose_json"


@CHROMIUM
def test_a_long_recording_is_sent_in_pieces_that_come_one_by_one(vllm: FakeVllm, port: int, tmp_path: Path) -> None:
    with chromium(tmp_path / "profile") as page:
        page.open(f"http://127.0.0.1:{port}/")
        ends = page.value("""(() => {
            const samples = new Float32Array(70 * 16000).fill(0.5), ends = [];
            samples.fill(0, 25 * 16000, 26 * 16000);
            for (let start = 0; start < samples.length;) { start = endOf(samples, start); ends.push(start / 16000); }
            return ends;
        })()""")
    assert 25 <= ends[0] <= 26
    assert ends[-1] == 70
    assert len(ends) == 3


@CHROMIUM
def test_what_the_microphone_hears_is_transcribed(vllm: FakeVllm, port: int, tmp_path: Path) -> None:
    spoken = tmp_path / "spoken.wav"
    tones.write(spoken, [["ba", "de", "fi"]])
    flags = (
        "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={spoken}",
    )  # fmt: skip
    with chromium(tmp_path / "profile", *flags) as page:
        page.open(f"http://localhost:{port}/")
        page.until("document.getElementById('model').textContent !== '…'")
        page.value("document.getElementById('speak').click()")
        page.until("recorder && recorder.state === 'recording'")
        page.value("new Promise(done => setTimeout(done, 1500))")
        page.value("document.getElementById('speak').click()")
        page.until(
            "document.querySelector('article > p') && !/…$/.test(document.querySelector('article > p').textContent)"
        )
        assert page.value("document.getElementById('speak').textContent") == "Speak"
        assert page.value("document.querySelector('audio').src").startswith("blob:")
        assert "bad" not in (page.value("document.querySelector('article > p').className") or "")
    assert len(vllm.audio_requests) == 1
    assert vllm.audio_requests[0].size > 16_000
