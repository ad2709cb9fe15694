"""Fingerprints of secrets: salted, and matched by nothing but the value."""

from __future__ import annotations

import pytest

from whisperctl.state import secret


def test_a_fingerprint_matches_its_value_only() -> None:
    written = secret.fingerprint("hf_value")
    assert secret.matches("hf_value", written)
    assert not secret.matches("hf_valu", written)
    assert secret.fingerprint("hf_value") != written


@pytest.mark.parametrize("written", ["", ".", "zz.aa", "00ff", "00ff.", "no fingerprint"])
def test_what_is_no_fingerprint_matches_nothing(written: str) -> None:
    assert not secret.matches("hf_value", written)
