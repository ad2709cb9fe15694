"""The token as people paste it."""

from __future__ import annotations

import pytest

from whisperctl.cli.options import bare_token
from whisperctl.errors import WhisperctlError


@pytest.mark.parametrize("text", ["abc", "Token abc", "token  abc\n", " Bearer abc"])
def test_a_prefix_is_taken_off(text: str) -> None:
    assert bare_token(text) == "abc"


@pytest.mark.parametrize("text", ["", "Token ", "Token Token abc", "abc def", "ab\x00c", "abç"])
def test_what_is_no_token_is_told_and_not_repeated(text: str) -> None:
    with pytest.raises(WhisperctlError, match="The UbiOps token is malformed") as caught:
        bare_token(text)
    assert "abc" not in str(caught.value)
