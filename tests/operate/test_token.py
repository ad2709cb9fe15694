"""The token as people paste it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.harness.operator import Operator
from whisperctl.cli.options import Settings, bare_token, token_variable
from whisperctl.errors import WhisperctlError


@pytest.mark.parametrize("text", ["abc", "Token abc", "token  abc\n", " Bearer abc"])
def test_a_prefix_is_taken_off(text: str) -> None:
    assert bare_token(text) == "abc"


@pytest.mark.parametrize("text", ["", "Token ", "Token Token abc", "abc def", "ab\x00c", "abç"])
def test_what_is_no_token_is_told_and_not_repeated(text: str) -> None:
    with pytest.raises(WhisperctlError, match="The UbiOps token is malformed") as caught:
        bare_token(text)
    assert "abc" not in str(caught.value)


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfToken abc\r\n", b"abc\n", b"Bearer abc"])
def test_a_token_file_may_begin_with_a_mark_and_end_with_a_line_end(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    settings = Settings()
    settings.token_file = str(tmp_path / "token")
    assert settings.token() == "abc"


@pytest.mark.parametrize(("make", "why"), [(os.mkfifo, "a pipe"), (os.mkdir, "a folder")])
def test_a_token_file_is_a_file(tmp_path: Path, make: Any, why: str) -> None:
    make(tmp_path / "token")
    settings = Settings()
    settings.token_file = str(tmp_path / "token")
    with pytest.raises(WhisperctlError, match=f"cannot be read: it is {why}, not a file"):
        settings.token()


def test_a_token_file_is_read_to_its_bound_only() -> None:
    settings = Settings()
    settings.token_file = "/dev/zero"
    with pytest.raises(WhisperctlError, match="it is a device, not a file"):
        settings.token()


@pytest.mark.parametrize("command", ["status", "doctor", "history", "logs", "curl", "plan", "drift", "apply --yes"])
def test_every_command_takes_the_projects_own_token(operator: Operator, command: str) -> None:
    own = {"UBIOPS_API_TOKEN": "wrong", "UBIOPS_API_TOKEN_DEMO": operator.emulator.token, "UBIOPS_PROJECT": "demo"}
    ran = operator.run(*command.split(), **own)
    assert ran.code in (0, 2), ran
    assert "token accepted            of" not in ran.out or command == "doctor"


def test_a_project_may_have_a_token_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UBIOPS_API_TOKEN", "common")
    monkeypatch.setenv("UBIOPS_API_TOKEN_SPEECH_PROD_2", "Token own")
    assert token_variable("speech-prod.2") == "UBIOPS_API_TOKEN_SPEECH_PROD_2"
    assert Settings().token("speech-prod.2") == "own"
    assert Settings().token("other") == "common"
    assert Settings().token() == "common"
