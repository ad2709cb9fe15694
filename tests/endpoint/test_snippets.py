"""The snippets really run, as a user would paste them, and the token is in no argument."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.endpoint import tones
from tests.endpoint.fake_vllm import MODEL, TOKEN, FakeVllm
from whisperctl.endpoint import snippets
from whisperctl.endpoint.transcription import Task

ODD = 'it\'s "odd" $HOME.wav'


@pytest.fixture
def audio(tmp_path: Path) -> str:
    return str(tones.write(tmp_path / ODD, [["ba", "ke"]]))


def environment(token: str) -> dict[str, str]:
    return {**os.environ, "UBIOPS_API_TOKEN": token}


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not on PATH")
@pytest.mark.parametrize("prefix", ["", "Token "])
@pytest.mark.parametrize("task", ["transcription", "translation"])
def test_curl(vllm: FakeVllm, audio: str, prefix: str, task: Task) -> None:
    script = snippets.curl(vllm.url, MODEL, task, audio, public=False)
    ran = subprocess.run(
        ["sh", "-ec", script], capture_output=True, text=True, env=environment(prefix + TOKEN), timeout=30, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert snippets.parsed(ran.stdout, "").text.lower() == "ba ke"


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not on PATH")
def test_curl_for_a_public_service(vllm: FakeVllm, audio: str) -> None:
    vllm.token = None
    script = snippets.curl(vllm.url, MODEL, "transcription", audio, public=True)
    assert "Authorization" not in script
    ran = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, timeout=30, check=True)
    assert "ba ke" in ran.stdout


@pytest.mark.parametrize("prefix", ["", "Token "])
def test_python(vllm: FakeVllm, audio: str, prefix: str) -> None:
    program = snippets.python(vllm.url, MODEL, "transcription", audio, public=False)
    ran = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment(prefix + TOKEN),
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "ba ke"


def test_python_for_a_public_service() -> None:
    program = snippets.python("https://x", 'a "model" {💥}', "translation", "a.wav", public=True)
    compile(program, "snippet", "exec")
    assert "UBIOPS" not in program
    assert "translations.create" in program


def test_the_token_is_no_argument() -> None:
    assert not any("Authorization" in part for part in snippets.curl_command("u", "m", Path("a"), "en"))
